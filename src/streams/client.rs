//! A client's stream from its first byte to its proof of identity: header, STARTTLS, SASL (RFC 6120 §4 to §6).

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use waxwing_core::address::{self, BareJid};
use waxwing_core::answers::{Answer, Request, Scope};
use waxwing_core::host::Host;
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, Stanza, StanzaType};
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::wire::Framing;
use waxwing_core::xml::Element;

use crate::authentication::{Authentication, Progress};
use crate::binding::{Bound, bind};
use crate::connection::{Connection, Over};
use crate::features;
use crate::gate::Admission;
use crate::line::{Line, Opening, Said};
use crate::listeners::Shared;
use crate::module::Settings;
use crate::tls::Transport;

/// The answer to a wish for compression, which is never offered: what is encrypted must not tell by its length what it
/// holds, and what is small must not become large in our memory (XEP-0138 §3, security row S6).
pub(crate) const NO_COMPRESSION: &[u8] =
    b"<failure xmlns='http://jabber.org/protocol/compress'><unsupported-method/></failure>";

/// Serves one connection of a client until it is over.
pub(crate) async fn serve(shared: Arc<Shared>, socket: TcpStream, direct_tls: bool, admission: Admission) {
    let limits = shared.house.config().limits.clone();
    let Ok(transport) = Transport::plain(socket) else { return };
    let mut connection = Connection::new(transport, &limits, shared.stopping.clone());
    if direct_tls {
        connection = match connection.start_tls(&shared.direct_tls, None).await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "stream.tls_failed"),
        };
    }
    begin(shared, connection, direct_tls, admission).await;
}

/// Serves a connection on which the client may speak now.
pub(crate) async fn begin<L: Line>(shared: Arc<Shared>, line: L, direct_tls: bool, admission: Admission) {
    let mut negotiation = Negotiation { shared, admission, host: None, claimed: None, direct_tls };
    // The future of the negotiation is large and short-lived: it is in a box, and the reader goes on without it.
    match Box::pin(negotiation.login(line)).await {
        Ok((line, login)) => {
            let Negotiation { shared, mut admission, .. } = negotiation;
            admission.authenticated();
            if let Some((line, Bound { session, wire_number })) = Box::pin(bind(&shared, line, login)).await {
                // A task of its own, as small as an idle session should be.
                shared.house.tasks().spawn(line.read(session, wire_number, admission));
            }
        }
        Err(None) => {}
        Err(Some((line, over))) => line.end(over, &negotiation.from()).await,
    }
}

/// A client that has proved who it is.
pub(crate) struct Login {
    pub(crate) host: Arc<Host>,
    pub(crate) account: BareJid,
    pub(crate) mechanism: &'static str,
}

struct Negotiation {
    shared: Arc<Shared>,
    admission: Admission,
    host: Option<Arc<Host>>,
    /// Who the client says it is, in the `from` of its header.
    claimed: Option<BareJid>,
    direct_tls: bool,
}

/// A connection that is over, with the reason; nothing when it is gone already.
type Ended<L> = Option<(L, Over)>;

impl Negotiation {
    /// What our header calls us while we do not know better.
    fn from(&self) -> String {
        self.host.as_ref().map(|host| host.domain().to_string()).unwrap_or_default()
    }

    /// From the first header to a proof of identity.
    async fn login<L: Line>(&mut self, mut line: L) -> Result<(L, Login), Ended<L>> {
        let mut authentication = None;
        loop {
            match self.step(&mut line, &mut authentication).await {
                Ok(Next::Token) => {}
                Ok(Next::StartTls) => {
                    let domain = self.host.as_ref().map(|host| host.domain().clone());
                    authentication = None;
                    let name = domain.as_ref().map(|domain| domain.as_str());
                    line = match line.start_tls(&self.shared.start_tls, name).await {
                        Ok(line) => line,
                        Err(error) => {
                            tracing::debug!(%error, "stream.tls_failed");
                            return Err(None);
                        }
                    };
                    // What was said before TLS is forgotten (RFC 6120 §5.4.3.3).
                    (self.host, self.claimed) = (None, None);
                }
                Ok(Next::LoggedIn(login)) => {
                    line.authenticated(&self.shared.house.config().limits);
                    return Ok((line, login));
                }
                Err(over) => return Err(Some((line, over))),
            }
        }
    }

