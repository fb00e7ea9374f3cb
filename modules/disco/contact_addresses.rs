//! How to reach the people behind the server (XEP-0157): the settings, and the form they become.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};

/// `[modules.disco]`: addresses of the people who run the server, each a URI such as `"mailto:abuse@example.org"`,
/// `"xmpp:admin@example.org"` or `"https://example.org/status"`. Everyone may ask for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who hears of abuse: spam, harassment. Write at least this one when the server talks to others. A list of URIs,
    /// such as `["mailto:abuse@example.org", "xmpp:abuse@example.org"]`.
    pub abuse: Vec<String>,
    /// Who runs the server. A list of URIs.
    pub admin: Vec<String>,
    /// Who hears what people think of the service. A list of URIs.
    pub feedback: Vec<String>,
    /// Who sells the service. A list of URIs.
    pub sales: Vec<String>,
    /// Who hears of holes in the server's security. A list of URIs.
    pub security: Vec<String>,
    /// Where to see whether the service works at the moment. A list of URIs.
    pub status: Vec<String>,
    /// Who helps people with the service. A list of URIs.
    pub support: Vec<String>,
}

impl Settings {
    /// The fields of the form with their values, in the order in which they are hashed (XEP-0115 §5.1).
    fn fields(&self) -> [(&'static str, &[String]); 7] {
        [
            ("abuse-addresses", &self.abuse),
            ("admin-addresses", &self.admin),
            ("feedback-addresses", &self.feedback),
            ("sales-addresses", &self.sales),
            ("security-addresses", &self.security),
            ("status-addresses", &self.status),
            ("support-addresses", &self.support),
        ]
    }

    /// Finds what is no URI.
    ///
    /// # Errors
    /// The first, in a line for the operator.
    pub fn check(&self) -> Result<(), String> {
        let all = self.fields().into_iter().flat_map(|(_, addresses)| addresses);
        match all.into_iter().find(|address| !is_uri(address)) {
            None => Ok(()),
            Some(address) => Err(format!("{address:?} is no URI, write for example \"mailto:admin@example.org\"")),
        }
    }

    /// The form that says it; none when there is nothing to say.
    pub fn form(&self) -> Option<DataForm> {
        let fields = self.fields().into_iter().filter(|(_, addresses)| !addresses.is_empty());
        let fields: Vec<Field> = fields
            .map(|(name, addresses)| Field { values: addresses.to_vec(), ..Field::new(name, FieldType::ListMulti) })
            .collect();
        let serverinfo = "http://jabber.org/network/serverinfo";
        (!fields.is_empty()).then(|| DataForm::new(DataFormType::Result_, serverinfo, fields))
    }
}

/// Whether a text looks like a URI (RFC 3986 §3): a scheme, a colon, and something without white space or markup.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme && !rest.is_empty() && !rest.contains(|letter: char| letter.is_whitespace() || "<>\"".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_uri_is_named() {
        let with = |address: &str| Settings { security: vec![address.to_owned()], ..Settings::default() };
        for good in ["mailto:a@b.lit", "xmpp:a@b.lit?message", "https://b.lit/x#y"] {
            assert_eq!(with(good).check(), Ok(()), "{good}");
        }
        for bad in ["a@b.lit", "", ":x", "1x:y", "mailto:", "mailto:a b", "x:<y>"] {
            assert!(with(bad).check().is_err_and(|line| line.contains(&format!("{bad:?}"))), "{bad}");
        }
    }
}
