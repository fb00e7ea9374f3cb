//! The form of a query (XEP-0313 §4.1, XEP-0431 §3.1): which messages are asked for.

use std::str::FromStr;

use waxwing_core::address::{self, Jid};
use waxwing_core::archive::ArchiveId;
use waxwing_core::clock::IdMaker;
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Writer;
use xmpp_parsers::data_forms::{DataForm, DataFormType, Field};
use xmpp_parsers::date::DateTime;

/// The protocol's namespace, and the `FORM_TYPE` of its form.
pub const MAM: &str = "urn:xmpp:mam:2";
/// The field of words to look for.
pub const FULL_TEXT: &str = "{urn:xmpp:fulltext:0}fulltext";

/// How many messages can be named by their ids at once.
const MOST_IDS: usize = 100;
/// How much text can be looked for.
const MOST_SEARCHED: usize = 1000;
/// How many words can be looked for.
const MOST_WORDS: usize = 20;

/// What a message must be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// To or from this address; a bare one means all its resources (§4.1.1).
    pub with: Option<Jid>,
    /// Not older than the first id of this time (§4.1.2).
    pub from: Option<i64>,
    /// Older than this id: the first of the time that is out.
    pub until: Option<i64>,
    /// Newer than this message (§4.1.3).
    pub after: Option<ArchiveId>,
    /// Older than this message.
    pub before: Option<ArchiveId>,
    /// One of these, in order and each once.
    pub ids: Option<Vec<ArchiveId>>,
    /// With all of these words.
    pub words: Option<Vec<String>>,
}

impl Filter {
    /// Reads a submitted form; without one everything is asked for.
    ///
    /// # Errors
    /// `feature-not-implemented` for fields that are not offered (§4.1.5), `item-not-found` for ids that are none of ours
    /// (§4.1.3), `bad-request` and `jid-malformed` for values that cannot be read.
    pub fn read(form: Option<DataForm>, search: bool) -> Result<Filter, Refusal> {
        let mut filter = Filter::default();
        let Some(form) = form else { return Ok(filter) };
        if form.type_ != DataFormType::Submit || form.form_type() != Some(MAM) {
            return Err(bad(format!("a query has a form of type submit whose FORM_TYPE is {MAM}")));
        }
        let mut seen = Vec::with_capacity(form.fields.len());
        for field in &form.fields {
            let name = field.var.as_deref().unwrap_or_default();
            if seen.contains(&name) {
                return Err(bad(format!("the field {name:?} is there twice")));
            }
            seen.push(name);
            if name == "ids" {
                filter.ids = ids(field)?;
                continue;
            }
            let known =
                matches!(name, "FORM_TYPE" | "with" | "start" | "end" | "after-id" | "before-id" | "include-groupchat");
            let offered = known || search && name == FULL_TEXT;
            if !offered {
                return Err(Refusal::feature_not_implemented().saying(format!("the field {name:?} is not offered")));
            }
            let Some(value) = single(field)? else { continue };
            match name {
                "with" => filter.with = Some(peer(value)?),
                "start" => filter.from = Some(IdMaker::first_of(time(value)?.at_or_after)),
                "end" => filter.until = Some(IdMaker::first_of(time(value)?.at_or_before.saturating_add(1))),
                "after-id" => filter.after = Some(id(value)?),
                "before-id" => filter.before = Some(id(value)?),
                FULL_TEXT => filter.words = Some(words(value)?),
                // Nothing of rooms is in an account's archive, so both wishes are met (§4.1.4).
                "include-groupchat" if !matches!(value, "true" | "1" | "false" | "0") => {
                    return Err(bad(format!("{value:?} is neither true nor false")));
                }
                _ => {}
            }
        }
        if filter.ids.is_some() && filter.words.is_some() {
            return Err(bad("messages are named by their ids or by their words, not by both".to_owned()));
        }
        Ok(filter)
    }

    /// Whether it lets through all that is newer than where it begins.
    pub fn is_open_end(&self) -> bool {
        let Filter { with, from: _, until, after: _, before, ids, words } = self;
        with.is_none() && until.is_none() && before.is_none() && ids.is_none() && words.is_none()
    }

    /// Whether it chooses by time alone, and not by who has said what.
    pub fn is_for_all(&self) -> bool {
        self.with.is_none() && self.ids.is_none() && self.words.is_none()
    }
}

