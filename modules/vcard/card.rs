//! Cards and the picture in them, and the same picture as a node shows it (XEP-0054, XEP-0084, XEP-0153). Decisions only.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::xml::{Child, Element, Writer};

/// The namespace of cards.
pub const CARD: &str = "vcard-temp";
/// The namespace of what presence says of the picture (XEP-0153).
pub const UPDATE: &str = "vcard-temp:x:update";
/// The node, and the namespace, of what is known about a picture (XEP-0084).
pub const METADATA: &str = "urn:xmpp:avatar:metadata";
/// The node, and the namespace, of the picture itself.
pub const DATA: &str = "urn:xmpp:avatar:data";

/// A picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// Its media type.
    pub kind: String,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Their SHA-1, in small hexadecimal digits: its name in both worlds.
    pub hash: String,
}

impl Photo {
    /// A picture in base64. The type is what it says it is, if it says one, else what it looks like.
    fn read(kind: &str, base64: &str) -> Option<Photo> {
        let data: String = base64.split_ascii_whitespace().collect();
        let data = STANDARD.decode(data).ok().filter(|data| !data.is_empty())?;
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &data);
        let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = if kind.trim().starts_with("image/") { kind.trim() } else { looks_like(&data) };
        Some(Photo { kind: kind.to_owned(), data, hash })
    }

    fn base64(&self) -> String {
        STANDARD.encode(&self.data)
    }

    /// The item of the node of pictures.
    ///
    /// # Errors
    /// A fault when it cannot be written.
    pub fn to_data(&self) -> Result<Element, Fault> {
        let mut writer = Writer::new();
        writer.open("data").attribute("xmlns", DATA).text(&self.base64());
        element(writer.finish())
    }

    /// The item of the node that tells of it.
    ///
    /// # Errors
    /// A fault when it cannot be written.
    pub fn to_metadata(&self) -> Result<Element, Fault> {
        let mut writer = Writer::new();
        writer.open("metadata").attribute("xmlns", METADATA).open("info");
        writer.attribute("bytes", &self.data.len().to_string());
        writer.attribute("id", &self.hash).attribute("type", &self.kind);
        element(writer.finish())
    }
}

/// What tells that there is no picture any more (XEP-0084 §4.2).
///
/// # Errors
/// A fault when it cannot be written.
pub fn no_metadata() -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("metadata").attribute("xmlns", METADATA);
    element(writer.finish())
}

/// The media type by the first bytes. PNG is what everybody must know (XEP-0084 §4.1.1).
fn looks_like(data: &[u8]) -> &'static str {
    match data {
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "image/png",
    }
}

/// The picture in a card: the first, as XEP-0153 knows no other.
///
/// # Errors
/// `bad-request` when it is not in base64.
pub fn photo_of(card: Child<'_>) -> Result<Option<Photo>, Refusal> {
    let photos = card.children().filter(|child| child.namespace() == CARD && child.name() == "PHOTO");
    for photo in photos {
        let Some(data) = photo.child(CARD, "BINVAL") else { continue };
        let data = data.text();
        if data.trim().is_empty() {
            continue;
        }
        let kind = photo.child(CARD, "TYPE").map(|kind| kind.text().into_owned()).unwrap_or_default();
        let broken = || Refusal::bad_request().saying("the picture is not in base64");
        return Photo::read(&kind, &data).map(Some).ok_or_else(broken);
    }
    Ok(None)
}

/// A card with this picture instead of those it has; everything else in it stays.
///
/// # Errors
/// A fault when it cannot be written.
pub fn with_photo(card: Option<&Element>, photo: Option<&Photo>) -> Result<Element, Fault> {
    let mut writer = Writer::with_capacity(512);
    writer.open("vCard").attribute("xmlns", CARD);
    for child in card.into_iter().flat_map(Element::children) {
        if child.namespace() != CARD || child.name() != "PHOTO" {
            writer.raw(child.bytes());
        }
    }
    if let Some(photo) = photo {
        writer.open("PHOTO").open("TYPE").text(&photo.kind).close();
        writer.open("BINVAL").text(&photo.base64()).close().close();
    }
    writer.close();
    element(writer.finish())
}

/// What a node tells of a picture.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// There is none.
    Nothing,
    /// One with this name and type is in the node of pictures.
    Here { id: String, kind: String },
    /// It is somewhere on the web only.
    Elsewhere,
}

/// Reads what a node tells of a picture (XEP-0398 §3.1).
pub fn told(metadata: Option<&Element>) -> Told {
    let Some(metadata) = metadata else { return Told::Nothing };
    let mut infos =
        metadata.children().filter(|child| child.namespace() == METADATA && child.name() == "info").peekable();
    if infos.peek().is_none() {
        return Told::Nothing;
    }
    let here = infos.filter(|info| info.attribute("url").is_none()).find_map(|info| {
        let id = info.attribute("id")?.to_ascii_lowercase();
        Some(Told::Here { id, kind: info.attribute("type").unwrap_or_default().into_owned() })
    });
    here.unwrap_or(Told::Elsewhere)
}

/// The picture of an item of the node of pictures; none when it is not the one that its name says.
pub fn photo_of_data(data: &Element, id: &str, kind: &str) -> Option<Photo> {
    if (data.namespace(), data.name()) != (DATA, "data") {
        return None;
    }
    Photo::read(kind, &data.text()).filter(|photo| photo.hash == id)
}

