//! What a client asks for before it uploads (XEP-0363 §4, §5), read and judged without looking anything up.

use std::str::FromStr as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Child;
use xmpp_parsers::date::DateTime;

/// The namespace of uploads.
pub const UPLOAD: &str = "urn:xmpp:http:upload:0";
/// The namespace of what they are for.
pub const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";

/// A longer name loses its beginning, so that its ending stays, in characters.
const LONGEST_NAME: usize = 100;
/// A longer media type is none.
const LONGEST_TYPE: usize = 100;
/// What stands in a path of a URL as it is (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a file is for, which decides how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is sent in a message.
    Message,
    /// A picture of somebody.
    Profile,
    /// It must be gone at this time, in milliseconds since 1970.
    Ephemeral {
        /// When.
        before: i64,
    },
    /// It stays.
    Permanent,
}

/// A wish to upload.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    /// The file's name, made harmless.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type; none when nothing usable was said.
    pub media_type: Option<String>,
    /// What it is for.
    pub purpose: Purpose,
}

impl Wish {
    /// Reads a `<request/>`.
    ///
    /// # Errors
    /// `bad-request` for one that is not complete.
    pub fn read(request: Child<'_>) -> Result<Wish, Refusal> {
        let name = request.attribute("filename").filter(|name| !name.is_empty());
        let Some(name) = name else { return Err(Refusal::bad_request().saying("the file needs a name")) };
        let size = request.attribute("size").and_then(|size| size.trim().parse::<u64>().ok()).filter(|size| *size > 0);
        let Some(size) = size else {
            return Err(Refusal::bad_request().saying("the size of the file is a number of bytes above 0"));
        };
        let media_type = request.attribute("content-type").map(|value| value.trim().to_ascii_lowercase());
        let purpose = request.children().find(|child| child.namespace() == PURPOSE);
        let purpose = match purpose.map(|purpose| (purpose.name(), purpose)) {
            None | Some(("message", _)) => Purpose::Message,
            Some(("profile", _)) => Purpose::Profile,
            Some(("permanent", _)) => Purpose::Permanent,
            Some(("ephemeral", purpose)) => {
                let before = purpose.attribute("expire-before").and_then(|stamp| DateTime::from_str(&stamp).ok());
                match before {
                    Some(before) => Purpose::Ephemeral { before: before.0.timestamp_millis() },
                    None => return Err(Refusal::bad_request().saying("expire-before is a time (XEP-0082)")),
                }
            }
            Some(_) => return Err(Refusal::bad_request().saying("nothing is known of this purpose")),
        };
        Ok(Wish { name: harmless(&name), size, media_type: media_type.filter(|value| is_media_type(value)), purpose })
    }
}

/// A name that is a name and nothing else: no folders, no control characters, none that turn the direction of writing,
/// none that systems give a meaning of their own (security row S30).
pub fn harmless(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|letter| is_harmless(*letter)).collect();
    let kept = kept.trim_matches(|letter: char| letter.is_whitespace() || letter == '.');
    let extra = kept.chars().count().saturating_sub(LONGEST_NAME);
    let short: String = kept.chars().skip(extra).collect();
    let stem = short.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
        || (stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")));
    match short.trim_start_matches('.') {
        "" => "file".to_owned(),
        rest if is_device => format!("file-{rest}"),
        rest => rest.to_owned(),
    }
}

fn is_harmless(letter: char) -> bool {
    let turns =
        matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !letter.is_control() && !turns && !"<>:\"|?*%".contains(letter)
}

/// The name as it stands in a URL.
pub fn in_url(name: &str) -> String {
    utf8_percent_encode(name, ESCAPED).to_string()
}

fn is_media_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let has_two = essence.split_once('/').is_some_and(|(kind, sort)| is_token(kind) && is_token(sort));
    has_two && value.len() <= LONGEST_TYPE && value.bytes().all(|byte| (b' '..0x7f).contains(&byte))
}

/// How a browser is told to treat a file: its media type, and whether it may be shown in place. What could run or be read as
/// a page is neither (security row S30).
pub fn as_shown(media_type: &str) -> (&str, bool) {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_shown = match essence.split_once('/') {
        Some(("image", kind)) => matches!(kind, "png" | "jpeg" | "gif" | "webp" | "avif" | "jxl" | "bmp" | "heic"),
        Some(("audio" | "video", _)) => true,
        Some(("text", "plain")) => true,
        _ => false,
    };
    let is_active = ["html", "xml", "svg", "script", "css", "shockwave", "x-mixed-replace"]
        .iter()
        .any(|word| essence.contains(word));
    match (is_shown, is_active) {
        (_, true) => ("application/octet-stream", false),
        (true, false) => (media_type, true),
        (false, false) => (media_type, false),
    }
}

