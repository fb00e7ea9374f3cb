//! What discovery tells, as plain data: identities, features, contact addresses, and the hash over them (XEP-0115 §5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use waxwing_core::fault::Fault;
use waxwing_core::module::{self, Entity};
use xmpp_parsers::caps::{Caps, compute_disco, hash_caps};
use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};
use xmpp_parsers::disco::{DiscoInfoResult, Identity};
use xmpp_parsers::hashes::Algo;

use crate::{NODE, Settings};

/// The kind of form that holds contact addresses (XEP-0157 §2).
const SERVER_INFORMATION: &str = "http://jabber.org/network/serverinfo";

/// What an entity with these features tells; `beside` is what modules make of it.
pub fn of(entity: Entity, beside: &[module::Identity], features: Vec<String>, settings: &Settings) -> DiscoInfoResult {
    let (category, kind) = match entity {
        Entity::Host => ("server", "im"),
        Entity::Account => ("account", "registered"),
    };
    let name = (entity == Entity::Host).then(|| settings.name.clone().unwrap_or_else(|| "Waxwing".to_owned()));
    let identity = Identity { category: category.to_owned(), type_: kind.to_owned(), lang: None, name };
    let others = beside.iter().map(|is| Identity {
        category: is.category.to_owned(),
        type_: is.kind.to_owned(),
        lang: None,
        name: None,
    });
    let identities = std::iter::once(identity).chain(others).collect();
    let extensions = match entity {
        Entity::Host => contact_addresses(settings).into_iter().collect(),
        Entity::Account => Vec::new(),
    };
    DiscoInfoResult { node: None, identities, features: features.into_iter().collect(), extensions }
}

/// The lists of contact addresses under their names in the form, in the order in which they are hashed (XEP-0115 §5.1).
fn lists(settings: &Settings) -> [(&'static str, &Vec<String>); 7] {
    [
        ("abuse-addresses", &settings.abuse),
        ("admin-addresses", &settings.admin),
        ("feedback-addresses", &settings.feedback),
        ("sales-addresses", &settings.sales),
        ("security-addresses", &settings.security),
        ("status-addresses", &settings.status),
        ("support-addresses", &settings.support),
    ]
}

/// Finds a contact address that is no URI.
///
/// # Errors
/// The first, in a line for the operator.
pub fn check(settings: &Settings) -> Result<(), String> {
    match lists(settings).into_iter().flat_map(|(_, addresses)| addresses).find(|address| !is_uri(address)) {
        None => Ok(()),
        Some(address) => Err(format!("{address:?} is no URI, write for example \"mailto:admin@example.org\"")),
    }
}

/// Whether a text looks like a URI (RFC 3986 §3): a scheme, a colon, and something without white space or markup.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme && !rest.is_empty() && !rest.contains(|letter: char| letter.is_whitespace() || "<>\"".contains(letter))
}

/// The contact addresses; none when the operator has named none.
fn contact_addresses(settings: &Settings) -> Option<DataForm> {
    let fields: Vec<Field> = lists(settings)
        .into_iter()
        .filter(|(_, addresses)| !addresses.is_empty())
        .map(|(name, addresses)| Field { values: addresses.clone(), ..Field::new(name, FieldType::ListMulti) })
        .collect();
    (!fields.is_empty()).then(|| DataForm::new(DataFormType::Result_, SERVER_INFORMATION, fields))
}

/// The capabilities that stand for this information. SHA-1, because that is what every client understands; nothing of ours
/// rests on its strength.
///
/// # Errors
/// A fault when the hash cannot be made.
pub fn capabilities(information: &DiscoInfoResult) -> Result<Caps, Fault> {
    let hash = hash_caps(&compute_disco(information), Algo::Sha_1).map_err(Fault::new)?;
    Ok(Caps::new(NODE, hash))
}

/// The `ver` of capabilities.
pub fn version(capabilities: &Caps) -> String {
    STANDARD.encode(&capabilities.ver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            abuse: vec!["mailto:abuse@shakespeare.lit".to_owned(), "xmpp:abuse@shakespeare.lit".to_owned()],
            admin: vec!["mailto:admin@shakespeare.lit".to_owned()],
            ..Settings::default()
        }
    }

    #[test]
    fn contact_addresses_are_a_form_and_nothing_when_there_are_none() {
        let host = of(Entity::Host, &[], vec!["urn:b".to_owned(), "urn:a".to_owned()], &settings());
        let form = &host.extensions[0];
        assert_eq!(form.form_type(), Some(SERVER_INFORMATION));
        let abuse = form.fields.iter().find(|field| field.var.as_deref() == Some("abuse-addresses")).unwrap();
        assert_eq!(abuse.values.len(), 2);
        assert!(of(Entity::Host, &[], Vec::new(), &Settings::default()).extensions.is_empty());
        assert!(of(Entity::Account, &[], Vec::new(), &settings()).extensions.is_empty());
    }

    #[test]
    fn an_account_is_what_modules_make_of_it_too() {
        let personal = module::Identity { category: "pubsub", kind: "pep" };
        let account = of(Entity::Account, &[personal], Vec::new(), &Settings::default());
        let kinds: Vec<_> = account.identities.iter().map(|is| (is.category.as_str(), is.type_.as_str())).collect();
        assert_eq!(kinds, [("account", "registered"), ("pubsub", "pep")]);
    }

    #[test]
    fn capabilities_change_with_the_features() {
        let told = |features: &[&str]| {
            let features = features.iter().map(|feature| (*feature).to_owned()).collect();
            version(&capabilities(&of(Entity::Host, &[], features, &Settings::default())).unwrap())
        };
        assert_eq!(told(&["urn:a", "urn:b"]), told(&["urn:b", "urn:a", "urn:a"]));
        assert_ne!(told(&["urn:a"]), told(&["urn:a", "urn:b"]));
    }

    /// XEP-0115 §5.1: identities, features, forms with their fields in order; each followed by `<`.
    #[test]
    fn what_is_hashed_is_in_order() {
        let settings = Settings {
            support: vec!["xmpp:b@x.lit".to_owned(), "xmpp:a@x.lit".to_owned()],
            admin: vec!["mailto:x@x.lit".to_owned()],
            ..Settings::default()
        };
        let features = vec!["urn:b".to_owned(), "urn:a".to_owned()];
        let hashed = compute_disco(&of(Entity::Host, &[], features, &settings));
        assert_eq!(
            String::from_utf8(hashed).unwrap(),
            "server/im//Waxwing<urn:a<urn:b<http://jabber.org/network/serverinfo<admin-addresses<mailto:x@x.lit<\
             support-addresses<xmpp:a@x.lit<xmpp:b@x.lit<"
        );
    }

    #[test]
    fn an_address_that_is_no_uri_is_named() {
        let with = |address: &str| Settings { security: vec![address.to_owned()], ..Settings::default() };
        for good in ["mailto:a@b.lit", "xmpp:a@b.lit?message", "https://b.lit/x#y"] {
            assert_eq!(check(&with(good)), Ok(()), "{good}");
        }
        for bad in ["a@b.lit", "", ":x", "1x:y", "mailto:", "mailto:a b", "x:<y>"] {
            assert!(check(&with(bad)).is_err_and(|line| line.contains(&format!("{bad:?}"))), "{bad}");
        }
    }
}
