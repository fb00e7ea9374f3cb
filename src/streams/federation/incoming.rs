//! The door: a stream of another server from its first byte to its end (RFC 6120 §4 to §6, XEP-0178, XEP-0220, XEP-0288).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use waxwing_core::address::{self, DomainPart, DomainRef};
use waxwing_core::house::House;
use waxwing_core::namespaces;
use waxwing_core::random;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Element, Header, Token, Writer};

use super::dialback::{self, Says, Word};
use super::dialing::{Failure, condition_of, is_stream_error, keep_alive};
use super::greeting::{self, Offer};
use super::identity::Untrusted;
use super::link::{Link, Pair};
use super::management::{self, Managed};
use super::receiving::{Guest, Proved, receive};
use super::{Embassy, embassy_of, sending};
use crate::certificates::Certificates;
use crate::client::NO_COMPRESSION;
use crate::connection::{Connection, Over};
use crate::gate::Admission;
use crate::header;
use crate::sasl::encoding::{decode_initial, decode_response};
use crate::tls::{AnyCertificate, TlsConfiguration, TlsError, TlsOptions, Transport};

/// What all streams of other servers share.
pub(crate) struct Reception {
    house: Arc<House>,
    start_tls: TlsConfiguration,
    /// For those who begin with TLS.
    pub(crate) direct_tls: Arc<TlsConfiguration>,
}

impl Reception {
    /// Prepares for other servers.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(house: &Arc<House>, certificates: &Arc<Certificates>) -> Result<Arc<Reception>, TlsError> {
        let options = |alpn: &[&[u8]]| TlsOptions {
            alpn: alpn.iter().map(|name| name.to_vec()).collect(),
            tls13_only: house.config().tls.tls13_only,
            client_certificates: Some(AnyCertificate::new()),
        };
        Ok(Arc::new(Reception {
            house: house.clone(),
            start_tls: TlsConfiguration::new(certificates.clone(), options(&[]))?,
            direct_tls: Arc::new(TlsConfiguration::new(certificates.clone(), options(&[b"xmpp-server"]))?),
        }))
    }
}

/// Serves one connection of another server until it is over.
pub(crate) async fn serve(reception: Arc<Reception>, socket: TcpStream, direct_tls: bool, admission: Admission) {
    keep_alive(&socket);
    let limits = reception.house.config().limits.clone();
    let Ok(transport) = Transport::plain(socket) else { return };
    let mut connection = Connection::new(transport, &limits, reception.house.stopped());
    if direct_tls {
        connection = match connection.start_tls(&reception.direct_tls, None).await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "federation.tls_failed"),
        };
    }
    receive_visitor(reception, connection, admission).await;
}

/// Serves another server that came to the listener for all, where the handshake is done.
pub(crate) async fn serve_shaken(reception: Arc<Reception>, transport: Transport, admission: Admission) {
    let limits = reception.house.config().limits.clone();
    let connection = Connection::new(transport, &limits, reception.house.stopped());
    Box::pin(receive_visitor(reception, connection, admission)).await;
}

async fn receive_visitor(reception: Arc<Reception>, connection: Connection, admission: Admission) {
    let mut visitor = Visitor::new(reception, admission);
    let Some((connection, over)) = Box::pin(visitor.run(connection)).await else { return visitor.leave(true) };
    let broken = matches!(over, Over::Gone);
    if let Some(managed) = &visitor.managed
        && !broken
    {
        // What was handled is said before the end, so that nothing is sent twice.
        connection.transport.write(&management::answer(managed.handled()));
    }
    visitor.leave(broken);
    let opening = greeting::header(
        greeting::text(visitor.ours.as_deref()),
        greeting::text(visitor.theirs.as_deref()),
        Some(&visitor.id),
    );
    connection.end_after(over, opening).await;
}

/// What asking about a key has led to.
struct Answered {
    pair: Pair,
    valid: Result<bool, Failure>,
}

/// What follows an element.
enum Next {
    /// The next one.
    Token,
    /// The TLS handshake.
    StartTls,
}