/// One part of a file, as a client asks for it (RFC 9110 §14.2): from where, and how many bytes.
///
/// # Errors
/// None when it cannot be given, or is more than one part.
pub fn part(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", last) => (size.saturating_sub(number(last).filter(|length| *length > 0)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first, if first <= last { last.saturating_add(1).min(size) } else { return None })
        }
    };
    (start < end).then(|| (start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn wish(inside: &str, attributes: &str) -> Result<Wish, String> {
        let xml = format!("<request xmlns='{UPLOAD}' {attributes}>{inside}</request>");
        let request = element(xml).unwrap();
        Wish::read(request.as_child()).map_err(|refusal| refusal.condition.name().to_owned())
    }

    #[test]
    fn a_wish_names_the_file_its_size_and_what_it_is_for() {
        let read = wish("", "filename='très cool.jpg' size='23456' content-type='image/jpeg'").unwrap();
        let wanted = Wish {
            name: "très cool.jpg".into(),
            size: 23456,
            media_type: Some("image/jpeg".into()),
            purpose: Purpose::Message,
        };
        assert_eq!(read, wanted);
        let of = |purpose: &str| {
            wish(&format!("<{purpose} xmlns='{PURPOSE}'/>"), "filename='a' size='1'").map(|wish| wish.purpose)
        };
        assert_eq!(of("profile"), Ok(Purpose::Profile));
        assert_eq!(of("permanent"), Ok(Purpose::Permanent));
        assert_eq!(of("ephemeral expire-before='1970-01-01T00:00:01Z'"), Ok(Purpose::Ephemeral { before: 1000 }));
        assert_eq!(of("ephemeral"), Err("bad-request".to_owned()));
        assert_eq!(of("forever"), Err("bad-request".to_owned()));
        for bad in
            ["size='1'", "filename='' size='1'", "filename='a'", "filename='a' size='0'", "filename='a' size='-1'"]
        {
            assert_eq!(wish("", bad), Err("bad-request".to_owned()), "{bad}");
        }
        for none in ["", "image", "image/", "a b/c", "image/png\u{e4}", "/"] {
            let read = wish("", &format!("filename='a' size='1' content-type='{none}'")).unwrap();
            assert_eq!(read.media_type, None, "{none}");
        }
    }

    #[test]
    fn s30_names_are_names_and_nothing_else() {
        for (name, harmless_name) in [
            ("../../etc/x", "x"),
            ("a%2f..%2fb", "a2f..2fb"),
            ("..\\..\\x.exe", "x.exe"),
            ("CON", "file-CON"),
            ("con.txt", "file-con.txt"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("..", "file"),
            (".htaccess", "htaccess"),
            ("a\"b<c>.png", "abc.png"),
            ("ok.tar.gz", "ok.tar.gz"),
        ] {
            assert_eq!(harmless(name), harmless_name, "{name:?}");
        }
        let long = format!("{}.jpeg", "x".repeat(4096));
        assert!(harmless(&long).ends_with(".jpeg") && harmless(&long).len() == LONGEST_NAME);
        assert_eq!(in_url("très cool.jpg"), "tr%C3%A8s%20cool.jpg");
    }

    #[test]
    fn s30_nothing_that_could_run_is_shown() {
        for active in ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/javascript", "text/css"]
        {
            assert_eq!(as_shown(active), ("application/octet-stream", false), "{active}");
        }
        assert_eq!(as_shown("image/png"), ("image/png", true));
        assert_eq!(as_shown("video/mp4; codecs=x"), ("video/mp4; codecs=x", true));
        assert_eq!(as_shown("application/pdf"), ("application/pdf", false));
    }

    #[test]
    fn s30_one_part_of_a_file_or_none() {
        for (range, expected) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=5-", Some((5, 5))),
            ("bytes=-3", Some((7, 3))),
            ("bytes=-30", Some((0, 10))),
            ("bytes=2-200", Some((2, 8))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=-0", None),
            ("bytes=0-1,2-3", None),
            ("bytes=18446744073709551615-", None),
            ("chapters=1-2", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
    }
}
