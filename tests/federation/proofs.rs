//! Who may speak for a domain: certificates, dialback, and those who lie (security rows S12 and S13).

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use tokio::net::TcpListener;

use crate::authority::{Authority, Signed};
use crate::common;
use crate::peer::{EXTERNAL, Peer, START_TLS, answering_header, stream_error};
use crate::world::{federating, trust};
use waxwing_testkit::TestServer;

/// `capulet.lit` alone, and an authority it believes.
struct Alone {
    server: std::sync::Arc<TestServer>,
    authority: Authority,
    _certificates: tempfile::TempDir,
}

async fn alone(addresses: &[String], more: &str) -> Alone {
    let authority = Authority::new();
    let certificates = tempfile::tempdir().expect("a folder");
    authority.sign("capulet.lit").write(certificates.path(), "capulet.lit");
    let text = federating(&authority.file(), certificates.path(), addresses, more);
    let server = TestServer::start(common::options().hosts(&["capulet.lit"]).toml(text)).await;
    trust(&server, certificates.path(), &authority);
    Alone { server, authority, _certificates: certificates }
}

impl Alone {
    async fn visit(&self, shown: Option<&Signed>) -> Peer {
        Peer::connect_tls(self.server.addresses().s2s_tls[0], shown).await
    }
}

fn named(authority: &Authority, names: &[&str]) -> Signed {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    authority.sign_with(|params| {
        params.subject_alt_names = CertificateParams::new(names).expect("proper names").subject_alt_names;
    })
}

#[tokio::test]
async fn s12_external_is_offered_to_a_good_certificate_only() {
    let world = alone(&[], "").await;
    let expired = world.authority.sign_expired("montague.lit");
    let common_name =
        world.authority.sign_with(|params| params.distinguished_name.push(DnType::CommonName, "montague.lit"));
    for (what, shown) in [
        ("nothing", None),
        ("expired", Some(expired)),
        ("self-signed", Some(Signed::by_itself("montague.lit"))),
        ("another authority", Some(Authority::new().sign("montague.lit"))),
        ("common name", Some(common_name)),
        ("wildcard over two labels", Some(named(&world.authority, &["*.lit"]))),
        ("longer name", Some(named(&world.authority, &["evil-montague.lit"]))),
    ] {
        let mut peer = world.visit(shown.as_ref()).await;
        let from = if what.starts_with("wildcard") { "a.montague.lit" } else { "montague.lit" };
        let offered = peer.greet(from, "capulet.lit").await;
        assert!(!offered.contains("EXTERNAL") && !offered.contains("dialback'>"), "{what}: {offered}");
        assert_eq!(stream_error(&peer.rest().await), "policy-violation", "{what}");
    }
}

#[tokio::test]
async fn s12_a_certificate_for_servers_or_for_clients_is_accepted() {
    let world = alone(&[], "").await;
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let shown = world.authority.sign_with(|params| {
            params.subject_alt_names =
                CertificateParams::new(["montague.lit".to_owned()]).expect("a name").subject_alt_names;
            params.extended_key_usages = vec![usage];
        });
        let mut peer = world.visit(Some(&shown)).await;
        peer.log_in("montague.lit", "capulet.lit").await;
        peer.send("<iq type='get' id='p' from='montague.lit' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>")
            .await;
        peer.send("</stream:stream>").await;
        assert!(!peer.rest().await.contains("stream:error"));
    }
}

