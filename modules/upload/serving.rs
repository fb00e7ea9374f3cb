//! Files over HTTP: PUT into a slot once, GET and HEAD with parts, and what browsers want to know before (XEP-0363 §7).

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::http::{Body, Caller, Handler, Origin, Request, Response, empty, refuse_body, say};

use crate::Uploads;
use crate::shelf::ShelfError;
use crate::slot::{as_shown, in_url, part};
use crate::store::{FOREVER, File, Slot};

/// The path that files are below.
pub const PATH: &str = "/upload";

/// What may be done with files.
pub const METHODS: &[Method] = &[Method::GET, Method::PUT, Method::OPTIONS];

/// A page of another host may show pictures from here.
const ELSEWHERE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin"));

/// What is asked below [`PATH`].
pub struct Serving(pub Arc<Uploads>);

#[async_trait]
impl Handler for Serving {
    async fn handle(&self, request: Request, caller: Caller) -> Response {
        let uploads = &self.0;
        let path = request.uri().path().to_owned();
        let Some((token, name)) = parts_of(&path) else { return say(StatusCode::NOT_FOUND, "not found\n") };
        let origin = caller.origin(request.headers(), &uploads.context.config().http);
        // Reading needs the address of the file, which nobody guesses: any page that has it may.
        let is_reading = *request.method() != Method::PUT;
        let mut response = match *request.method() {
            Method::OPTIONS => allowed(&origin),
            Method::PUT if origin == Origin::Refused => {
                say(StatusCode::FORBIDDEN, "pages of this origin may not upload; see http.origins\n")
            }
            Method::PUT => {
                let (task, token, name) = (uploads.clone(), token.to_owned(), name.to_owned());
                // On its own: when the client goes away this request is dropped, and the slot must not stay taken.
                let put = async move { task.put(&token, &name, request).await };
                match uploads.context.house().tasks().spawn(put).await {
                    Ok(response) => response,
                    Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be stored\n"),
                }
            }
            _ => uploads.get(token, name, *request.method() == Method::HEAD, request.headers()).await,
        };
        allow(response.headers_mut(), &origin, is_reading);
        response
    }
}

/// Lets a page of another host read the answer.
fn allow(headers: &mut HeaderMap, origin: &Origin, is_reading: bool) {
    match origin {
        Origin::Allowed(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        _ if is_reading => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        _ => {}
    }
}

/// The answer to a browser that asks what a page may do.
fn allowed(origin: &Origin) -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = match origin {
        Origin::Refused => "GET, HEAD, OPTIONS",
        _ => "GET, HEAD, PUT, OPTIONS",
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type, Range"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    response
}

/// The token and the name in `/upload/<token>/<name>`.
fn parts_of(path: &str) -> Option<(&str, &str)> {
    let (token, name) = path.strip_prefix(PATH)?.strip_prefix('/')?.split_once('/')?;
    let is_token = token.len() == 48 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    (is_token && !name.is_empty() && !name.contains('/')).then_some((token, name))
}

impl Uploads {
    async fn put(&self, token: &str, name: &str, request: Request) -> Response {
        let slot = match self.store.begin(token, now_milliseconds()).await {
            Ok(slot) => slot,
            Err(error) => return unavailable(&error),
        };
        let file = match slot {
            Slot::Yours(file) => file,
            Slot::Used => return say(StatusCode::CONFLICT, "this slot is used\n"),
            Slot::None => return say(StatusCode::NOT_FOUND, "there is no such slot, or it has run out\n"),
        };
        let refused = check(&file, name, request.headers());
        let taken = match refused {
            Some(refused) => Err(refused),
            None => self.take(token, &file, request.into_body()).await,
        };
        match taken {
            Ok(()) => {
                let mut response = say(StatusCode::CREATED, "");
                *response.body_mut() = empty();
                response
            }
            Err(refused) => {
                if let Err(error) = self.store.give_back(token).await {
                    tracing::warn!(%error, "upload.slot_not_given_back");
                }
                refused
            }
        }
    }

    async fn take(&self, token: &str, file: &File, body: Body) -> Result<(), Response> {
        self.shelf.put(token, file.size, body).await.map_err(|error| self.refused(&error))?;
        match self.store.finish(token).await {
            Ok(true) => {
                self.taken.inc();
                self.taken_bytes.inc_by(file.size);
                Ok(())
            }
            Ok(false) => Err(say(StatusCode::CONFLICT, "the slot is gone\n")),
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn refused(&self, error: &ShelfError) -> Response {
        match error {
            ShelfError::Body(error) => refuse_body(error),
            ShelfError::OtherSize(..) => say(StatusCode::BAD_REQUEST, format!("{error}\n")),
            ShelfError::Full => {
                tracing::error!(folder = %self.settings.folder.display(), "upload.no_room");
                say(StatusCode::INSUFFICIENT_STORAGE, "there is no room for more files\n")
            }
            ShelfError::Missing | ShelfError::Other(_) => {
                tracing::error!(%error, "upload.not_stored");
                say(StatusCode::INTERNAL_SERVER_ERROR, "the file could not be stored\n")
            }
        }
    }

    async fn get(&self, token: &str, name: &str, is_head: bool, headers: &HeaderMap) -> Response {
        let file = match self.store.find(token, now_milliseconds()).await {
            Ok(Some(file)) if in_url(&file.name) == name => file,
            Ok(_) => return say(StatusCode::NOT_FOUND, "not found\n"),
            Err(error) => return unavailable(&error),
        };
        let tag = format!("\"{}\"", &token[..16]);
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), &file, &tag);
            return response;
        }
        // A part of something else than the client has is of no use to it.
        let is_same = headers.get(header::IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes());
        let asked = headers.get(header::RANGE).filter(|_| is_same).map(|range| range.to_str().unwrap_or_default());
        let (start, length) = match asked.map(|range| part(range, file.size)) {
            None => (0, file.size),
            Some(Some(part)) => part,
            Some(None) => {
                let mut response = say(StatusCode::RANGE_NOT_SATISFIABLE, "one part of the file, and inside it\n");
                set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", file.size));
                return response;
            }
        };
        let body = if is_head { Ok(empty()) } else { self.shelf.get(token, start, length).await };
        let mut response = match body {
            Ok(body) => Response::new(body),
            Err(ShelfError::Missing) => return say(StatusCode::NOT_FOUND, "not found\n"),
            Err(error) => {
                tracing::error!(%error, "upload.not_read");
                return say(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
            }
        };
        describe(response.headers_mut(), &file, &tag);
        set(response.headers_mut(), header::CONTENT_LENGTH, &length.to_string());
        if asked.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{}", start + length - 1, file.size);
            set(response.headers_mut(), header::CONTENT_RANGE, &range);
        }
        response
    }
}

