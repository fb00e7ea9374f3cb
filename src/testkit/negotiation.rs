//! The steps by which a raw client gets in: stream headers, STARTTLS, SASL, resource binding (RFC 6120 §4 to §7).

use std::panic::Location;

use crate::client::{Place, RawClient};
use crate::reader::Item;
use crate::scram::{Scram, attribute, base64, from_base64};
use crate::tls::TlsChoice;
use crate::tree::Element;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// The start tag of a client's stream, as a good client writes it; `attributes` are those besides the namespaces.
pub fn stream_header(attributes: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' {attributes}>"
    )
}

impl RawClient {
    /// Begins a stream with this text in place of a good header, for instance one made by [`stream_header`]. What the
    /// server answers is read as a new stream.
    #[track_caller]
    pub fn begin_stream(&mut self, header: impl AsRef<str>) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            if self.has_stream() {
                self.new_stream(place);
            }
            self.send(header).await;
        }
    }

    /// The server's stream header comes.
    #[track_caller]
    pub fn expect_header(&mut self) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.header_at(place, "a stream header").await }
    }

    pub(crate) async fn header_at(&mut self, place: Place, expected: &str) -> Element {
        match self.item(place, expected).await {
            Item::Header(header) => {
                let name = (header.namespace.as_str(), header.name.as_str());
                if name != ("http://etherx.jabber.org/streams", "stream") {
                    self.fail(place, format!("expected {expected}, found {header}"));
                }
                header
            }
            other => self.fail(place, format!("expected {expected}, found {other:?}")),
        }
    }

    /// Stream features come.
    #[track_caller]
    pub fn expect_features(&mut self) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.features_at(place).await }
    }

    async fn features_at(&mut self, place: Place) -> Element {
        let features = self.element(place, "stream features").await;
        let name = (features.namespace.as_str(), features.name.as_str());
        if name != ("http://etherx.jabber.org/streams", "features") {
            self.fail(place, format!("expected stream features, found {features}"));
        }
        self.features = Some(features.clone());
        features
    }

    /// Begins a stream to this host, or anew after TLS or SASL; gives the features.
    #[track_caller]
    pub fn open_stream(&mut self, to: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.open_at(place, to).await }
    }

    async fn open_at(&mut self, place: Place, to: &str) -> Element {
        if self.has_stream() {
            self.new_stream(place);
        }
        let attributes = format!("to='{to}' version='1.0' {}", self.attributes);
        self.send_bytes(stream_header(&attributes)).await;
        self.header_at(place, "a stream header").await;
        self.features_at(place).await
    }

    /// STARTTLS, and the handshake of a good client.
    #[track_caller]
    pub fn starttls(&mut self) -> impl Future<Output = ()> {
        let place = Location::caller();
        async move {
            if let Err(error) = self.starttls_at(place, &TlsChoice::new()).await {
                self.fail(place, format!("no TLS: {error:#}"));
            }
        }
    }

    /// STARTTLS, and a handshake of one's choice, which may fail.
    ///
    /// # Errors
    /// Why the handshake failed; the connection is gone then.
    #[track_caller]
    pub fn try_starttls(&mut self, choice: TlsChoice) -> impl Future<Output = anyhow::Result<()>> {
        let place = Location::caller();
        async move { self.starttls_at(place, &choice).await }
    }

    async fn starttls_at(&mut self, place: Place, choice: &TlsChoice) -> anyhow::Result<()> {
        self.send_bytes("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        self.expect_at(place, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
        self.new_stream(place);
        self.shake_hands(choice, false).await
    }

    // ---- SASL ------------------------------------------------------------------------------------------------------

    /// The SASL mechanisms the newest features offer.
    pub fn mechanisms(&self) -> Vec<String> {
        let offered = self.features().child_in(SASL, "mechanisms");
        offered.into_iter().flat_map(Element::elements).map(Element::text).collect()
    }

    /// The channel bindings the newest features offer (XEP-0440).
    pub fn channel_bindings(&self) -> Vec<String> {
        let offered = self.features().child_in("urn:xmpp:sasl-cb:0", "sasl-channel-binding");
        let types = offered.into_iter().flat_map(Element::elements);
        types.filter_map(|element| element.attribute("type").map(str::to_owned)).collect()
    }

    /// An attempt with SCRAM-SHA-256, bound to the connection when the server offers it.
    pub fn scram(&self, name: &str, password: &str) -> Scram {
        let plus = "SCRAM-SHA-256-PLUS";
        match &self.tls {
            Some(facts) if self.mechanisms().iter().any(|mechanism| mechanism == plus) => {
                Scram::new(plus, name, password).bound("tls-exporter", &facts.exporter)
            }
            _ => Scram::new("SCRAM-SHA-256", name, password),
        }
    }

    /// Carries out an attempt; gives the `<success/>`, after checking that the server knows the password, too, or the
    /// `<failure/>`.
    #[track_caller]
    pub fn try_scram(&mut self, scram: &Scram) -> impl Future<Output = Result<Element, Element>> {
        let place = Location::caller();
        async move { self.scram_at(place, scram).await }
    }

    async fn scram_at(&mut self, place: Place, scram: &Scram) -> Result<Element, Element> {
        let (mechanism, first) = (&scram.mechanism, base64(scram.first()));
        self.send_bytes(format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>")).await;
        let challenge = self.element(place, "a challenge or a failure").await;
        if (challenge.namespace.as_str(), challenge.name.as_str()) != (SASL, "challenge") {
            return Err(challenge);
        }
        let server_first = from_base64(&challenge.text());
        if let Some(hash) = server_first.split(',').find_map(|attribute| attribute.strip_prefix("h=")) {
            let expected = scram.downgrade_hash(&self.mechanisms(), &self.channel_bindings());
            if hash != expected {
                self.fail(place, format!("XEP-0474: the server hashes another offer: {hash}, not {expected}"));
            }
        }
        let last = scram.last(&server_first);
        self.send_bytes(format!("<response xmlns='{SASL}'>{}</response>", base64(&last.message))).await;
        let outcome = self.element(place, "success or failure").await;
        if (outcome.namespace.as_str(), outcome.name.as_str()) != (SASL, "success") {
            return Err(outcome);
        }
        let proof = from_base64(&outcome.text());
        if format!("v={}", attribute(&proof, "v")) != last.server {
            self.fail(place, format!("the server does not know the password: {proof}"));
        }
        Ok(outcome)
    }

    /// Sends an `<auth/>` with this initial response (as base64; empty for none) and gives the answer.
    #[track_caller]
    pub fn auth(&mut self, mechanism: &str, response: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move {
            self.send_bytes(format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{response}</auth>")).await;
            self.element(place, "the answer to <auth/>").await
        }
    }

    /// The answer must be this failure (RFC 6120 §6.5).
    #[track_caller]
    pub fn expect_sasl_failure(&mut self, condition: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move { self.expect_at(place, &format!("<failure xmlns='{SASL}'><{condition}/>{{…}}</failure>")).await }
    }

    /// Everything up to the features after the login: stream, STARTTLS if the connection is in the clear and TLS is
    /// offered, SCRAM.
    #[track_caller]
    pub fn login(&mut self, name: &str, password: &str) -> impl Future<Output = Element> {
        let place = Location::caller();
        async move {
            let host = self.host.clone();
            if self.features.is_none() {
                self.open_at(place, &host).await;
            }
            let offers_tls = self.features().child_in("urn:ietf:params:xml:ns:xmpp-tls", "starttls").is_some();
            if offers_tls && self.tls.is_none() {
                if let Err(error) = self.starttls_at(place, &TlsChoice::new()).await {
                    self.fail(place, format!("no TLS: {error:#}"));
                }
                self.open_at(place, &host).await;
            }
            let scram = self.scram(name, password);
            if let Err(failure) = self.scram_at(place, &scram).await {
                self.fail(place, format!("{name} cannot log in: {failure}"));
            }
            self.open_at(place, &host).await
        }
    }

    /// Binds a resource, or with an empty name one that the server chooses. Gives the full JID.
    #[track_caller]
    pub fn bind(&mut self, resource: &str) -> impl Future<Output = String> {
        let place = Location::caller();
        async move {
            let wanted = match resource {
                "" => String::new(),
                resource => format!("<resource>{}</resource>", crate::tree::escape(resource)),
            };
            let bind = "urn:ietf:params:xml:ns:xmpp-bind";
            self.send_bytes(format!("<iq type='set' id='kit-bind'><bind xmlns='{bind}'>{wanted}</bind></iq>")).await;
            let template =
                format!("<iq type='result' id='kit-bind' {{…}}><bind xmlns='{bind}'><jid>{{any}}</jid></bind></iq>");
            let result = self.expect_at(place, &template).await;
            self.jid = result.child("bind").and_then(|bind| bind.text_of("jid")).unwrap_or_default();
            self.jid.clone()
        }
    }

    /// Sends initial presence, with this priority unless it is 0, and takes in what comes of it.
    #[track_caller]
    pub fn go_online(&mut self, priority: i8) -> impl Future<Output = Vec<Element>> {
        let place = Location::caller();
        async move {
            match priority {
                0 => self.send_bytes("<presence/>").await,
                other => self.send_bytes(format!("<presence><priority>{other}</priority></presence>")).await,
            }
            self.drain_at(place).await
        }
    }
}