/// Another server at our door.
struct Visitor {
    reception: Arc<Reception>,
    admission: Admission,
    embassy: Option<Arc<Embassy>>,
    ours: Option<DomainPart>,
    theirs: Option<DomainPart>,
    /// The id of the stream.
    id: String,
    trusted: Result<(), Untrusted>,
    proved: Proved,
    guest: Option<Arc<Guest>>,
    failures: usize,
    bidi: bool,
    managed: Option<Managed>,
    /// What goes back on this connection.
    links: Vec<Arc<Link>>,
    wake: Arc<Notify>,
    answers: mpsc::Sender<Answered>,
    answered: mpsc::Receiver<Answered>,
    /// How many keys are being asked about.
    asking: usize,
}

impl Visitor {
    fn new(reception: Arc<Reception>, admission: Admission) -> Visitor {
        let (answers, answered) = mpsc::channel(1);
        Visitor {
            reception,
            admission,
            embassy: None,
            ours: None,
            theirs: None,
            id: random::token(),
            trusted: Err(Untrusted::NoCertificate),
            proved: Proved::default(),
            guest: None,
            failures: 0,
            bidi: false,
            managed: None,
            links: Vec::new(),
            wake: Arc::default(),
            answers,
            answered,
            asking: 0,
        }
    }

    fn house(&self) -> &Arc<House> {
        &self.reception.house
    }

    /// Until the stream is over. `None` when nothing more may be said.
    async fn run(&mut self, mut connection: Connection) -> Option<(Connection, Over)> {
        loop {
            match self.step(&mut connection).await {
                Ok(Next::Token) => {}
                Ok(Next::StartTls) => {
                    let ours = self.ours.take();
                    let name = ours.as_ref().map(|ours| ours.as_str());
                    connection = match connection.start_tls(&self.reception.start_tls, name).await {
                        Ok(connection) => connection,
                        Err(error) => {
                            tracing::debug!(%error, "federation.tls_failed");
                            return None;
                        }
                    };
                    // What was said before TLS is forgotten (RFC 6120 §5.4.3.3).
                    (self.embassy, self.theirs) = (None, None);
                }
                Err(over) => return Some((connection, over)),
            }
        }
    }

    /// One thing that happens.
    async fn step(&mut self, connection: &mut Connection) -> Result<Next, Over> {
        let transport = connection.transport.clone();
        let house = self.reception.house.clone();
        for link in &self.links {
            sending::fill(&house, link, &transport, None, None, |_| true).await;
        }
        let pending = transport.pending();
        let cut = self.managed.as_ref().map(|managed| managed.cut.clone());
        tokio::select! {
            biased;
            () = async { if let Some(cut) = &cut { cut.cancelled().await } }, if cut.is_some() => {
                let text = "the stream goes on on another connection";
                Err(StreamError::saying(StreamCondition::Conflict, text).into())
            }
            Some(answered) = self.answered.recv() => {
                self.asking -= 1;
                self.take_answer(connection, answered).await?;
                Ok(Next::Token)
            }
            flushed = transport.flush(), if pending > 0 => flushed.map(|()| Next::Token).map_err(|_| Over::Gone),
            token = connection.next() => {
                // STARTTLS wants the connection for itself.
                drop(transport);
                self.token(connection, token).await
            }
            () = self.wake.notified(), if !self.links.is_empty() && pending == 0 => Ok(Next::Token),
        }
    }

    async fn token(&mut self, connection: &mut Connection, token: Result<Token, Over>) -> Result<Next, Over> {
        match token {
            Ok(Token::Header(header)) => {
                self.open(connection, &header).await?;
                Ok(Next::Token)
            }
            Ok(Token::Element(element)) => self.element(connection, element).await,
            Ok(Token::Close) => Err(Over::Closed),
            // A server that has nothing to say is sent home without a reproach.
            Err(Over::Error(error))
                if error.condition == StreamCondition::ConnectionTimeout && self.proved.anything() =>
            {
                Err(Over::Closed)
            }
            Err(over) => Err(over),
        }
    }

    // ---- the header ------------------------------------------------------------------------------------------------

