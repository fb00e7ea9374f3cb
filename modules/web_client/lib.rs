//! A web client at the root of each host: the page that starts Converse.js, and the files that `scripts/web-client` installs.
//!
//! `folder.rs` lists and reads the installed files, `page.rs` writes what is ours: the page, its script and its policy.

mod folder;
mod page;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::http::{Caller, Handler, Request, Response, Route, answer, empty, full, say};
use waxwing_core::limits::Count;
use waxwing_core::module::{Context, Manifest, Module, Phase, Plan, SettingsDescription, StartError};

use folder::{File, Files};
use page::Offer;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "web_client",
    summary: "serves Converse.js, a client for browsers, at the root of the web",
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// Where the files of the client are; nothing else stands below it.
const FILES: &str = "/client";
/// The page's own script, beside them.
const SCRIPT: &str = "start.js";
/// Without this file nothing is installed.
const MAIN: &str = "converse.min.js";
/// Browsers keep a file so long before they ask again: the client loads some of them dozens of times in a row.
const KEEP: HeaderValue = HeaderValue::from_static("max-age=60");
const GET: &[Method] = &[Method::GET];

const NOT_INSTALLED: &str =
    "The web client is not installed: run scripts/web-client on the server and start the server again.\n";
const NOT_ENCRYPTED: &str = "Signing in needs an encrypted connection: come by https.\n";
const NO_WAY: &str = "This server takes no web clients: http.websocket and http.bosh are both off.\n";

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder that `scripts/web-client` has installed the client in, relative to where the server was started. It is
    /// read at the start.
    pub folder: PathBuf,
    /// How many files of that folder are served at most. An entry costs some 300 bytes.
    pub files: Count,
    /// The other places that pages of the client may load pictures and files from and send them to, such as
    /// `"https://files.example.org"`; `"https:"` for everywhere. Without it they stay links, except those of this host.
    pub media_from: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { folder: PathBuf::from("data/web-client"), files: Count::of(2000), media_from: Vec::new() }
    }
}

/// The client of one host.
struct Client {
    context: Context,
    files: Files,
    policy: HeaderValue,
}

struct WebClient;

impl Module for WebClient {}

/// What is asked at the root.
struct Root(Arc<Client>);
/// What is asked below it.
struct Below(Arc<Client>);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let other = |problem: String| StartError::Other(problem);
    let policy = page::policy(context.domain().as_str(), &settings.media_from).map_err(other)?;
    let policy = HeaderValue::from_str(&policy).map_err(|error| other(error.to_string()))?;
    let (folder, most) = (settings.folder.clone(), settings.files.get());
    let listed = tokio::task::spawn_blocking(move || Files::list(&folder, most)).await;
    let files = listed.map_err(|error| other(error.to_string()))?;
    if files.is_cut {
        tracing::warn!(folder = %settings.folder.display(), most, "web_client.too_many_files");
    }
    let client = Arc::new(Client { context: context.clone(), files, policy });
    context.route(Route::at("/", GET, Arc::new(Root(client.clone()))))?;
    context.route(Route::below(FILES, GET, Arc::new(Below(client))))?;
    Ok(Arc::new(WebClient))
}

#[async_trait]
impl Handler for Root {
    async fn handle(&self, _: Request, caller: Caller) -> Response {
        let Client { context, files, policy } = &*self.0;
        let web = &context.config().http;
        if files.find(MAIN).is_none() {
            return say(StatusCode::OK, NOT_INSTALLED);
        }
        if !web.websocket && !web.bosh {
            return say(StatusCode::OK, NO_WAY);
        }
        if !caller.may_log_in() {
            return say(StatusCode::OK, NOT_ENCRYPTED);
        }
        let html = page::html(context.domain().as_str(), FILES);
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", full(html));
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        response
    }
}

#[async_trait]
impl Handler for Below {
    async fn handle(&self, request: Request, _: Caller) -> Response {
        let client = &self.0;
        let path = request.uri().path();
        let name = path.strip_prefix(FILES).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
        let Some(main) = client.files.find(MAIN) else { return not_found() };
        if name == SCRIPT {
            return client.script(main);
        }
        match client.files.find(name) {
            Some(file) => serve(file, request.headers()).await,
            None => not_found(),
        }
    }
}

impl Client {
    /// The script that starts the client for this host, by what the host offers now.
    fn script(&self, main: &File) -> Response {
        let host = self.context.host();
        let web = &self.context.config().http;
        let has_sign_up = host.catalogue().running().iter().any(|running| {
            let features = running.module.stream_features(Phase::Authenticating);
            features.iter().any(|feature| is_registration(feature))
        });
        let offer = Offer { host: host.domain().as_str(), websocket: web.websocket, bosh: web.bosh, has_sign_up };
        let script = page::script(&offer, FILES, MAIN);
        answer(StatusCode::OK, main.media_type, full(script))
    }
}

/// Whether a stream feature says that accounts can be made (XEP-0077 §8).
fn is_registration(feature: &[u8]) -> bool {
    const NAMESPACE: &[u8] = b"http://jabber.org/features/iq-register";
    feature.windows(NAMESPACE.len()).any(|part| part == NAMESPACE)
}

fn not_found() -> Response {
    say(StatusCode::NOT_FOUND, "not found\n")
}

/// One file. Browsers keep it and ask whether it is still the same.
async fn serve(file: &File, asked: &HeaderMap) -> Response {
    let mut response = if is_known(asked, &file.tag) {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let body = match file.read().await {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(file = %file.path.display(), %error, "web_client.not_read");
                return not_found();
            }
        };
        let mut response = answer(StatusCode::OK, file.media_type, body);
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(file.size));
        response
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&file.tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, KEEP);
    response
}

/// Whether the browser has what is tagged so (RFC 9110 §13.1.2).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let lines = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut known = lines.flat_map(|line| line.split(','));
    known.any(|other| other.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_the_file_is_not_sent_it_again() {
        let asks = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(line));
            is_known(&headers, "\"a-1\"")
        };
        assert!(asks("\"a-1\"") && asks("\"b\", W/\"a-1\""));
        assert!(!asks("\"a-2\"") && !asks("a-1") && !asks("*"));
        assert!(!is_known(&HeaderMap::new(), "\"a-1\""));
    }

    #[test]
    fn sign_up_is_there_when_the_stream_says_so() {
        assert!(is_registration(b"<register xmlns='http://jabber.org/features/iq-register'/>"));
        assert!(!is_registration(b"<sub xmlns='urn:xmpp:features:pre-approval'/>"));
    }
}