/// The one value of a field. An empty one is as good as none: so a form comes back whose field nobody has filled in.
fn single(field: &Field) -> Result<Option<&str>, Refusal> {
    match &field.values[..] {
        [] => Ok(None),
        [value] => Ok(Some(value.as_str()).filter(|value| !value.is_empty())),
        _ => Err(bad(format!("the field {:?} has one value", field.var.as_deref().unwrap_or_default()))),
    }
}

fn bad(text: String) -> Refusal {
    Refusal::bad_request().saying(text)
}

fn peer(value: &str) -> Result<Jid, Refusal> {
    address::read(value).map_err(|error| Refusal::jid_malformed().saying(format!("not an address: {error}")))
}

/// An id of ours.
///
/// # Errors
/// `item-not-found` for anything else: nothing has that id.
pub fn id(value: &str) -> Result<ArchiveId, Refusal> {
    ArchiveId::read(value).ok_or_else(not_found)
}

/// What is said when a message that is named is not in the archive.
pub fn not_found() -> Refusal {
    Refusal::item_not_found().saying("the archive holds no message of this id")
}

fn ids(field: &Field) -> Result<Option<Vec<ArchiveId>>, Refusal> {
    if field.values.is_empty() {
        return Ok(None);
    }
    if field.values.len() > MOST_IDS {
        return Err(Refusal::not_acceptable().saying(format!("more than {MOST_IDS} messages are named")));
    }
    let mut ids = field.values.iter().map(|value| id(value)).collect::<Result<Vec<_>, _>>()?;
    ids.sort();
    ids.dedup();
    Ok(Some(ids))
}

/// The two whole milliseconds around a time, which may be told more exactly.
struct Around {
    at_or_before: i64,
    at_or_after: i64,
}

/// Reads a time of XEP-0082.
fn time(value: &str) -> Result<Around, Refusal> {
    let read =
        DateTime::from_str(value).map_err(|_| bad(format!("{value:?} is not a time such as 2026-11-22T12:51:59Z")))?;
    let milliseconds = read.0.timestamp_millis();
    let exact = read.0.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    Ok(Around { at_or_before: milliseconds, at_or_after: milliseconds + i64::from(!exact) })
}

/// The words to look for: what stands between blanks and has a letter or a digit in it.
fn words(value: &str) -> Result<Vec<String>, Refusal> {
    if value.len() > MOST_SEARCHED {
        return Err(Refusal::not_acceptable().saying(format!("more than {MOST_SEARCHED} bytes are searched for")));
    }
    let mut words: Vec<String> = value
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        // PostgreSQL has no text with it, and no message either.
        .map(|word| word.replace('\0', ""))
        .collect();
    words.dedup();
    if words.len() > MOST_WORDS {
        return Err(Refusal::not_acceptable().saying(format!("more than {MOST_WORDS} words are searched for")));
    }
    Ok(words)
}

