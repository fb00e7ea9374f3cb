//! SCRAM on the server's side (RFC 5802, RFC 7677) with channel binding and downgrade protection (XEP-0474).

use std::sync::Arc;

use waxwing_core::address::{DomainPart, NodePart};
use waxwing_core::credentials::{Hash, ScramKeys, same};
use waxwing_core::random;

use super::scram_message::{self, BindingFlag};
use super::{Account, ChannelBindings, Decoy, Offered, SaslFailure, Step, encoding, identity};

/// The server's side of one exchange.
pub(super) struct Scram {
    hash: Hash,
    plus: bool,
    /// Whether any -PLUS mechanism was offered: then a client that says `y` was lied to (RFC 5802 §6).
    offers_plus: bool,
    domain: DomainPart,
    bindings: ChannelBindings,
    decoy: Arc<Decoy>,
    /// The value of `h=` (XEP-0474 §6.1).
    advertised: String,
    nonce: String,
    state: State,
}

enum State {
    Start,
    Asked,
    Looking(First),
    Challenged(Box<Challenged>),
    Over,
}

/// What the first message told.
struct First {
    username: NodePart,
    bare: String,
    nonce: String,
    /// What `c=` of the final message must hold: the header and the data of the channel binding.
    binding: Vec<u8>,
}

/// What is kept until the final message.
struct Challenged {
    /// `None` when nobody can have this name.
    username: Option<NodePart>,
    keys: ScramKeys,
    known: bool,
    disabled: bool,
    binding: Vec<u8>,
    nonce: String,
    /// `client-first-message-bare "," server-first-message ","`: the front of `AuthMessage`.
    messages: String,
}

impl Scram {
    pub(super) fn new(hash: Hash, plus: bool, offered: &Offered) -> Scram {
        Scram {
            hash,
            plus,
            offers_plus: offered.offers_plus(),
            domain: offered.domain.clone(),
            bindings: offered.bindings.clone(),
            decoy: offered.decoy.clone(),
            advertised: encoding::encode_inside(&hash.digest(offered.advertised().as_bytes())),
            nonce: random::token(),
            state: State::Start,
        }
    }

    /// With a nonce that is known beforehand, to replay the examples of the RFCs.
    #[cfg(test)]
    pub(super) fn with_nonce(mut self, nonce: &str) -> Scram {
        self.nonce = nonce.to_owned();
        self
    }

    pub(super) fn step(&mut self, client: Option<&[u8]>) -> Step {
        let next = match (std::mem::replace(&mut self.state, State::Over), client) {
            (State::Start, None) => {
                self.state = State::Asked;
                Ok(Step::Challenge(Vec::new()))
            }
            (State::Start | State::Asked, Some(message)) => self.first(message),
            (State::Challenged(challenged), Some(message)) => self.last(&challenged, message),
            _ => Err(SaslFailure::MalformedRequest),
        };
        next.unwrap_or_else(Step::Failure)
    }

    pub(super) fn credentials(&mut self, account: Option<Account>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Looking(First { username, bare, nonce, binding }) => {
                let decoy = self.decoy.keys(self.hash, username.as_str());
                self.challenge(Some(username), account, decoy, bare, nonce, binding)
            }
            _ => Step::Failure(SaslFailure::NotAuthorized),
        }
    }

    fn first(&mut self, message: &[u8]) -> Result<Step, SaslFailure> {
        let first = scram_message::read_first(message)?;
        let bound_to: &[u8] = match (first.flag, self.plus) {
            (BindingFlag::Binds(name), true) => self.bindings.data(name).ok_or(SaslFailure::NotAuthorized)?,
            (BindingFlag::Cannot, false) => &[],
            // It saw no -PLUS although we offered one: somebody took it out on the way (RFC 5802 §6, row S24).
            (BindingFlag::ThinksWeCannot, false) if self.offers_plus => return Err(SaslFailure::NotAuthorized),
            (BindingFlag::ThinksWeCannot, false) => &[],
            _ => return Err(SaslFailure::MalformedRequest),
        };
        let binding = [first.header.as_bytes(), bound_to].concat();
        let (bare, nonce) = (first.bare.to_owned(), first.nonce.to_owned());
        let Some(username) = identity::account_name(&first.username) else {
            // Nobody is called that; we go on as for any unknown account.
            if first.authzid.is_some() {
                return Err(SaslFailure::InvalidAuthzid);
            }
            let decoy = self.decoy.keys(self.hash, &first.username);
            return Ok(self.challenge(None, None, decoy, bare, nonce, binding));
        };
        if first.authzid.is_some_and(|authzid| !identity::may_act_as(&authzid, &username, &self.domain)) {
            return Err(SaslFailure::InvalidAuthzid);
        }
        self.state = State::Looking(First { username: username.clone(), bare, nonce, binding });
        Ok(Step::NeedCredentials { username, hash: self.hash })
    }

    /// Sends `server-first-message`. The decoy is made for known accounts too, so that both take the same time.
    fn challenge(
        &mut self,
        username: Option<NodePart>,
        account: Option<Account>,
        decoy: ScramKeys,
        bare: String,
        client_nonce: String,
        binding: Vec<u8>,
    ) -> Step {
        let account = account.filter(|account| account.keys.hash == self.hash);
        let known = account.is_some();
        let Account { keys, disabled } = account.unwrap_or(Account { keys: decoy, disabled: false });
        let nonce = client_nonce + &self.nonce;
        let salt = encoding::encode_inside(&keys.salt);
        let server_first = format!("r={nonce},s={salt},i={},h={}", keys.iterations, self.advertised);
        let messages = format!("{bare},{server_first},");
        self.state =
            State::Challenged(Box::new(Challenged { username, keys, known, disabled, binding, nonce, messages }));
        Step::Challenge(server_first.into_bytes())
    }

    /// Judges `client-final-message`. All the work is done before the first verdict, so that the time tells nothing.
    fn last(&mut self, challenged: &Challenged, message: &[u8]) -> Result<Step, SaslFailure> {
        let last = scram_message::read_final(message)?;
        let proof = encoding::decode(last.proof).ok_or(SaslFailure::MalformedRequest)?;
        let binding = encoding::decode(last.binding).ok_or(SaslFailure::MalformedRequest)?;
        let keys = &challenged.keys;
        let transcript = [challenged.messages.as_bytes(), last.without_proof.as_bytes()];
        let client_signature = self.hash.hmac(&keys.stored_key, &transcript);
        let client_key: Vec<u8> = proof.iter().zip(&client_signature).map(|(one, other)| one ^ other).collect();
        let server_signature = self.hash.hmac(&keys.server_key, &transcript);
        let proven = same(&self.hash.digest(&client_key), &keys.stored_key) & (proof.len() == self.hash.length());
        let bound = same(&binding, &challenged.binding);
        let fresh = same(last.nonce.as_bytes(), challenged.nonce.as_bytes());
        let authentic = proven & bound & fresh & challenged.known;
        match &challenged.username {
            Some(_) if authentic && challenged.disabled => Err(SaslFailure::AccountDisabled),
            Some(username) if authentic => {
                let data = format!("v={}", encoding::encode_inside(&server_signature));
                Ok(Step::Success { username: username.clone(), data: Some(data.into_bytes()) })
            }
            _ => Err(SaslFailure::NotAuthorized),
        }
    }
}