#[tokio::test]
async fn s12_external_for_another_domain_fails() {
    let world = alone(&[], "").await;
    let mut peer = world.visit(Some(&world.authority.sign("montague.lit"))).await;
    peer.greet("montague.lit", "capulet.lit").await;
    // "good.test" in base64
    peer.send(EXTERNAL.replace(">=<", ">Z29vZC50ZXN0<")).await;
    assert!(peer.until("</failure>").await.contains("invalid-authzid"));
    // Also where the header has named nobody.
    let mut peer = world.visit(Some(&world.authority.sign("montague.lit"))).await;
    peer.greet("", "capulet.lit").await;
    peer.send(EXTERNAL.replace(">=<", ">Z29vZC50ZXN0<")).await;
    assert!(peer.until("</failure>").await.contains("not-authorized"));
    peer.send("<iq type='get' id='p' from='montague.lit' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert_eq!(stream_error(&peer.rest().await), "not-authorized");
}

#[tokio::test]
async fn s13_in_the_clear_there_is_nothing_but_starttls() {
    let world = alone(&[], "").await;
    let mut peer = Peer::connect(world.server.addresses().s2s[0]).await;
    let offered = peer.greet("montague.lit", "capulet.lit").await;
    assert!(offered.contains("<required/>") && !offered.contains("features:dialback"), "{offered}");
    peer.send("<db:result from='montague.lit' to='capulet.lit'>key</db:result>").await;
    assert_eq!(stream_error(&peer.rest().await), "policy-violation");
    // And bytes behind <starttls/> end the connection without a word (S9).
    let mut peer = Peer::connect(world.server.addresses().s2s[0]).await;
    peer.greet("montague.lit", "capulet.lit").await;
    peer.send(format!("{START_TLS}<db:result from='montague.lit' to='capulet.lit'>key</db:result>")).await;
    assert_eq!(peer.rest().await, "");
}

const IQ: &str = "<iq type='get' id='p' from='montague.lit' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>";

#[tokio::test]
async fn s13_words_that_nobody_asked_for_prove_nothing() {
    let world = alone(&[], "dialback_without_certificate = [\"montague.lit\"]").await;
    let mut peer = world.visit(None).await;
    peer.greet("montague.lit", "capulet.lit").await;
    peer.send("<db:result from='montague.lit' to='capulet.lit' type='valid'/>").await;
    peer.send("<db:verify from='montague.lit' to='capulet.lit' id='1' type='valid'/>").await;
    peer.send(IQ).await;
    assert_eq!(stream_error(&peer.rest().await), "not-authorized");
}

/// Plays the authoritative server of `montague.lit`: answers one question about a key, and says no more.
async fn answer_one(listener: &TcpListener, shown: &Signed, answer: impl Fn(&str) -> String) {
    answer_for(listener, shown, "montague.lit", answer).await;
}

/// The same for any domain.
async fn answer_for(listener: &TcpListener, shown: &Signed, domain: &str, answer: impl Fn(&str) -> String) {
    let mut peer = Peer::accept_tls(listener, shown).await;
    peer.until("<stream:stream").await;
    peer.until(">").await;
    peer.send(answering_header(domain, "capulet.lit", "x")).await;
    peer.send("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>").await;
    let asked = peer.until("</db:verify>").await;
    let id = asked.split("id='").nth(1).and_then(|rest| rest.split('\'').next()).expect("an id").to_owned();
    peer.send(answer(&id)).await;
}

#[tokio::test]
async fn s13_an_answer_about_something_else_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("montague.lit=tls://{}", listener.local_addr().expect("bound"));
    let world = alone(&[address], "dialback_without_certificate = [\"montague.lit\"]").await;
    let shown = Signed::by_itself("montague.lit");
    // For another stream, from another domain, to another domain: none of them counts; the true one does.
    for (wrong, right) in [
        ("<db:verify from='montague.lit' to='capulet.lit' id='other' type='valid'/>", false),
        ("<db:verify from='verona.lit' to='capulet.lit' id='ID' type='valid'/>", false),
        ("<db:verify from='montague.lit' to='verona.lit' id='ID' type='valid'/>", false),
        ("<db:result from='montague.lit' to='capulet.lit' type='valid'/>", false),
        ("<db:verify from='montague.lit' to='capulet.lit' id='ID' type='invalid'/>", false),
        ("<db:verify from='montague.lit' to='capulet.lit' id='ID' type='valid'/>", true),
    ] {
        let mut peer = world.visit(None).await;
        peer.greet("montague.lit", "capulet.lit").await;
        peer.send("<db:result from='montague.lit' to='capulet.lit'>some key</db:result>").await;
        let answered = async {
            answer_one(&listener, &shown, |id| wrong.replace("ID", id)).await;
        };
        let (heard, ()) = tokio::join!(async { peer.until("<db:result").await + &peer.until(">").await }, answered);
        assert_eq!(heard.contains("type='valid'"), right, "{wrong}: {heard}");
        peer.send(IQ).await;
        if right {
            peer.send("</stream:stream>").await;
            assert!(!peer.rest().await.contains("stream:error"));
        } else {
            let rest = peer.until("</stream:stream>").await;
            assert_eq!(stream_error(&rest), "not-authorized", "{wrong}");
        }
    }
}

