//! In-band registration (XEP-0077): making an account where the operator allows it, a new password, leaving for good.

mod addresses;
mod fields;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{NodePart, NodeRef};
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::contracts::{AccountError, Accounts, Contract};
use waxwing_core::limits::{Count, Rate};
use waxwing_core::module::{Context, Entity, Manifest, Module, Phase, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::session::Session;
use waxwing_core::stanza::Stanza;
use waxwing_core::stream_error::{StreamCondition, StreamError};

use addresses::Addresses;
use fields::{NAMESPACE, Wish};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "register",
    summary: "lets people change their password, remove their account, and make one where that is open",
    xeps: &[Xep::partial(77, "2.4", "user name and password as plain fields, no data forms")],
    features: &[(Entity::Host, NAMESPACE)],
    answers: &[Topic::host(NAMESPACE), Topic::account(NAMESPACE), Topic::stranger(NAMESPACE)],
    needs: &[Contract::Accounts],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether strangers may make accounts. Open servers are found by spammers within days: know what you do.
    pub open: bool,
    /// What a stranger is told before choosing a name and a password.
    pub instructions: String,
    /// How many accounts may be made from one address (IPv6: from one /64). Attempts at a name that is taken count, too.
    pub registrations: Rate,
    /// For how many addresses registrations are counted at a time. When the table is full, those that were quiet longest
    /// are forgotten. An entry costs some 50 bytes.
    pub tracked_addresses: Count,
    /// Whether people may change their password.
    pub password_change: bool,
    /// Whether people may remove their account.
    pub removal: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            open: false,
            instructions: "Choose a name and a password for your account.".to_owned(),
            registrations: Rate::per_hour(5),
            tracked_addresses: Count::of(20_000),
            password_change: true,
            removal: true,
        }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let accounts = context.contracts().accounts().cloned();
    let accounts = accounts.ok_or_else(|| StartError::Other("nobody offers the accounts".to_owned()))?;
    let addresses = Mutex::new(Addresses::new(settings.tracked_addresses.get()));
    Ok(Arc::new(Register { context, settings, accounts, addresses }))
}

struct Register {
    context: Context,
    settings: Settings,
    accounts: Arc<dyn Accounts>,
    addresses: Mutex<Addresses>,
}

#[async_trait]
impl Module for Register {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.scope == Scope::Stranger {
            return self.answer_stranger(request).await;
        }
        match self.owner(&request) {
            Some((session, name)) => self.answer_owner(request, session, name).await,
            // Nobody learns here whether somebody else has an account.
            None => Err(Refusal::service_unavailable()),
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        match phase {
            Phase::Authenticating if self.settings.open => {
                vec![Bytes::from_static(b"<register xmlns='http://jabber.org/features/iq-register'/>")]
            }
            _ => Vec::new(),
        }
    }
}