/// Whether a client says in its presence that it shows no picture, or is not ready to say which (XEP-0398 §4): that stays.
pub fn says_none(presence: &Stanza) -> bool {
    let photo = presence.payload(UPDATE, "x").and_then(|update| update.child(UPDATE, "photo"));
    photo.is_some_and(|photo| photo.text().trim().is_empty())
}

/// Says in a presence which picture there is, whatever the client has said.
///
/// # Errors
/// A fault when it cannot be written.
pub fn stamp(presence: &mut Stanza, hash: &str) -> Result<(), Fault> {
    presence.remove_payloads(|child| child.namespace() == UPDATE && child.name() == "x")?;
    let mut writer = Writer::new();
    writer.open("x").attribute("xmlns", UPDATE).open("photo").text(hash);
    presence.add(element(writer.finish())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use waxwing_core::stanza::PresenceType;

    use super::*;

    /// "Hello" and its SHA-1.
    const HELLO: (&str, &str) = ("SGVs\n bG8=", "f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0");

    fn read(text: &str) -> Element {
        element(text.to_owned()).unwrap()
    }

    fn card(photo: &str) -> Element {
        read(&format!("<vCard xmlns='vcard-temp'><FN>Juliet</FN>{photo}<X xmlns='urn:x'/></vCard>"))
    }

    #[test]
    fn the_picture_of_a_card_has_a_name_and_a_type() {
        let of = |photo: &str| photo_of(card(photo).as_child()).unwrap();
        let (data, hash) = HELLO;
        let photo = of(&format!("<PHOTO/><PHOTO><TYPE>image/svg+xml</TYPE><BINVAL>{data}</BINVAL></PHOTO>")).unwrap();
        assert_eq!((photo.hash.as_str(), photo.kind.as_str(), &*photo.data), (hash, "image/svg+xml", &b"Hello"[..]));
        assert_eq!(of("<PHOTO><TYPE>JPEG</TYPE><BINVAL>/9j/4A==</BINVAL></PHOTO>").unwrap().kind, "image/jpeg");
        assert_eq!(of("<PHOTO><EXTVAL>http://x</EXTVAL></PHOTO>"), None);
        assert_eq!(of("<PHOTO><BINVAL/></PHOTO>"), None);
        assert!(photo_of(card("<PHOTO><BINVAL>?</BINVAL></PHOTO>").as_child()).is_err());
        for (data, kind) in
            [(&b"GIF89a"[..], "image/gif"), (b"RIFF1234WEBPVP8", "image/webp"), (b"\x89PNG", "image/png")]
        {
            assert_eq!(looks_like(data), kind);
        }
    }

    #[test]
    fn a_picture_changes_and_the_rest_of_the_card_stays() {
        let (data, _) = HELLO;
        let before = card("<PHOTO><BINVAL>AAAA</BINVAL></PHOTO>");
        let photo = Photo::read("", data).unwrap();
        let after = with_photo(Some(&before), Some(&photo)).unwrap();
        assert_eq!(photo_of(after.as_child()).unwrap(), Some(photo));
        let names: Vec<String> = after.children().map(|child| child.name().to_owned()).collect();
        assert_eq!(names, ["FN", "X", "PHOTO"]);
        let without = with_photo(Some(&after), None).unwrap();
        assert_eq!((photo_of(without.as_child()).unwrap(), without.children().count()), (None, 2));
        assert_eq!(with_photo(None, None).unwrap().children().count(), 0);
    }

    #[test]
    fn what_a_node_tells_is_read_as_it_was_written() {
        let (data, hash) = HELLO;
        let photo = Photo::read("image/png", data).unwrap();
        let here = Told::Here { id: hash.to_owned(), kind: "image/png".to_owned() };
        assert_eq!(told(Some(&photo.to_metadata().unwrap())), here);
        assert_eq!(photo_of_data(&photo.to_data().unwrap(), hash, "image/png"), Some(photo.clone()));
        assert_eq!(photo_of_data(&photo.to_data().unwrap(), "0000", "image/png"), None);
        assert_eq!((told(None), told(Some(&no_metadata().unwrap()))), (Told::Nothing, Told::Nothing));
        let web = "<info id='1' url='https://x' type='image/gif'/>";
        let metadata = |infos: &str| read(&format!("<metadata xmlns='{METADATA}'>{infos}</metadata>"));
        assert_eq!(told(Some(&metadata(web))), Told::Elsewhere);
        let both = format!("{web}<info id='{}' type='image/png'/>", hash.to_uppercase());
        assert_eq!(told(Some(&metadata(&both))), here);
    }

    #[test]
    fn presence_says_which_picture_there_is() {
        let presence = |update: &str| {
            let presence = Stanza::presence(PresenceType::Available);
            if update.is_empty() { presence } else { presence.with(read(update)) }
        };
        let update = |content: &str| format!("<x xmlns='{UPDATE}'>{content}</x>");
        assert!(says_none(&presence(&update("<photo/>"))));
        for said in [String::new(), update(""), update("<photo>old</photo>")] {
            let mut presence = presence(&said);
            assert!(!says_none(&presence), "{said}");
            stamp(&mut presence, "new").unwrap();
            let photos: Vec<String> =
                presence.payloads().filter_map(|x| Some(x.child(UPDATE, "photo")?.text().into_owned())).collect();
            assert_eq!((photos.as_slice(), presence.payloads().count()), (&["new".to_owned()][..], 1), "{said}");
        }
    }
}