    async fn open(&mut self, connection: &mut Connection, header: &Header) -> Result<(), Over> {
        self.id = random::token();
        let named =
            |name| header.attribute(name).map(|text| address::read_domain(&text).map(|domain| domain.into_owned()));
        let (to, from) = (named("to"), named("from"));
        let known = to.as_ref().and_then(|to| to.as_ref().ok()).cloned();
        let embassy = known.as_ref().and_then(|to| embassy_of(self.house(), to));
        let checked = header::check(header, namespaces::SERVER).and_then(|()| {
            if let Some(Err(_)) = &from {
                let text = "`from` of the stream is no domain";
                return Err(StreamError::saying(StreamCondition::ImproperAddressing, text));
            }
            if to.is_none() {
                let text = "the stream does not say to which host it goes";
                return Err(StreamError::saying(StreamCondition::HostUnknown, text));
            }
            let from = from.and_then(Result::ok);
            let Some(embassy) = embassy else {
                return Err(StreamError::saying(StreamCondition::HostUnknown, "this host is not served here"));
            };
            if let Some(from) = &from
                && !embassy.talks_to(from)
            {
                return Err(StreamError::saying(StreamCondition::PolicyViolation, "this server is not welcome here"));
            }
            if self.proved.anything() && (known != self.ours || from.is_some() && from != self.proved.by_certificate) {
                let text = "the stream began for other domains";
                return Err(StreamError::saying(StreamCondition::InvalidFrom, text));
            }
            Ok((embassy, from))
        });
        let (embassy, from) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                // Whom we are taken for is said only where it is us.
                self.ours = known.filter(|ours| self.house().is_ours(ours));
                let opening = greeting::header(greeting::text(self.ours.as_deref()), "", Some(&self.id));
                connection.open(&opening).await?;
                return Err(error.into());
            }
        };
        self.ours = known;
        self.theirs = from.or_else(|| self.proved.by_certificate.clone());
        let is_tls = connection.transport.is_tls();
        self.trusted = match &self.theirs {
            Some(theirs) if is_tls => {
                embassy.dialer.authorities.check(&connection.transport.peer_certificates(), theirs.as_str())
            }
            _ => Err(Untrusted::NoCertificate),
        };
        let opening = self.greeting(connection, &embassy);
        let hopeless = is_tls && !self.proved.anything() && !self.may_use_dialback(connection, &embassy);
        self.embassy = Some(embassy);
        connection.open(&opening).await?;
        if hopeless {
            let why = self.trusted.as_ref().err().map(ToString::to_string).unwrap_or_default();
            self.log_refused(&why);
            return Err(StreamError::saying(StreamCondition::PolicyViolation, why).into());
        }
        Ok(())
    }

    /// Whether the words of dialback can lead to anything for this peer: it has a certificate that proves domains, is one
    /// of the operator's exceptions, or is about to ask us for a key that we have just given it.
    fn may_use_dialback(&self, connection: &Connection, embassy: &Embassy) -> bool {
        let is_expected =
            self.ours.as_deref().is_some_and(|ours| embassy.dialer.expected.contains(ours, self.theirs.as_deref()));
        is_expected
            || match &self.theirs {
                Some(theirs) => self.trusted.is_ok() || embassy.settings.calls_back(theirs),
                None => embassy.settings.calls_anyone_back() || !connection.transport.peer_certificates().is_empty(),
            }
    }

    /// Our header and what we offer now.
    fn greeting(&self, connection: &Connection, embassy: &Embassy) -> Vec<u8> {
        let settings = &embassy.settings;
        let is_tls = connection.transport.is_tls();
        let fresh = !self.proved.anything();
        let offer = Offer {
            start_tls: !is_tls,
            external: fresh && self.trusted.is_ok(),
            dialback: is_tls && self.may_use_dialback(connection, embassy),
            bidi: fresh && settings.bidirectional,
            management: !fresh && !self.bidi,
        };
        let limits = self.house().config().limits.clone();
        let bytes = if fresh { &limits.unauthenticated_stanza_bytes } else { &limits.stanza_bytes };
        let idle = settings.idle_timeout;
        let idle = (!fresh && !idle.is_unlimited()).then(|| idle.get().as_secs());
        let ours = greeting::text(self.ours.as_deref());
        let mut opening = greeting::header(ours, greeting::text(self.theirs.as_deref()), Some(&self.id));
        opening.extend(greeting::features(offer, bytes.get(), &limits, idle));
        opening
    }

    fn log_refused(&self, why: &str) {
        let (from, to) = (greeting::text(self.theirs.as_deref()), greeting::text(self.ours.as_deref()));
        tracing::info!(from, to, why, "federation.refused");
    }

    // ---- elements --------------------------------------------------------------------------------------------------

    async fn element(&mut self, connection: &mut Connection, element: Element) -> Result<Next, Over> {
        if is_stream_error(&element) {
            let (from, to) = (greeting::text(self.theirs.as_deref()), greeting::text(self.ours.as_deref()));
            tracing::info!(from, to, condition = condition_of(&element), "federation.stream_error");
            return Err(Over::Closed);
        }
        let Some(embassy) = self.embassy.clone() else {
            return Err(StreamCondition::NotAuthorized.into());
        };
        match (element.namespace(), element.name()) {
            (namespaces::TLS, "starttls") => {
                if connection.transport.is_tls() {
                    connection.send(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
                    return Err(Over::Closed);
                }
                // Security row S9, as for clients.
                if connection.has_more_input() {
                    return Err(Over::Gone);
                }
                connection.send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
                return Ok(Next::StartTls);
            }
            // Nothing else is said in the clear; dialback neither (security row S13).
            _ if !connection.transport.is_tls() => {
                let text = "this server wants TLS first";
                return Err(StreamError::saying(StreamCondition::PolicyViolation, text).into());
            }
            (namespaces::SASL, _) => self.authenticate(connection, &embassy, &element).await?,
            (dialback::NAMESPACE, _) => self.dialback(connection, &embassy, &element).await?,
            (management::NAMESPACE, name) => self.manage(connection, &embassy, name, &element).await?,
            (greeting::BIDI, "bidi") if !self.proved.anything() => self.bidi |= embassy.settings.bidirectional,
            ("http://jabber.org/protocol/compress", "compress") => connection.send(NO_COMPRESSION).await?,
            (namespaces::SERVER, "message" | "presence" | "iq") if !self.proved.anything() => {
                let text = "nothing was proved on this stream yet";
                return Err(StreamError::saying(StreamCondition::NotAuthorized, text).into());
            }
            _ => {
                let bytes = element.as_bytes().len();
                receive(&self.reception.house, &self.proved, element).await?;
                if let Some(managed) = &self.managed {
                    managed.count();
                }
                self.slow_down(bytes).await;
                self.be_patient(connection, &embassy);
            }
        }
        Ok(Next::Token)
    }

    /// A server that sends too fast is read more slowly; TCP tells it.
    async fn slow_down(&self, bytes: usize) {
        let wait = self.guest.as_ref().map_or(Duration::ZERO, |guest| guest.pace(bytes));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn be_patient(&self, connection: &mut Connection, embassy: &Embassy) {
        // The one who opened a stream closes it first when it is idle.
        let idle = embassy.settings.idle_timeout.get().min(Duration::from_secs(86_400 * 365));
        connection.wait_until(Instant::now() + idle + Duration::from_secs(60));
    }

    /// The peer has proved to be a server: other bounds hold, if it has not too many connections already.
    fn welcome(&mut self, connection: &mut Connection, embassy: &Embassy, theirs: &DomainRef) -> Result<(), Over> {
        if self.guest.is_none() {
            let guest = embassy.guest(theirs).ok_or_else(|| {
                StreamError::saying(StreamCondition::PolicyViolation, "this server has too many connections already")
            })?;
            self.guest = Some(guest);
        }
        self.admission.authenticated();
        connection.trust(&self.house().config().limits);
        self.be_patient(connection, embassy);
        Ok(())
    }

    /// What waits for the peer may go back on this connection.
    fn lend(&mut self, embassy: &Embassy, pair: Pair) {
        if self.bidi {
            self.links.extend(embassy.links.lend(pair, &self.wake, &embassy.settings));
        }
    }

    // ---- EXTERNAL --------------------------------------------------------------------------------------------------

    async fn authenticate(
        &mut self,
        connection: &mut Connection,
        embassy: &Arc<Embassy>,
        element: &Element,
    ) -> Result<(), Over> {
        let identity = match self.identity(element) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                return connection.send(b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
            }
            Err(condition) => return self.fail(connection, condition).await,
        };
        let theirs = identity.or_else(|| self.theirs.clone());
        let Some(theirs) = theirs.filter(|theirs| self.theirs.as_ref().is_none_or(|named| named == theirs)) else {
            return self.fail(connection, "invalid-authzid").await;
        };
        let chain = connection.transport.peer_certificates();
        if let Err(untrusted) = embassy.dialer.authorities.check(&chain, theirs.as_str()) {
            self.log_refused(&untrusted.to_string());
            return self.fail(connection, "not-authorized").await;
        }
        if !embassy.talks_to(&theirs) {
            return self.fail(connection, "not-authorized").await;
        }
        self.welcome(connection, embassy, &theirs)?;
        tracing::info!(from = %theirs, to = greeting::text(self.ours.as_deref()), proof = "EXTERNAL", "federation.accepted");
        self.proved.by_certificate = Some(theirs.clone());
        if let Some(ours) = self.ours.clone() {
            self.lend(embassy, Pair { ours, theirs: theirs.clone() });
        }
        self.theirs = Some(theirs);
        connection.send(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await?;
        connection.restart();
        Ok(())
    }

    /// The identity in an element of SASL: `Some(None)` when it is left to the certificate, `None` when it is still to come.
    fn identity(&self, element: &Element) -> Result<Option<Option<DomainPart>>, &'static str> {
        if self.proved.anything() {
            return Err("not-authorized");
        }
        let data = match element.name() {
            "auth" if element.attribute("mechanism").as_deref() != Some("EXTERNAL") => return Err("invalid-mechanism"),
            "auth" => match decode_initial(&element.text()).map_err(|_| "incorrect-encoding")? {
                Some(data) => data,
                None => return Ok(None),
            },
            "response" => decode_response(&element.text()).map_err(|_| "incorrect-encoding")?,
            "abort" => return Err("aborted"),
            _ => return Err("malformed-request"),
        };
        if data.is_empty() {
            return Ok(Some(None));
        }
        let text = std::str::from_utf8(&data).map_err(|_| "invalid-authzid")?;
        let identity = address::read_domain(text).map_err(|_| "invalid-authzid")?;
        Ok(Some(Some(identity.into_owned())))
    }

    async fn fail(&mut self, connection: &mut Connection, condition: &str) -> Result<(), Over> {
        let mut writer = Writer::new();
        writer.open("failure").attribute("xmlns", namespaces::SASL).open(condition);
        connection.send(&writer.finish()).await?;
        self.failures += 1;
        if self.house().config().limits.authentication_failures_per_stream.allows(self.failures + 1) {
            return Ok(());
        }
        Err(StreamError::saying(StreamCondition::PolicyViolation, "too many failed proofs on one stream").into())
    }

    // ---- dialback --------------------------------------------------------------------------------------------------

    async fn dialback(
        &mut self,
        connection: &mut Connection,
        embassy: &Arc<Embassy>,
        element: &Element,
    ) -> Result<(), Over> {
        let Some(Word { is_verify, from, to, id, says }) = dialback::read(element) else {
            let text = "this word of dialback makes no sense";
            return Err(StreamError::saying(StreamCondition::ImproperAddressing, text).into());
        };
        // An answer to what was not asked on this stream says nothing (security row S13).
        let Says::Key(key) = says else { return Ok(()) };
        if embassy_of(self.house(), &to).is_none() {
            return Err(StreamError::saying(StreamCondition::HostUnknown, format!("{to} is not served here")).into());
        }
        if is_verify {
            let id = id.unwrap_or_default();
            let valid = embassy.dialer.keys.is_valid(&key, &from, &to, &id);
            return connection.send(&dialback::checked(&to, &from, &id, valid)).await;
        }
        self.ask(connection, Pair { ours: to, theirs: from }, key).await
    }

    /// The peer wants to speak for a domain. A certificate that names it settles that without a call (XEP-0344 §2.4), also
    /// for further domains on a stream (XEP-0220 §2.6). Only the operator's exceptions are called back: the server of that
    /// name is asked whether the key is its own, beside what else happens on this stream.
    async fn ask(&mut self, connection: &mut Connection, pair: Pair, key: String) -> Result<(), Over> {
        let Some(embassy) = embassy_of(self.house(), &pair.ours) else { return Ok(()) };
        let settings = &embassy.settings;
        if self.proved.pairs.contains(&pair) {
            return connection.send(&dialback::answer(&pair.ours, &pair.theirs, true)).await;
        }
        let chain = connection.transport.peer_certificates();
        let by_certificate = embassy.dialer.authorities.check(&chain, pair.theirs.as_str());
        let refusal = if !embassy.talks_to(&pair.theirs) {
            Some("policy-violation")
        } else if !settings.dialbacks_per_connection.allows(self.asking + self.proved.pairs.len() + 1) {
            Some("resource-constraint")
        } else if by_certificate.is_err() && !settings.calls_back(&pair.theirs) {
            self.log_refused(&format!("dialback: {} is no exception", pair.theirs));
            Some("policy-violation")
        } else {
            None
        };
        if let Some(condition) = refusal {
            return connection.send(&dialback::cannot_answer(&pair.ours, &pair.theirs, condition)).await;
        }
        if by_certificate.is_ok() {
            return self.accept(connection, &embassy, pair, "certificate").await;
        }
        self.asking += 1;
        let (answers, id, embassy) = (self.answers.clone(), self.id.clone(), embassy.clone());
        self.house().tasks().spawn(async move {
            let stopped = embassy.house().stopped();
            let valid = tokio::select! {
                valid = embassy.dialer.verify(&pair, &id, &key) => valid,
                () = stopped.cancelled() => return,
            };
            let _ = answers.send(Answered { pair, valid }).await;
        });
        Ok(())
    }

    async fn take_answer(&mut self, connection: &mut Connection, answered: Answered) -> Result<(), Over> {
        let Answered { pair, valid } = answered;
        let Some(embassy) = embassy_of(self.house(), &pair.ours) else { return Ok(()) };
        let words = match valid {
            Ok(true) => return self.accept(connection, &embassy, pair, "dialback").await,
            Ok(false) => {
                self.log_refused("dialback: the key is not theirs");
                dialback::answer(&pair.ours, &pair.theirs, false)
            }
            Err(failure) => {
                self.log_refused(&format!("dialback: {failure}"));
                dialback::cannot_answer(&pair.ours, &pair.theirs, failure.refusal().condition.name())
            }
        };
        connection.send(&words).await
    }

    /// From here on the peer speaks for one more domain.
    async fn accept(
        &mut self,
        connection: &mut Connection,
        embassy: &Embassy,
        pair: Pair,
        proof: &str,
    ) -> Result<(), Over> {
        self.welcome(connection, embassy, &pair.theirs)?;
        tracing::info!(from = %pair.theirs, to = %pair.ours, proof, "federation.accepted");
        self.proved.pairs.push(pair.clone());
        connection.send(&dialback::answer(&pair.ours, &pair.theirs, true)).await?;
        self.lend(embassy, pair);
        Ok(())
    }

    // ---- stream management -----------------------------------------------------------------------------------------

    async fn manage(
        &mut self,
        connection: &mut Connection,
        embassy: &Arc<Embassy>,
        name: &str,
        element: &Element,
    ) -> Result<(), Over> {
        let pair = self.ours.clone().zip(self.proved.by_certificate.clone());
        let pair = pair.filter(|_| !self.bidi).map(|(ours, theirs)| Pair { ours, theirs });
        let settings = &embassy.settings;
        let time = settings.resume_time.get().min(Duration::from_secs(86_400));
        let words = match (name, pair, self.managed.as_ref()) {
            ("r", _, Some(managed)) => management::answer(managed.handled()),
            ("enable", Some(pair), None) => {
                self.managed = embassy.memory.begin(&pair, settings.resumable_streams.get());
                match &self.managed {
                    Some(managed) => management::enabled(&managed.id, time),
                    None => management::failed("resource-constraint"),
                }
            }
            ("resume", Some(pair), None) => {
                let id = element.attribute("previd").unwrap_or_default();
                self.managed = embassy.memory.resume(&id, &pair, time).await;
                match &self.managed {
                    Some(managed) => management::resumed(&managed.id, managed.handled()),
                    None => management::failed("item-not-found"),
                }
            }
            ("enable" | "resume", _, _) => management::failed("unexpected-request"),
            // We send nothing here that could be acknowledged.
            _ => return Ok(()),
        };
        connection.send(&words).await
    }

    /// The stream is over: what it had is given back.
    fn leave(&mut self, broken: bool) {
        if let (Some(managed), Some(embassy)) = (&self.managed, &self.embassy) {
            embassy.memory.end(managed, broken);
        }
        for link in std::mem::take(&mut self.links) {
            if let (Some(wake), Some(embassy)) = (link.take_back(), embassy_of(self.house(), &link.pair.ours)) {
                embassy.begin(super::link::Put::Begin(link, wake));
            }
        }
    }
}

impl Drop for Visitor {
    /// Also after a fault of ours nobody waits for this stream, and nothing waits for it.
    fn drop(&mut self) {
        self.leave(true);
    }
}