impl Register {
    /// The client that asks about its own account, and the account's name.
    fn owner<'a>(&self, request: &Request<'a>) -> Option<(&'a Arc<Session>, &'a NodeRef)> {
        let session = request.session?;
        let account = session.account();
        let is_own = match request.scope {
            Scope::Account => request.is_from_owner(),
            // A client of another host of this house is a stranger here.
            _ => account.domain() == &**self.context.domain(),
        };
        account.node().filter(|_| is_own).map(|name| (session, name))
    }

    async fn answer_owner(
        &self,
        request: Request<'_>,
        session: &Arc<Session>,
        name: &NodeRef,
    ) -> Result<Answer, Refusal> {
        if !request.is_set() {
            fields::is_query(request.payload())?;
            return Ok(Answer::Payload(fields::on_file(name.as_str())?));
        }
        match fields::read(request.payload())? {
            Wish::Remove => self.remove(request, session, name).await,
            Wish::Credentials { username: Some(username), password: Some(password) } => {
                self.change_password(session, name, &username, &password).await
            }
            Wish::Credentials { .. } => {
                Err(Refusal::bad_request().saying("both <username/> and <password/> are needed"))
            }
        }
    }

    /// XEP-0077 §3.2: the client is answered before its session ends, and what is answered has been done.
    async fn remove(&self, request: Request<'_>, session: &Session, name: &NodeRef) -> Result<Answer, Refusal> {
        if !self.settings.removal {
            return Err(Refusal::not_allowed().saying("accounts are removed by the operator"));
        }
        self.accounts.retire(name).await.map_err(refusal)?;
        // Whether the client still reads it or not, the account is gone.
        let _ = session.deliver(Parcel::new(Stanza::result_of(request.stanza), Origin::House));
        self.accounts.remove(name).await.map_err(refusal)?;
        Ok(Answer::Sent)
    }

    /// XEP-0077 §3.3. Sessions that were opened with the old password end; the one that changed it goes on.
    async fn change_password(
        &self,
        session: &Arc<Session>,
        name: &NodeRef,
        username: &str,
        password: &str,
    ) -> Result<Answer, Refusal> {
        if !self.settings.password_change {
            return Err(Refusal::not_allowed().saying("passwords are changed by the operator"));
        }
        if !NodePart::new(username).is_ok_and(|username| *username == *name) {
            return Err(Refusal::forbidden().saying("only the password of your own account can be changed"));
        }
        self.accounts.set_password(name, password).await.map_err(refusal)?;
        let others = self.context.directory().sessions(session.account());
        for other in others.iter().filter(|other| !Arc::ptr_eq(other, session)) {
            other.finish(Some(StreamError::saying(StreamCondition::Reset, "the password was changed")));
        }
        Ok(Answer::Empty)
    }

    /// XEP-0077 §3.1, before a login (security row S32).
    async fn answer_stranger(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let closed = "this server makes no accounts on request";
        match (self.settings.open, request.is_set()) {
            (false, false) => Err(Refusal::service_unavailable().saying(closed)),
            (false, true) => Err(Refusal::not_allowed().saying(closed)),
            (true, false) => {
                fields::is_query(request.payload())?;
                Ok(Answer::Payload(fields::blank(&self.settings.instructions)?))
            }
            (true, true) => {
                let address = request.stranger.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                match fields::read(request.payload())? {
                    Wish::Remove => Err(Refusal::unexpected_request().saying("log in to remove an account")),
                    Wish::Credentials { username: Some(username), password: Some(password) } => {
                        self.create(address, &username, &password).await
                    }
                    Wish::Credentials { .. } => {
                        Err(Refusal::not_acceptable().saying("both <username/> and <password/> are needed"))
                    }
                }
            }
        }
    }

    async fn create(&self, address: IpAddr, username: &str, password: &str) -> Result<Answer, Refusal> {
        let name = self.accounts.prepare_name(username).map_err(|error| match error {
            AccountError::NotAcceptable(why) => Refusal::jid_malformed().saying(why),
            error => refusal(error),
        })?;
        if !self.addresses.lock().take(address, self.settings.registrations, Instant::now()) {
            tracing::info!(host = %self.context.domain(), %address, "register.too_many");
            let text = "too many accounts were made from your address, try again later";
            return Err(Refusal::policy_violation().of_type(ErrorType::Wait).saying(text));
        }
        match self.accounts.create(&name, password).await {
            Ok(()) => {
                tracing::info!(host = %self.context.domain(), account = name.as_str(), %address, "register.created");
                Ok(Answer::Empty)
            }
            Err(error) => {
                // A bad password tells nothing about others; whoever tries names is counted.
                if !matches!(error, AccountError::Exists) {
                    self.addresses.lock().give_back(address);
                }
                Err(refusal(error))
            }
        }
    }
}

fn refusal(error: AccountError) -> Refusal {
    match error {
        AccountError::Exists => Refusal::conflict().saying("the name is taken"),
        AccountError::NotFound => Refusal::item_not_found().saying("there is no such account"),
        AccountError::NotAcceptable(why) => Refusal::not_acceptable().saying(why),
        AccountError::Storage(error) => error.into(),
    }
}

#[cfg(test)]
mod tests;
