//! A refusal: the peer's fault or a policy, answered with a stanza error (RFC 6120 §8.3).

use std::borrow::Cow;

use waxwing_storage::StorageError;
use waxwing_xml::Writer;

use crate::fault::Fault;
use crate::namespaces;

/// What the sender can do about a stanza error (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// Try again after providing credentials.
    Auth,
    /// Do not try again.
    Cancel,
    /// Only a warning.
    Continue,
    /// Try again after changing the stanza.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    pub fn name(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }
}

/// Writes the enum of conditions, their element names and their usual error types in one place.
macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident $name:literal $kind:ident $function:ident;)*) => {
        /// The defined conditions of stanza errors (RFC 6120 §8.3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Condition { $($(#[$doc])* $variant,)* }

        impl Condition {
            /// The element's name.
            pub fn name(self) -> &'static str {
                match self { $(Condition::$variant => $name,)* }
            }

            /// The error type that RFC 6120 gives or recommends.
            pub fn usual_type(self) -> ErrorType {
                match self { $(Condition::$variant => ErrorType::$kind,)* }
            }
        }

        impl Refusal {
            $($(#[$doc])* pub fn $function() -> Refusal { Refusal::new(Condition::$variant) })*
        }
    };
}

conditions! {
    /// The stanza or its payload does not follow the schema.
    BadRequest "bad-request" Modify bad_request;
    /// Something with that name or address exists already.
    Conflict "conflict" Cancel conflict;
    /// The feature is not implemented here.
    FeatureNotImplemented "feature-not-implemented" Cancel feature_not_implemented;
    /// The sender is known and may not do this.
    Forbidden "forbidden" Auth forbidden;
    /// The address is gone for good.
    Gone "gone" Cancel gone;
    /// The server failed; a fault with an id stands in its log.
    InternalServerError "internal-server-error" Cancel internal_server_error;
    /// Nothing with that name or address is here.
    ItemNotFound "item-not-found" Cancel item_not_found;
    /// An address breaks the rules for addresses.
    JidMalformed "jid-malformed" Modify jid_malformed;
    /// Understood, and not fitting what is asked for here.
    NotAcceptable "not-acceptable" Modify not_acceptable;
    /// Nobody may do this here.
    NotAllowed "not-allowed" Cancel not_allowed;
    /// The sender must authenticate first.
    NotAuthorized "not-authorized" Auth not_authorized;
    /// Against a local rule or beyond a local limit.
    PolicyViolation "policy-violation" Modify policy_violation;
    /// The recipient is away for now.
    RecipientUnavailable "recipient-unavailable" Wait recipient_unavailable;
    /// The address has moved.
    Redirect "redirect" Modify redirect;
    /// The sender must register first.
    RegistrationRequired "registration-required" Auth registration_required;
    /// There is no such server.
    RemoteServerNotFound "remote-server-not-found" Cancel remote_server_not_found;
    /// The other server did not answer in time.
    RemoteServerTimeout "remote-server-timeout" Wait remote_server_timeout;
    /// The server or a limit has no room for this now.
    ResourceConstraint "resource-constraint" Wait resource_constraint;
    /// Not served here, or not to this sender.
    ServiceUnavailable "service-unavailable" Cancel service_unavailable;
    /// The sender must subscribe first.
    SubscriptionRequired "subscription-required" Auth subscription_required;
    /// None of the above; says nothing without an application condition.
    UndefinedCondition "undefined-condition" Cancel undefined_condition;
    /// Understood, and not expected now.
    UnexpectedRequest "unexpected-request" Wait unexpected_request;
}

/// Turns a stanza back: becomes the `<error/>` of the reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", condition.name(), text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct Refusal {
    /// What the sender can do about it.
    pub kind: ErrorType,
    /// The defined condition.
    pub condition: Condition,
    /// A sentence for a person, in English.
    pub text: Option<Cow<'static, str>>,
    /// Name and namespace of an application-specific condition (RFC 6120 §8.3.4).
    pub application: Option<(&'static str, &'static str)>,
    /// Name and value of an attribute of the application-specific condition.
    pub detail: Option<(&'static str, &'static str)>,
}

impl Refusal {
    /// A refusal with this condition and its usual error type.
    pub fn new(condition: Condition) -> Refusal {
        Refusal { kind: condition.usual_type(), condition, text: None, application: None, detail: None }
    }

    /// Says more to a person.
    pub fn saying(mut self, text: impl Into<Cow<'static, str>>) -> Refusal {
        self.text = Some(text.into());
        self
    }

    /// With another error type than the usual one.
    pub fn of_type(mut self, kind: ErrorType) -> Refusal {
        self.kind = kind;
        self
    }

    /// Adds an application-specific condition: an empty element of this name and namespace.
    pub fn because(mut self, name: &'static str, namespace: &'static str) -> Refusal {
        self.application = Some((name, namespace));
        self
    }

    /// Gives the application-specific condition an attribute.
    pub fn in_detail(mut self, name: &'static str, value: &'static str) -> Refusal {
        self.detail = Some((name, value));
        self
    }

    /// Storage does not answer: what was asked is not done, and may be tried again.
    pub fn storage_unavailable() -> Refusal {
        Refusal::resource_constraint().saying("the database does not answer at the moment, try again later")
    }

    /// Writes the `<error/>` element.
    pub fn write(&self, writer: &mut Writer) {
        writer.open("error");
        writer.attribute("type", self.kind.name());
        writer.open(self.condition.name());
        writer.attribute("xmlns", namespaces::STANZA_ERRORS);
        writer.close();
        if let Some(text) = &self.text {
            writer.open("text");
            writer.attribute("xmlns", namespaces::STANZA_ERRORS);
            writer.text(text);
            writer.close();
        }
        if let Some((name, namespace)) = self.application {
            writer.open(name);
            writer.attribute("xmlns", namespace);
            if let Some((detail, value)) = self.detail {
                writer.attribute(detail, value);
            }
            writer.close();
        }
        writer.close();
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Refusal {
        if error.is_unavailable() {
            tracing::warn!(error = %error, "storage.unavailable");
            Refusal::storage_unavailable()
        } else {
            Fault::new(error).into()
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::internal_server_error().saying(format!("the server failed, its log names fault {}", fault.id()))
    }
}
