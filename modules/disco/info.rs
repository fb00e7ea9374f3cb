//! The answer to disco#info, from what is known of an entity (XEP-0030 §3).

use std::collections::BTreeSet;

use waxwing_core::module::Entity;
use xmpp_parsers::disco::{DiscoInfoResult, Identity};

use crate::contact_addresses::Settings;

/// What an entity is and can do.
pub fn info(entity: Entity, features: BTreeSet<String>, settings: &Settings) -> DiscoInfoResult {
    let (category, of_type, name) = match entity {
        Entity::Host => ("server", "im", Some("Waxwing".to_owned())),
        Entity::Account => ("account", "registered", None),
    };
    let identity = Identity { category: category.to_owned(), type_: of_type.to_owned(), lang: None, name };
    let extensions = match entity {
        Entity::Host => settings.form().into_iter().collect(),
        Entity::Account => vec![],
    };
    DiscoInfoResult { node: None, identities: vec![identity], features, extensions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::encode;
    use xmpp_parsers::caps::compute_disco;

    fn features() -> BTreeSet<String> {
        ["urn:b", "urn:a"].map(str::to_owned).into()
    }

    #[test]
    fn the_host_says_how_to_reach_its_people_and_an_account_does_not() {
        let settings = Settings {
            abuse: vec!["mailto:abuse@x.lit".to_owned(), "xmpp:abuse@x.lit".to_owned()],
            status: vec!["https://status.x.lit".to_owned()],
            ..Settings::default()
        };
        let host = encode(&info(Entity::Host, features(), &settings)).unwrap();
        let form = host.child("jabber:x:data", "x").unwrap();
        assert_eq!(form.attribute("type").as_deref(), Some("result"));
        let fields: Vec<(String, Vec<String>)> = form
            .children()
            .map(|field| {
                let values = field.children().map(|value| value.text().into_owned()).collect();
                (field.attribute("var").unwrap_or_default().into_owned(), values)
            })
            .collect();
        let expected = [
            ("FORM_TYPE", vec!["http://jabber.org/network/serverinfo"]),
            ("abuse-addresses", vec!["mailto:abuse@x.lit", "xmpp:abuse@x.lit"]),
            ("status-addresses", vec!["https://status.x.lit"]),
        ];
        let expected =
            expected.map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()));
        assert_eq!(fields, expected);
        let account = encode(&info(Entity::Account, features(), &settings)).unwrap();
        assert!(account.child("jabber:x:data", "x").is_none());
        let identity = account.child("http://jabber.org/protocol/disco#info", "identity").unwrap();
        assert_eq!(identity.attribute("category").as_deref(), Some("account"));
    }

    #[test]
    fn nobody_is_named_when_nobody_is_configured() {
        assert!(info(Entity::Host, features(), &Settings::default()).extensions.is_empty());
    }

    /// XEP-0115 §5.1: identities, features, forms with their fields in order; each followed by `<`.
    #[test]
    fn what_is_hashed_is_in_order() {
        let settings = Settings {
            support: vec!["xmpp:b@x.lit".to_owned(), "xmpp:a@x.lit".to_owned()],
            admin: vec!["mailto:x@x.lit".to_owned()],
            ..Settings::default()
        };
        let hashed = compute_disco(&info(Entity::Host, features(), &settings));
        assert_eq!(
            String::from_utf8(hashed).unwrap(),
            "server/im//Waxwing<urn:a<urn:b<http://jabber.org/network/serverinfo<admin-addresses<mailto:x@x.lit<\
             support-addresses<xmpp:a@x.lit<xmpp:b@x.lit<"
        );
    }
}
