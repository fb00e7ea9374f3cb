//! Stream errors: they end the stream (RFC 6120 §4.9).

use std::borrow::Cow;

use waxwing_xml::Writer;

use crate::namespaces;

/// Writes the enum of stream error conditions and their element names in one place.
macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// The defined conditions of stream errors (RFC 6120 §4.9.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StreamCondition { $($(#[$doc])* $variant,)* }

        impl StreamCondition {
            /// The element's name.
            pub fn name(self) -> &'static str {
                match self { $(StreamCondition::$variant => $name,)* }
            }
        }
    };
}

conditions! {
    /// XML that cannot be processed.
    BadFormat "bad-format";
    /// A prefix that is not allowed, or a missing one.
    BadNamespacePrefix "bad-namespace-prefix";
    /// A newer stream of the same client took its place, or its resource is taken.
    Conflict "conflict";
    /// The peer did not answer.
    ConnectionTimeout "connection-timeout";
    /// The host was served here once.
    HostGone "host-gone";
    /// The host is not served here.
    HostUnknown "host-unknown";
    /// A stanza between servers without a proper `to` or `from`.
    ImproperAddressing "improper-addressing";
    /// The server failed.
    InternalServerError "internal-server-error";
    /// A `from` that does not match what was authenticated.
    InvalidFrom "invalid-from";
    /// A stream or content namespace that is not served here.
    InvalidNamespace "invalid-namespace";
    /// XML against the schema.
    InvalidXml "invalid-xml";
    /// Something was sent before authentication that needs it.
    NotAuthorized "not-authorized";
    /// XML that is not well-formed, or not namespace-well-formed.
    NotWellFormed "not-well-formed";
    /// Against a local rule or beyond a local limit.
    PolicyViolation "policy-violation";
    /// The connection to another server failed.
    RemoteConnectionFailed "remote-connection-failed";
    /// The stream must be set up anew, for instance for a new certificate.
    Reset "reset";
    /// The host is served elsewhere; the error holds where (RFC 6120 §4.9.3.19).
    SeeOtherHost "see-other-host";
    /// The server lacks the resources for this stream.
    ResourceConstraint "resource-constraint";
    /// A comment, a processing instruction, a document type or an entity of one's own.
    RestrictedXml "restricted-xml";
    /// The server stops.
    SystemShutdown "system-shutdown";
    /// None of the others.
    UndefinedCondition "undefined-condition";
    /// Another encoding than UTF-8.
    UnsupportedEncoding "unsupported-encoding";
    /// A mandatory feature that is not supported.
    UnsupportedFeature "unsupported-feature";
    /// A first-level element that is not known.
    UnsupportedStanzaType "unsupported-stanza-type";
    /// A version of XMPP that is not supported.
    UnsupportedVersion "unsupported-version";
}

/// Why a stream ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", condition.name(), text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct StreamError {
    /// The defined condition.
    pub condition: StreamCondition,
    /// What the condition's element holds: an address, with [`StreamCondition::SeeOtherHost`] alone.
    pub address: Option<Box<str>>,
    /// A sentence for a person, in English.
    pub text: Option<Cow<'static, str>>,
    /// Name and namespace of an application-specific condition (RFC 6120 §4.9.4).
    pub application: Option<(&'static str, &'static str)>,
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError { condition, address: None, text: None, application: None }
    }
}

impl StreamError {
    /// A stream error that says more to a person.
    pub fn saying(condition: StreamCondition, text: impl Into<Cow<'static, str>>) -> StreamError {
        StreamError { condition, address: None, text: Some(text.into()), application: None }
    }

    /// Sends the peer elsewhere: `host` or `host:port`, an IPv6 address in brackets.
    pub fn see_other_host(address: &str) -> StreamError {
        StreamError { address: Some(address.into()), ..StreamCondition::SeeOtherHost.into() }
    }

    /// Adds an application-specific condition: an empty element of this name and namespace.
    pub fn because(mut self, name: &'static str, namespace: &'static str) -> StreamError {
        self.application = Some((name, namespace));
        self
    }

    /// Writes `<stream:error/>`; `declare_prefix` where no stream header has bound `stream` (RFC 7395 §3.3.3).
    pub fn write(&self, writer: &mut Writer, declare_prefix: bool) {
        writer.open("stream:error");
        if declare_prefix {
            writer.attribute("xmlns:stream", namespaces::STREAM);
        }
        writer.open(self.condition.name());
        writer.attribute("xmlns", namespaces::STREAM_ERRORS);
        writer.text(self.address.as_deref().unwrap_or_default());
        writer.close();
        if let Some(text) = &self.text {
            writer.open("text");
            writer.attribute("xmlns", namespaces::STREAM_ERRORS);
            writer.attribute("xml:lang", "en");
            writer.text(text);
            writer.close();
        }
        if let Some((name, namespace)) = self.application {
            writer.open(name);
            writer.attribute("xmlns", namespace);
            writer.close();
        }
        writer.close();
    }
}