/// What is wrong with an upload before its first byte.
fn check(file: &File, name: &str, headers: &HeaderMap) -> Option<Response> {
    if in_url(&file.name) != name {
        return Some(say(StatusCode::NOT_FOUND, "there is no such slot\n"));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        None => return Some(say(StatusCode::LENGTH_REQUIRED, "the length must be told\n")),
        Some(length) if length > file.size => {
            let text = format!("{length} bytes, {} were announced\n", file.size);
            return Some(say(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Some(length) if length != file.size => {
            return Some(say(StatusCode::BAD_REQUEST, format!("{length} bytes, {} were announced\n", file.size)));
        }
        Some(_) => {}
    }
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let sent = headers.get(header::CONTENT_TYPE).and_then(|sent| sent.to_str().ok());
    let differs = sent.is_some_and(|sent| essence(sent) != essence(&file.media_type));
    // Who has announced nothing may send what he likes: it is kept as bytes.
    let is_announced = file.media_type != crate::ANY_BYTES;
    (differs && is_announced).then(|| say(StatusCode::BAD_REQUEST, "another media type was announced\n"))
}

/// What every answer with a file, or about one, says.
fn describe(headers: &mut HeaderMap, file: &File, tag: &str) {
    let (media_type, is_shown) = as_shown(&file.media_type);
    set(headers, header::CONTENT_TYPE, media_type);
    let how = if is_shown { "inline" } else { "attachment" };
    // RFC 6266 §4.3: the name with all its letters.
    set(headers, header::CONTENT_DISPOSITION, &format!("{how}; filename*=UTF-8''{}", in_url(&file.name)));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(headers, header::ETAG, tag);
    let year = 31_536_000;
    let age = match file.keep_until {
        FOREVER => year,
        until => ((until - now_milliseconds()) / 1000).clamp(0, year),
    };
    set(headers, header::CACHE_CONTROL, &format!("private, max-age={age}, immutable"));
    let policy = "default-src 'none'; media-src 'self'; frame-ancestors 'none'; sandbox";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    let (name, value) = ELSEWHERE;
    headers.insert(name, value);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Everything set here is ASCII of our making or was checked to be.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn unavailable(error: &waxwing_storage::StorageError) -> Response {
    tracing::warn!(%error, "upload.database");
    let mut response = say(StatusCode::SERVICE_UNAVAILABLE, "try again later\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s30_only_a_token_and_a_name_lead_to_a_file() {
        let token = "a".repeat(48);
        assert_eq!(parts_of(&format!("/upload/{token}/x.png")), Some((token.as_str(), "x.png")));
        for path in [
            format!("/upload/{token}"),
            format!("/upload/{token}/"),
            format!("/upload/{token}/a/b"),
            format!("/upload/{}/x", "a".repeat(47)),
            format!("/upload/{}./x", "a".repeat(47)),
            "/upload/../../etc/passwd".to_owned(),
            "/upload".to_owned(),
        ] {
            assert_eq!(parts_of(&path), None, "{path}");
        }
    }

    #[test]
    fn what_is_sent_is_what_was_announced() {
        let file = File { name: "a b.png".into(), media_type: "image/png".into(), size: 10, keep_until: FOREVER };
        let status = |name: &str, length: Option<&str>, media_type: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
            }
            if let Some(media_type) = media_type {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(media_type).unwrap());
            }
            check(&file, name, &headers).map_or(200, |response| response.status().as_u16())
        };
        assert_eq!(status("a%20b.png", Some("10"), Some("image/png")), 200);
        assert_eq!(status("a%20b.png", Some("10"), None), 200);
        assert_eq!(status("a%20b.png", Some("10"), Some("text/html")), 400);
        assert_eq!(status("a%20b.png", Some("9"), None), 400);
        assert_eq!(status("a%20b.png", Some("11"), None), 413);
        assert_eq!(status("a%20b.png", None, None), 411);
        assert_eq!(status("c.png", Some("10"), None), 404);
    }

    #[test]
    fn s30_files_are_served_as_harmless() {
        let mut headers = HeaderMap::new();
        let file = File { name: "<x>.html".into(), media_type: "text/html".into(), size: 10, keep_until: FOREVER };
        describe(&mut headers, &file, "\"t\"");
        assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
        assert_eq!(headers[header::CONTENT_DISPOSITION], "attachment; filename*=UTF-8''%3Cx%3E.html");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("sandbox"));
    }
}