#[tokio::test]
async fn s13_who_answers_must_show_a_certificate_unless_he_is_an_exception() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("montague.lit=tls://{}", listener.local_addr().expect("bound"));
    let world = alone(&[address], "dialback = [\"montague.lit\"]").await;
    let valid = |id: &str| format!("<db:verify from='montague.lit' to='capulet.lit' id='{id}' type='valid'/>");
    // A good certificate of the server that answers makes good what the one that asks has not shown.
    let good = world.authority.sign("montague.lit");
    let mut peer = world.visit(None).await;
    peer.greet("montague.lit", "capulet.lit").await;
    peer.send("<db:result from='montague.lit' to='capulet.lit'>some key</db:result>").await;
    let (heard, ()) = tokio::join!(peer.until("/>"), answer_one(&listener, &good, valid));
    assert!(heard.contains("type='valid'"), "{heard}");
    // Without one nothing is even asked.
    let mut peer = world.visit(None).await;
    peer.greet("montague.lit", "capulet.lit").await;
    peer.send("<db:result from='montague.lit' to='capulet.lit'>some key</db:result>").await;
    let bad = Signed::by_itself("montague.lit");
    let playing = async {
        let mut asked = Peer::accept_tls(&listener, &bad).await;
        asked.until("<stream:stream").await;
        asked.send(answering_header("montague.lit", "capulet.lit", "x")).await;
        asked.send("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>").await;
        asked.rest().await
    };
    let (heard, asked) = tokio::join!(peer.until("</db:result>"), playing);
    assert!(heard.contains("type='error'") && !asked.contains("db:verify"), "{heard} {asked}");
}

#[tokio::test]
async fn s13_a_key_of_ours_is_good_for_its_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("montague.lit=tls://{}", listener.local_addr().expect("bound"));
    let world = alone(&[address], "").await;
    let scene = world.server.scene();
    let mut juliet = scene.online("juliet/balcony").await;
    juliet.send("<message to='romeo@montague.lit' type='chat' id='m'><body>o</body></message>").await;
    // The peer that is written to, and that wants dialback of us.
    let shown = world.authority.sign("montague.lit");
    let mut peer = Peer::accept_tls(&listener, &shown).await;
    peer.until("<stream:stream").await;
    peer.send(answering_header("montague.lit", "capulet.lit", "stream-1")).await;
    peer.send("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>").await;
    peer.until("<db:result from='capulet.lit' to='montague.lit'>").await;
    let key = peer.until("</db:result>").await.replace("</db:result>", "");
    // It asks, as the receiving server does: is this yours?
    // Whatever certificate it shows: the answer says nothing about it.
    let mut asking = world.visit(None).await;
    asking.greet("montague.lit", "capulet.lit").await;
    for (id, key, is_valid) in
        [("stream-1", key.as_str(), true), ("stream-2", key.as_str(), false), ("stream-1", "00", false)]
    {
        asking.send(format!("<db:verify from='montague.lit' to='capulet.lit' id='{id}'>{key}</db:verify>")).await;
        let answer = asking.until("/>").await;
        assert_eq!(answer.contains("type='valid'"), is_valid, "{answer}");
    }
    // Asked by another server it is not: the key is for this pair.
    asking.send(format!("<db:verify from='verona.lit' to='capulet.lit' id='stream-1'>{key}</db:verify>")).await;
    assert!(asking.until("/>").await.contains("type='invalid'"));
    // Once it says that the key was right, the message comes.
    peer.send("<db:result from='montague.lit' to='capulet.lit' type='valid'/>").await;
    assert!(peer.until("</message>").await.contains("<body>o</body>"));
    // And nobody is expected any more.
    let mut late = world.visit(None).await;
    late.greet("montague.lit", "capulet.lit").await;
    assert_eq!(stream_error(&late.rest().await), "policy-violation");
}

/// What is answered to somebody who wants to speak for a domain by dialback.
async fn wish(peer: &mut Peer, from: &str, to: &str) -> String {
    peer.send(format!("<db:result from='{from}' to='{to}'>some key</db:result>")).await;
    let answer = peer.until("<db:result").await + &peer.until(">").await;
    assert!(answer.contains(&format!("from='{to}' to='{from}'")), "{answer}");
    if answer.contains("type='error'") { answer + &peer.until("</db:result>").await } else { answer }
}

