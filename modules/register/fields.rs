//! The fields of `jabber:iq:register` (XEP-0077 §3, §10): what is asked for, and what is wanted.

use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_xml::{Child, Element, Writer};

/// The namespace.
pub const NAMESPACE: &str = "jabber:iq:register";

/// What an IQ of type set wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// The account of the sender is to go (§3.2).
    Remove,
    /// A new account (§3.1), or a new password (§3.3); fields that are missing or empty are none.
    Credentials {
        /// As it was written, not prepared yet.
        username: Option<String>,
        /// The password.
        password: Option<String>,
    },
}

/// Reads the payload of an IQ of type set.
///
/// # Errors
/// `bad-request` when it is no query, or when `<remove/>` is not alone in it (§3.2).
pub fn read(query: Child<'_>) -> Result<Wish, Refusal> {
    is_query(query)?;
    let field = |name| query.child(NAMESPACE, name);
    if field("remove").is_some() {
        return match query.children().count() {
            1 => Ok(Wish::Remove),
            _ => Err(Refusal::bad_request().saying("<remove/> stands alone")),
        };
    }
    let text = |name| field(name).map(|field| field.text().into_owned()).filter(|text| !text.is_empty());
    Ok(Wish::Credentials { username: text("username"), password: text("password") })
}

/// Refuses a payload of another name.
///
/// # Errors
/// `bad-request`.
pub fn is_query(payload: Child<'_>) -> Result<(), Refusal> {
    match payload.name() {
        "query" => Ok(()),
        other => Err(Refusal::bad_request().saying(format!("<{other}/> is not known here"))),
    }
}

/// The fields a stranger has to fill in (§3.1).
///
/// # Errors
/// A fault when it cannot be written.
pub fn blank(instructions: &str) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", NAMESPACE);
    writer.open("instructions").text(instructions).close();
    writer.open("username").close().open("password").close();
    element(writer.finish())
}

/// What is on file of somebody who has an account (§3.1).
///
/// # Errors
/// A fault when it cannot be written.
pub fn on_file(username: &str) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("query").attribute("xmlns", NAMESPACE);
    writer.open("registered").close();
    writer.open("username").text(username).close();
    writer.open("password").close();
    element(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(content: &str) -> Result<Wish, &'static str> {
        let query = element(format!("<query xmlns='jabber:iq:register'>{content}</query>")).unwrap();
        read(query.as_child()).map_err(|refusal| refusal.condition.name())
    }

    fn credentials(username: Option<&str>, password: Option<&str>) -> Result<Wish, &'static str> {
        Ok(Wish::Credentials { username: username.map(Into::into), password: password.map(Into::into) })
    }

    #[test]
    fn fields_are_read_whatever_else_is_there() {
        let both = "<email>b@x</email><username>bill</username><password>Calliope &amp; more</password>";
        assert_eq!(wish(both), credentials(Some("bill"), Some("Calliope & more")));
        assert_eq!(wish("<username>bill</username><password/>"), credentials(Some("bill"), None));
        assert_eq!(wish("<username></username>"), credentials(None, None));
        assert_eq!(wish("<username xmlns='urn:x'>bill</username>"), credentials(None, None));
        assert_eq!(wish(""), credentials(None, None));
    }

    #[test]
    fn removing_stands_alone() {
        assert_eq!(wish("<remove/>"), Ok(Wish::Remove));
        assert_eq!(wish("<remove/><username>bill</username>"), Err("bad-request"));
        let other = element("<enquiry xmlns='jabber:iq:register'/>").unwrap();
        assert!(read(other.as_child()).is_err());
    }

    #[test]
    fn forms_are_written_as_clients_know_them() {
        assert_eq!(
            blank("Choose <well>").unwrap().as_bytes(),
            "<query xmlns='jabber:iq:register'><instructions>Choose &lt;well&gt;</instructions><username/><password/></query>"
        );
        assert_eq!(
            on_file("bill").unwrap().as_bytes(),
            "<query xmlns='jabber:iq:register'><registered/><username>bill</username><password/></query>"
        );
    }
}
