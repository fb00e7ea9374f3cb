//! Signed records that announce a server's certificate (DANE: RFC 6698, RFC 7671, RFC 7673).

use aws_lc_rs::digest::{SHA256, digest};
use tokio::net::{TcpListener, TcpSocket};
use waxwing_testkit::RawClient;

use crate::authority::Signed;
use crate::names::{A, AAAA, SRV, TLSA, Zone, dead_port, srv};
use crate::peer::Peer;
use crate::unreachable::{greet_and_accept, leak, told};
use crate::world::{Setup, World};

const DOMAIN: &str = "verona.test";
const MACHINE: &str = "machine.verona.test";

/// A server, and what the DNS says about it.
struct Place {
    listener: TcpListener,
    zone: Zone,
    _dead: TcpSocket,
}

impl Place {
    /// `announced` is the certificate that a `3 0 1` record is made for.
    async fn new(zone: Zone, announced: &Signed) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (dead_port, _dead) = dead_port();
        let hash = digest(&SHA256, &announced.der());
        let zone = zone
            .with(&format!("_xmpps-server._tcp.{DOMAIN}"), SRV, srv(0, port, MACHINE))
            // A zone that signs denies nothing here, so everything that is asked for is there.
            .with(&format!("_xmpp-server._tcp.{DOMAIN}"), SRV, srv(9, dead_port, MACHINE))
            .with(MACHINE, A, [127, 0, 0, 1])
            .with(MACHINE, AAAA, std::net::Ipv6Addr::LOCALHOST.octets())
            .with(&format!("_{port}._tcp.{MACHINE}"), TLSA, [&[3, 0, 1][..], hash.as_ref()].concat());
        Place { listener, zone, _dead }
    }

    /// Servers that ask this DNS and believe what is signed there; a message is on its way.
    async fn world(self) -> (World, RawClient, TcpListener) {
        let folder = tempfile::tempdir().expect("a folder");
        let anchor = self.zone.write_anchor(folder.path());
        let names = self.zone.serve().await;
        let more = format!(
            "private_addresses = true\nresolvers = [\"{names}\"]\ndnssec = true\ndnssec_anchors = \"{}\"",
            anchor.display()
        );
        let world = World::new(Setup { more: leak(more), ..Setup::default() }).await;
        let juliet = world.capulet.scene().online("juliet/balcony").await;
        (world, juliet, self.listener)
    }
}

/// The message that `told` sends arrives at a server that shows this certificate.
async fn arrives(juliet: &mut RawClient, listener: &TcpListener, shown: &Signed) {
    juliet.send(format!("<message to='x@{DOMAIN}' type='chat' id='m'><body>x</body></message>")).await;
    let mut peer = Peer::accept_tls(listener, shown).await;
    greet_and_accept(&mut peer, DOMAIN, "").await;
    assert!(peer.until("</message>").await.contains("<body>x</body>"));
}

#[tokio::test]
async fn a_server_that_signed_records_announce_needs_no_authority() {
    let own = Signed::by_itself("elsewhere.test");
    let (_world, mut juliet, listener) = Place::new(Zone::signed(), &own).await.world().await;
    arrives(&mut juliet, &listener, &own).await;
}

#[tokio::test]
async fn s12_a_server_that_signed_records_do_not_announce_is_refused_whoever_signs_for_it() {
    let (world, mut juliet, listener) = Place::new(Zone::signed(), &Signed::by_itself(DOMAIN)).await.world().await;
    let shown = world.authority.sign(DOMAIN);
    let (peer, (condition, _)) = tokio::join!(Peer::accept_tls(&listener, &shown), told(&mut juliet, DOMAIN));
    assert_eq!((condition.as_str(), peer.all.as_str()), ("remote-server-timeout", ""));
}

#[tokio::test]
async fn s12_where_a_signature_is_wrong_there_is_no_server() {
    let name = format!("_xmpps-server._tcp.{DOMAIN}");
    let zone = Zone::signed().with_spoilt(&name).with_spoilt(&name.replace("xmpps", "xmpp"));
    let (_world, mut juliet, listener) = Place::new(zone, &Signed::by_itself(DOMAIN)).await.world().await;
    let (condition, _) = told(&mut juliet, DOMAIN).await;
    assert_eq!(condition, "remote-server-timeout");
    // Nobody has knocked.
    assert!(tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await.is_err());
}

#[tokio::test]
async fn what_is_not_signed_announces_nothing() {
    let zone = Zone::signed().with_unsigned(DOMAIN);
    let (world, mut juliet, listener) = Place::new(zone, &Signed::by_itself(DOMAIN)).await.world().await;
    let shown = world.authority.sign(DOMAIN);
    arrives(&mut juliet, &listener, &shown).await;
}