#[tokio::test]
async fn s13_only_exceptions_are_called_back() {
    // Nobody calls there: it would hang.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let addresses = ["montague.lit", "verona.lit"].map(|domain| format!("{domain}=tls://{at}"));
    let world = alone(&addresses, "").await;
    let mut peer = world.visit(Some(&world.authority.sign("montague.lit"))).await;
    let offered = peer.greet("montague.lit", "capulet.lit").await;
    assert!(offered.contains("EXTERNAL") && offered.contains("features:dialback"), "{offered}");
    let refused = wish(&mut peer, "verona.lit", "capulet.lit").await;
    assert!(refused.contains("type='error'") && refused.contains("policy-violation"), "{refused}");
    // What its certificate names needs no call (XEP-0344 §2.4), in whatever words it is asked for.
    assert!(wish(&mut peer, "montague.lit", "capulet.lit").await.contains("type='valid'"));
    peer.send(IQ).await;
    peer.send("<iq type='get' id='v' from='verona.lit' to='capulet.lit'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert_eq!(stream_error(&peer.rest().await), "invalid-from");
    // The answer to the first question goes to the address of its server, as everything for it does; nobody else has called.
    let mut called = Peer::accept_tls(&listener, &world.authority.sign("montague.lit")).await;
    let header = called.until("<stream:stream").await + &called.until(">").await;
    assert!(header.contains("to='montague.lit'"), "{header}");
}

/// XEP-0220 §2.6, over SASL EXTERNAL and by certificate: several of theirs and several of ours on one stream.
#[tokio::test]
async fn one_stream_carries_several_domains_of_both_sides() {
    let world = alone(&[], "").await;
    let mut juliet = world.server.scene().online("juliet/balcony").await;
    let to = juliet.jid().to_owned();
    let mut peer = world.visit(Some(&world.authority.sign("montague.lit"))).await;
    peer.log_in("montague.lit", "capulet.lit").await;
    for (from, ours) in [
        ("rooms.montague.lit", "capulet.lit"),
        ("rooms.montague.lit", "conference.capulet.lit"),
        ("montague.lit", "conference.capulet.lit"),
    ] {
        assert!(wish(&mut peer, from, ours).await.contains("type='valid'"), "{from} to {ours}");
    }
    for from in ["romeo@montague.lit", "hall@rooms.montague.lit"] {
        peer.send(format!("<message from='{from}' to='{to}' type='chat' id='m'><body>x</body></message>")).await;
        juliet
            .expect(format!("<message from='{from}' to='{to}' type='chat' id='m'><body>x</body>{{…}}</message>"))
            .await;
    }
    // A domain that is neither on the certificate nor an exception stays outside, and so does one of ours that is none.
    let refused = wish(&mut peer, "rooms.verona.lit", "capulet.lit").await;
    assert!(refused.contains("policy-violation"), "{refused}");
    peer.send("<message from='x@rooms.montague.lit' to='conference.capulet.lit' id='c'><body>x</body></message>").await;
    peer.send("<message from='x@rooms.verona.lit' to='capulet.lit' id='f'><body>x</body></message>").await;
    assert_eq!(stream_error(&peer.rest().await), "invalid-from");
}

/// The same where each domain is an exception that is called back.
#[tokio::test]
async fn one_stream_carries_several_domains_that_are_called_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    let addresses = ["montague.lit", "verona.lit"].map(|domain| format!("{domain}=tls://{at}"));
    let world = alone(&addresses, "dialback_without_certificate = [\"montague.lit\", \"verona.lit\"]").await;
    let mut juliet = world.server.scene().online("juliet/balcony").await;
    let to = juliet.jid().to_owned();
    let mut peer = world.visit(None).await;
    peer.greet("montague.lit", "capulet.lit").await;
    for domain in ["montague.lit", "verona.lit"] {
        let valid = |id: &str| format!("<db:verify from='{domain}' to='capulet.lit' id='{id}' type='valid'/>");
        let shown = Signed::by_itself(domain);
        let (answer, ()) =
            tokio::join!(wish(&mut peer, domain, "capulet.lit"), answer_for(&listener, &shown, domain, valid));
        assert!(answer.contains("type='valid'"), "{answer}");
    }
    for from in ["romeo@montague.lit", "paris@verona.lit"] {
        peer.send(format!("<message from='{from}' to='{to}' type='chat' id='m'><body>x</body></message>")).await;
        juliet
            .expect(format!("<message from='{from}' to='{to}' type='chat' id='m'><body>x</body>{{…}}</message>"))
            .await;
    }
}