    /// One token of the stream before the login.
    async fn step<L: Line>(&mut self, line: &mut L, authentication: &mut Option<Authentication>) -> Result<Next, Over> {
        match line.next().await? {
            Said::Close => Err(Over::Closed),
            Said::Opening(opening) => {
                *authentication = Some(self.open(line, &opening).await?);
                Ok(Next::Token)
            }
            Said::Element(element) => {
                let (Some(authentication), Some(host)) = (authentication, self.host.clone()) else {
                    return Err(StreamCondition::NotAuthorized.into());
                };
                self.element(line, authentication, &host, element).await
            }
        }
    }

    /// A stream header: who is meant, and what do we offer?
    async fn open<L: Line>(&mut self, line: &mut L, opening: &Opening) -> Result<Authentication, Over> {
        let host = self.host_meant(opening);
        let from = host.as_ref().map(|host| host.domain().to_string()).unwrap_or_default();
        let to = opening.from.as_deref().and_then(|from| address::read(from).ok()).map(|from| from.to_bare());
        let checked = opening.problem.clone().map_or(Ok(()), Err).and_then(|()| self.check_host(host, line));
        let host = match checked {
            Ok(host) => host,
            Err(error) => {
                line.open(&from, to.as_ref(), b"").await?;
                return Err(error.into());
            }
        };
        let config = self.shared.house.config();
        let settings: Settings = config.module(host.domain().as_str(), "streams").unwrap_or_default();
        if let Some(place) = line.redirect(settings) {
            if !place.contains("://") {
                line.open(&from, to.as_ref(), b"").await?;
            }
            return Err(StreamError::see_other_host(&place).into());
        }
        let authentication = Authentication::new(&self.shared, &host, line.bindings());
        let may_log_in = line.is_encrypted() || self.may_be_plain(line);
        let offer = if may_log_in {
            features::authenticating(
                &host,
                authentication.offered(),
                &config.limits,
                line.may_start_tls(),
                line.framing(),
            )
        } else {
            features::before_tls()
        };
        self.host = Some(host);
        self.claimed = to.clone();
        line.open(&from, to.as_ref(), &offer).await?;
        Ok(authentication)
    }

    /// The host that `to` names.
    fn host_meant(&self, opening: &Opening) -> Option<Arc<Host>> {
        let to = address::read(opening.to.as_deref()?).ok()?;
        if to.node().is_some() || to.resource().is_some() {
            return None;
        }
        self.shared.house.host(to.domain())
    }

    fn check_host<L: Line>(&self, host: Option<Arc<Host>>, line: &L) -> Result<Arc<Host>, StreamError> {
        let host = host.ok_or_else(|| {
            StreamError::saying(StreamCondition::HostUnknown, "`to` does not name a host that is served here")
        })?;
        // XEP-0368 §2: with direct TLS the name in TLS and the name in the stream are one.
        let server_name = line.server_name();
        if self.direct_tls
            && let Some(server_name) = server_name
            && address::read_domain(&server_name).ok().as_deref() != Some(host.domain())
        {
            let text = "`to` is not the host that was asked for in TLS";
            return Err(StreamError::saying(StreamCondition::HostUnknown, text));
        }
        Ok(host)
    }

    fn may_be_plain<L: Line>(&self, line: &L) -> bool {
        line.may_be_plain(self.shared.house.config().tls.plaintext_on_loopback)
    }

