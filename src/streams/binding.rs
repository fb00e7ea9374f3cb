//! From a proof of identity to a session: the second header, resource binding, or going on with an older session
//! (RFC 6120 §6.4.6, §7; XEP-0198 §5).

use std::sync::Arc;

use waxwing_core::address::{self, FullJid, ResourcePart};
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::{Circumstances, FIRST_WIRE, Session};
use waxwing_core::stanza::{IqType, Stanza, StanzaType};
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::wire::Wire;
use waxwing_core::xml::{Element, Writer};

use crate::client::{Login, NO_COMPRESSION, written};
use crate::connection::Over;
use crate::features;
use crate::line::{Line, Opening, Said};
use crate::listeners::Shared;

/// Leads a client that has logged in to its session; `None` when the stream has ended before.
pub(crate) async fn bind<L: Line>(shared: &Shared, mut line: L, login: Login) -> Option<(L, Bound)> {
    let mut binding = Binding { shared, login, lang: None, failures: 0 };
    loop {
        match binding.step(&mut line).await {
            Ok(None) => {}
            Ok(Some(bound)) => return Some((line, bound)),
            Err(over) => {
                line.end(over, binding.login.host.domain().as_str()).await;
                return None;
            }
        }
    }
}

/// A stream that has its session.
pub(crate) struct Bound {
    pub(crate) session: Arc<Session>,
    pub(crate) wire_number: u32,
}

struct Binding<'a> {
    shared: &'a Shared,
    login: Login,
    lang: Option<Box<str>>,
    failures: usize,
}