/// The fields a query may have (§4.1.5), as the payload of an answer.
pub fn write_fields(writer: &mut Writer, search: bool) {
    let mut field = |name: &str, of: &str, value: Option<&str>| {
        writer.open("field").attribute("type", of).attribute("var", name);
        if let Some(value) = value {
            writer.open("value").text(value).close();
        }
        if name == "ids" {
            writer.open("validate").attribute("xmlns", "http://jabber.org/protocol/xdata-validate");
            writer.attribute("datatype", "xs:string").open("open").close().close();
        }
        writer.close();
    };
    field("FORM_TYPE", "hidden", Some(MAM));
    field("with", "jid-single", None);
    for name in ["start", "end", "before-id", "after-id"] {
        field(name, "text-single", None);
    }
    field("ids", "list-multi", None);
    field("include-groupchat", "boolean", None);
    if search {
        field(FULL_TEXT, "text-single", None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::{decode, element};

    fn read(fields: &str) -> Result<Filter, Refusal> {
        let xml = format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{MAM}</value></field>\
             {fields}</x>"
        );
        Filter::read(Some(decode(element(xml).unwrap().as_child())?), true)
    }

    fn field(name: &str, values: &[&str]) -> String {
        let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
        format!("<field var='{name}'>{values}</field>")
    }

    fn condition(fields: &str) -> &'static str {
        read(fields).unwrap_err().condition.name()
    }

    #[test]
    fn a_form_may_be_empty_or_missing() {
        assert_eq!(Filter::read(None, true), Ok(Filter::default()));
        assert_eq!(read(""), Ok(Filter::default()));
        assert_eq!(read(&field("with", &[""])), Ok(Filter::default()));
        assert_eq!(read(&field("start", &[])), Ok(Filter::default()));
        assert_eq!(read(&field("include-groupchat", &["true"])), Ok(Filter::default()));
    }

    #[test]
    fn times_are_inclusive_on_both_sides() {
        let filter =
            read(&(field("start", &["2026-11-22T12:51:59.123Z"]) + &field("end", &["2026-11-22T13:51:59.123+01:00"])));
        let filter = filter.unwrap();
        let at = 1_795_351_919_123;
        assert_eq!((filter.from, filter.until), (Some(IdMaker::first_of(at)), Some(IdMaker::first_of(at + 1))));
        // Between two milliseconds: the later one is in from there on, the earlier one is in until there.
        let filter =
            read(&(field("start", &["2026-11-22T12:51:59.1234Z"]) + &field("end", &["2026-11-22T12:51:59.1234Z"])));
        let filter = filter.unwrap();
        assert_eq!((filter.from, filter.until), (Some(IdMaker::first_of(at + 1)), Some(IdMaker::first_of(at + 1))));
        assert_eq!(read(&field("start", &["1970-01-01T00:00:00Z"])).unwrap().from, Some(0));
        assert_eq!(read(&field("end", &["9999-12-31T23:59:59Z"])).unwrap().until, Some(i64::MAX));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(condition(&field("start", &["yesterday"])), "bad-request");
        assert_eq!(condition(&field("with", &["@"])), "jid-malformed");
        assert_eq!(condition(&field("with", &["a@b", "c@d"])), "bad-request");
        assert_eq!(condition(&field("after-id", &["09af3-cc343-b409f"])), "item-not-found");
        assert_eq!(condition(&field("ids", &["1", "x"])), "item-not-found");
        assert_eq!(condition(&field("{http://example.com/}stanza-content", &["x"])), "feature-not-implemented");
        assert_eq!(condition(&field("include-groupchat", &["maybe"])), "bad-request");
        assert_eq!(condition(&(field("with", &["a@b"]) + &field("with", &["c@d"]))), "bad-request");
        let many: Vec<String> = (1..=MOST_IDS + 1).map(|id| id.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(condition(&field("ids", &many)), "not-acceptable");
        assert_eq!(condition(&(field("ids", &["1"]) + &field(FULL_TEXT, &["x"]))), "bad-request");
        let xml = "<x xmlns='jabber:x:data' type='submit'><field var='with'><value>a@b</value></field></x>";
        let form = decode(element(xml).unwrap().as_child()).unwrap();
        assert_eq!(Filter::read(Some(form), true).unwrap_err().condition.name(), "bad-request");
    }

    #[test]
    fn without_search_its_field_is_not_offered() {
        let xml = format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{MAM}</value></field>{}</x>",
            field(FULL_TEXT, &["x"])
        );
        let form = decode(element(xml).unwrap().as_child()).unwrap();
        assert_eq!(Filter::read(Some(form), false).unwrap_err().condition.name(), "feature-not-implemented");
    }

    #[test]
    fn ids_and_words_are_put_in_order() {
        assert_eq!(read(&field("ids", &["7", "3", "7"])).unwrap().ids, Some(vec![ArchiveId(3), ArchiveId(7)]));
        let words = read(&field(FULL_TEXT, &[" wherefore  art—thou !! 'Romeo' "])).unwrap().words;
        assert_eq!(words, Some(vec!["wherefore".to_owned(), "art—thou".to_owned(), "'Romeo'".to_owned()]));
        assert_eq!(read(&field(FULL_TEXT, &["%%"])).unwrap().words, Some(vec![]));
    }

    #[test]
    fn the_form_names_every_field() {
        let mut writer = Writer::new();
        writer.open("x").attribute("xmlns", "jabber:x:data").attribute("type", "form");
        write_fields(&mut writer, true);
        let form: DataForm = decode(element(writer.finish()).unwrap().as_child()).unwrap();
        assert_eq!(form.form_type(), Some(MAM));
        let names: Vec<_> = form.fields.iter().skip(1).filter_map(|field| field.var.as_deref()).collect();
        let wanted = ["with", "start", "end", "before-id", "after-id", "ids", "include-groupchat", FULL_TEXT];
        assert_eq!(names, wanted);
    }
}