    /// A first-level element before the login.
    async fn element<L: Line>(
        &mut self,
        line: &mut L,
        authentication: &mut Authentication,
        host: &Arc<Host>,
        element: Element,
    ) -> Result<Next, Over> {
        let may_log_in = line.is_encrypted() || self.may_be_plain(line);
        match (element.namespace(), element.name()) {
            (namespaces::TLS, "starttls") => {
                if !line.may_start_tls() {
                    line.send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
                    return Err(Over::Closed);
                }
                // Security row S9: plaintext behind <starttls/> is an attack, and the connection ends without a word.
                if line.has_more_input() {
                    return Err(Over::Gone);
                }
                line.send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
                Ok(Next::StartTls)
            }
            (namespaces::SASL, _) => match authentication.element(host, &element, may_log_in).await {
                Progress::Say(words) => {
                    line.send(&words).await?;
                    Ok(Next::Token)
                }
                Progress::Failed(words) => {
                    let limits = self.shared.house.config().limits.clone();
                    let delay = self.admission.failed(&limits, Instant::now());
                    tracing::info!(peer = %line.peer(), host = %host.domain(), "login.failed");
                    tokio::time::sleep(delay).await;
                    line.send(&words).await?;
                    if limits.authentication_failures_per_stream.allows(authentication.failures() + 1) {
                        Ok(Next::Token)
                    } else {
                        let text = "too many failed logins on one stream";
                        Err(StreamError::saying(StreamCondition::PolicyViolation, text).into())
                    }
                }
                Progress::Succeeded { words, account, mechanism } => {
                    // RFC 6120 §6.4.6: who logs in is who the header named, if it named somebody.
                    if self.claimed.as_ref().is_some_and(|claimed| *claimed != account) {
                        let text = "`from` is not who logged in";
                        return Err(StreamError::saying(StreamCondition::InvalidFrom, text).into());
                    }
                    line.send(&words).await?;
                    Ok(Next::LoggedIn(Login { host: host.clone(), account, mechanism }))
                }
            },
            ("http://jabber.org/protocol/compress", "compress") => {
                line.send(NO_COMPRESSION).await?;
                Ok(Next::Token)
            }
            (namespaces::CLIENT, "iq") if may_log_in => {
                let reply = stranger(host, element, line).await.ok_or(StreamCondition::NotAuthorized)?;
                line.send(&reply).await?;
                Ok(Next::Token)
            }
            (namespaces::CLIENT, _) => Err(StreamCondition::NotAuthorized.into()),
            _ => match host.contracts().resumption().filter(|resumption| resumption.is_request(&element)) {
                Some(resumption) if may_log_in => {
                    line.send(&resumption.too_early()).await?;
                    Ok(Next::Token)
                }
                _ => Err(StreamCondition::UnsupportedStanzaType.into()),
            },
        }
    }
}

/// What follows a token.
enum Next {
    /// The next token.
    Token,
    /// The TLS handshake.
    StartTls,
    /// The stream begins anew for who logged in.
    LoggedIn(Login),
}

/// An IQ before the login: in-band registration, or nothing (XEP-0077 §3). `None` for what only ends the stream.
async fn stranger<L: Line>(host: &Arc<Host>, element: Element, line: &L) -> Option<Vec<u8>> {
    let stanza = match Stanza::read(element)? {
        Ok(stanza) => stanza,
        Err(_) => return None,
    };
    if !matches!(stanza.what, StanzaType::Iq(IqType::Get | IqType::Set)) {
        return None;
    }
    let request = Request { stanza: &stanza, scope: Scope::Stranger, session: None, stranger: Some(line.peer()) };
    let namespace = request.payload().namespace().to_owned();
    let answer = match host.catalogue().owner(Scope::Stranger, &namespace) {
        Some(owner) => owner.answer(request).await,
        None if namespace == "jabber:iq:register" => {
            Err(Refusal::not_allowed().saying("accounts are not made over this connection"))
        }
        None => return None,
    };
    let reply = match answer {
        Ok(Answer::Empty | Answer::Sent) => Stanza::result_of(&stanza),
        Ok(Answer::Payload(payload)) => Stanza::result_of(&stanza).with(payload),
        Err(refusal) => Stanza::error_for(&stanza, &refusal).ok()??,
    };
    Some(written(&reply.from(host.address().clone()), line.framing()))
}

/// A stanza as bytes of the stream.
pub(crate) fn written(stanza: &Stanza, framing: Framing) -> Vec<u8> {
    let mut out = Vec::new();
    stanza.write(&mut out, (framing == Framing::Standalone).then_some(namespaces::CLIENT));
    out
}