impl Binding<'_> {
    async fn step<L: Line>(&mut self, line: &mut L) -> Result<Option<Bound>, Over> {
        match line.next().await? {
            Said::Close => Err(Over::Closed),
            Said::Opening(opening) => {
                self.open(line, &opening).await?;
                Ok(None)
            }
            Said::Element(element) => self.element(line, element).await,
        }
    }

    /// The header after a login: the same host (security row S10) and nobody else (RFC 6120 §6.4.6).
    async fn open<L: Line>(&mut self, line: &mut L, opening: &Opening) -> Result<(), Over> {
        let host = &self.login.host;
        self.lang = opening.lang.clone();
        let to = opening.to.as_deref().and_then(|to| address::read(to).ok());
        let from = opening.from.as_deref().map(address::read);
        let checked = opening.problem.clone().map_or(Ok(()), Err).and_then(|()| {
            if !to.is_some_and(|to| host.is_self(&to)) {
                let text = "the login holds for the host it was made on";
                return Err(StreamError::saying(StreamCondition::NotAuthorized, text));
            }
            match from {
                Some(Ok(from)) if from.to_bare() == self.login.account => Ok(()),
                None => Ok(()),
                Some(_) => Err(StreamError::saying(StreamCondition::InvalidFrom, "`from` is not who logged in")),
            }
        });
        let account = opening.from.as_ref().map(|_| &self.login.account);
        if let Err(error) = checked {
            line.open(host.domain().as_str(), account, b"").await?;
            return Err(error.into());
        }
        let offer = features::binding(host, &self.shared.house.config().limits, line.framing());
        line.open(host.domain().as_str(), account, &offer).await
    }

    async fn element<L: Line>(&mut self, line: &mut L, element: Element) -> Result<Option<Bound>, Over> {
        if (element.namespace(), element.name()) == (namespaces::TLS, "starttls") {
            line.send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            return Err(Over::Closed);
        }
        if (element.namespace(), element.name()) == ("http://jabber.org/protocol/compress", "compress") {
            line.send(NO_COMPRESSION).await?;
            return Ok(None);
        }
        if element.namespace() != namespaces::CLIENT {
            return self.resume(line, &element).await;
        }
        let stanza = match Stanza::read(element) {
            Some(Ok(stanza)) if stanza.what == StanzaType::Iq(IqType::Set) => stanza,
            Some(_) => return Err(StreamCondition::NotAuthorized.into()),
            None => return Err(StreamCondition::UnsupportedStanzaType.into()),
        };
        let Some(wanted) = wanted_resource(&stanza) else { return Err(StreamCondition::NotAuthorized.into()) };
        let refusal = match wanted {
            Ok(resource) => match self.open_session(line, &stanza, resource).await {
                Ok(bound) => return Ok(Some(bound)),
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        if let Ok(Some(error)) = Stanza::error_for(&stanza, &refusal) {
            line.send(&written(&error, line.framing())).await?;
        }
        self.failed()
    }

    /// One more attempt has failed; whether another is allowed (RFC 6120 §7.7.3).
    fn failed(&mut self) -> Result<Option<Bound>, Over> {
        self.failures += 1;
        if self.shared.house.config().limits.bind_failures.allows(self.failures) {
            Ok(None)
        } else {
            Err(StreamError::saying(StreamCondition::PolicyViolation, "too many failed attempts to bind").into())
        }
    }

    /// Goes on with an older session instead of binding a new one.
    async fn resume<L: Line>(&mut self, line: &mut L, element: &Element) -> Result<Option<Bound>, Over> {
        let resumption = self.login.host.contracts().resumption().cloned();
        let Some(resumption) = resumption.filter(|resumption| resumption.is_request(element)) else {
            return Err(StreamCondition::UnsupportedStanzaType.into());
        };
        let answer = match resumption.resume(&self.login.account, element).await {
            Ok(resumed) => {
                let wire_number = resumed.wire_number;
                match self.login.host.resume_session(resumed, self.wire(line)).await {
                    Ok(session) => return Ok(Some(Bound { session, wire_number })),
                    Err(answer) => answer,
                }
            }
            Err(answer) => answer,
        };
        line.send(&answer).await?;
        self.failed()
    }

    fn wire<L: Line>(&self, line: &L) -> Box<dyn Wire> {
        let patience = self.shared.house.config().limits.close_timeout.get();
        line.wire(patience)
    }

    async fn open_session<L: Line>(
        &mut self,
        line: &L,
        request: &Stanza,
        resource: Option<ResourcePart>,
    ) -> Result<Bound, Refusal> {
        let circumstances = Circumstances {
            peer: Some(line.peer()),
            lang: self.lang.clone(),
            transport: line.transport(),
            mechanism: self.login.mechanism,
        };
        let wire = self.wire(line);
        let mut request = request.head();
        (request.to, request.from) = (None, None);
        let framing = line.framing();
        let welcome = |jid: &FullJid| {
            let mut payload = Writer::new();
            payload.open("bind").attribute("xmlns", namespaces::BIND).open("jid").text(jid.as_str());
            let mut result = Stanza::result_of(&request);
            if let Ok(payload) = waxwing_core::stanza::element(payload.finish()) {
                result.add(payload);
            }
            written(&result, framing).into()
        };
        let host = &self.login.host;
        let session = host.open_session(&self.login.account, resource, circumstances, wire, welcome).await?;
        Ok(Bound { wire_number: FIRST_WIRE, session })
    }
}

/// The resource that a bind request asks for, `None` inside when the server is to make one; `None` when the IQ is not a
/// bind request.
fn wanted_resource(stanza: &Stanza) -> Option<Result<Option<ResourcePart>, Refusal>> {
    let bind = stanza.payload(namespaces::BIND, "bind")?;
    let Some(resource) = bind.child(namespaces::BIND, "resource") else { return Some(Ok(None)) };
    let resource = resource.text();
    if resource.is_empty() {
        return Some(Ok(None));
    }
    Some(match ResourcePart::new(&resource) {
        Ok(resource) => Ok(Some(resource.into_owned())),
        Err(error) => Err(Refusal::bad_request().saying(format!("not a resource: {error}"))),
    })
}
