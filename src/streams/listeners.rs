//! Listeners: sockets that wait for clients, how fast they let them in, and what all streams share.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use waxwing_core::config::Listen;
use waxwing_core::fault::Fault;
use waxwing_core::house::House;

use crate::bucket::Bucket;
use crate::certificates::Certificates;
use crate::client;
use crate::federation::{self, Reception};
use crate::gate::{Gate, TurnedAway};
use crate::sasl::{Decoy, Mechanism};
use crate::tls::{TlsConfiguration, TlsError, TlsOptions};
use crate::web;

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Clients that begin in the clear (`[listen] c2s`).
    Clients,
    /// Clients that begin with TLS (`[listen] c2s_tls`).
    ClientsTls,
    /// Other servers that begin in the clear (`[listen] s2s`).
    Servers,
    /// Other servers that begin with TLS (`[listen] s2s_tls`).
    ServersTls,
    /// The web in the clear (`[listen] http`).
    Web,
    /// The web over TLS (`[listen] https`).
    WebTls,
    /// Everything that begins with TLS (`[listen] all_tls`).
    AllTls,
    /// Health and figures (`[listen] health`).
    Health,
}

/// Why nothing can listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {error}; is another server running, or is the address not of this machine?")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The secret that all logins need cannot be read.
    #[error("the server's secret cannot be read from the database: {0}")]
    Secret(Fault),
    /// A module serves what streams serve themselves.
    #[error("{0} is served by a module, and streams need it for themselves")]
    Route(String),
}

/// What all streams of a process share.
pub(crate) struct Shared {
    pub(crate) house: Arc<House>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) start_tls: TlsConfiguration,
    pub(crate) direct_tls: TlsConfiguration,
    pub(crate) web_tls: TlsConfiguration,
    pub(crate) all_tls: TlsConfiguration,
    pub(crate) decoy: Arc<Decoy>,
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) reception: Arc<Reception>,
    pub(crate) stopping: CancellationToken,
}

impl Shared {
    /// A connection is not let in.
    pub(crate) fn turned_away(&self, peer: IpAddr, reason: TurnedAway) {
        tracing::debug!(%peer, %reason, "listener.turned_away");
        self.house.metrics().limit_hit(match reason {
            TurnedAway::Banned => "authentication_failures_per_address",
            TurnedAway::TooManyStrangers => "unauthenticated_connections_per_address",
            TurnedAway::TooMany => "connections_per_address",
        });
    }
}

/// The listeners of a running server.
pub struct Listeners {
    addresses: Vec<(Service, SocketAddr)>,
    stopping: CancellationToken,
}

impl Listeners {
    /// Begins to listen on every address of the configuration. Port 0 takes a free one; [`Listeners::addresses`] tells.
    ///
    /// # Errors
    /// The first address that cannot be had; then nothing listens.
    pub async fn open(house: &Arc<House>, certificates: Arc<Certificates>) -> Result<Listeners, ListenError> {
        let config = house.config();
        let options = |alpn: &[&[u8]]| TlsOptions {
            alpn: alpn.iter().map(|name| name.to_vec()).collect(),
            tls13_only: config.tls.tls13_only,
            client_certificates: None,
        };
        let federates = federation::open(house, &certificates);
        let reception = Reception::new(house, &certificates)?;
        let mut all_tls = TlsConfiguration::new(certificates.clone(), options(&[b"xmpp-client", b"h2", b"http/1.1"]))?;
        if federates {
            all_tls = all_tls.or_for(b"xmpp-server", reception.direct_tls.clone());
        }
        let secret = house.secret("login").await.map_err(ListenError::Secret)?;
        let shared = Arc::new(Shared {
            house: house.clone(),
            gate: Arc::default(),
            start_tls: TlsConfiguration::new(certificates.clone(), options(&[]))?,
            direct_tls: TlsConfiguration::new(certificates.clone(), options(&[b"xmpp-client"]))?,
            web_tls: TlsConfiguration::new(certificates, options(&[b"h2", b"http/1.1"]))?,
            all_tls,
            decoy: Arc::new(Decoy::new(&secret, config.auth.scram_iterations)),
            mechanisms: config.auth.mechanisms.iter().filter_map(|name| Mechanism::from_name(name)).collect(),
            reception,
            stopping: CancellationToken::new(),
        });
        for host in house.hosts().iter() {
            for route in web::routes(&shared) {
                let path = route.path.clone();
                if !house.routes().add(host.domain(), route) {
                    return Err(ListenError::Route(path.into_owned()));
                }
            }
        }
        let listen = &config.listen;
        let wanted = [
            (Service::Clients, &listen.c2s),
            (Service::ClientsTls, &listen.c2s_tls),
            (Service::Servers, &listen.s2s),
            (Service::ServersTls, &listen.s2s_tls),
            (Service::Web, &listen.http),
            (Service::WebTls, &listen.https),
            (Service::AllTls, &listen.all_tls),
            (Service::Health, &listen.health),
        ];
        let wanted: Vec<(Service, SocketAddr)> = wanted
            .into_iter()
            // Where no host talks to other servers, none is listened for.
            .filter(|(service, _)| federates || !matches!(service, Service::Servers | Service::ServersTls))
            .flat_map(|(service, addresses)| addresses.iter().map(move |one| (service, *one)))
            .collect();
        let mut opened = Vec::new();
        for (service, address) in wanted {
            match TcpListener::bind(address).await.and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((address, socket)) => opened.push((service, address, socket)),
                // Nobody has asked for these; what is asked for must be there.
                Err(error) if is_nobodys_wish(listen, service) && error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!(%address, "the default address is taken, nothing is served there");
                }
                // A machine without IPv6 has no [::1]; the default names it for all the others.
                Err(error) if address.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => {
                    tracing::warn!(%address, "this machine does not have the address, nothing listens there");
                }
                Err(error) => return Err(ListenError::Address { address, error }),
            }
        }
        let addresses = opened.iter().map(|(service, address, _)| (*service, *address)).collect();
        for (service, address, socket) in opened {
            house.tasks().spawn(accept(shared.clone(), service, address, socket));
        }
        Ok(Listeners { addresses, stopping: shared.stopping.clone() })
    }

    /// What is spoken where.
    pub fn addresses(&self) -> &[(Service, SocketAddr)] {
        &self.addresses
    }

    /// Lets nobody in any more; streams that are not bound yet end with `system-shutdown`.
    pub fn close(&self) {
        self.stopping.cancel();
    }
}

/// Whether a listener stands where it stands because the configuration says nothing.
fn is_nobodys_wish(listen: &Listen, service: Service) -> bool {
    match service {
        Service::Servers => listen.s2s == Listen::default().s2s,
        Service::Web => listen.http == Listen::default().http,
        Service::Health => listen.health == Listen::default().health,
        _ => false,
    }
}

/// Lets clients in, no faster than the limit.
async fn accept(shared: Arc<Shared>, service: Service, address: SocketAddr, socket: TcpListener) {
    let limits = shared.house.config().limits.clone();
    let mut pace = Bucket::for_rate(limits.connections, limits.connections_burst.get(), Instant::now());
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = shared.stopping.cancelled() => return,
        };
        match accepted {
            Ok((client, peer)) => let_in(&shared, service, client, peer),
            Err(error) => {
                // Out of file descriptors, most likely: those who are in stay, and accepting waits (faults row F10).
                tracing::warn!(%address, %error, "listener.accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let wait = pace.take(1.0, Instant::now());
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shared.stopping.cancelled() => return,
            }
        }
    }
}

fn let_in(shared: &Arc<Shared>, service: Service, client: TcpStream, peer: SocketAddr) {
    if matches!(service, Service::Web | Service::WebTls | Service::AllTls | Service::Health) {
        shared.house.tasks().spawn(web::serve(shared.clone(), client, peer, service));
        return;
    }
    let limits = &shared.house.config().limits;
    match shared.gate.enter(peer.ip(), limits, Instant::now()) {
        Ok(admission) => {
            let tasks = shared.house.tasks();
            match service {
                Service::Servers | Service::ServersTls => {
                    let direct_tls = service == Service::ServersTls;
                    tasks.spawn(federation::serve(shared.reception.clone(), client, direct_tls, admission));
                }
                _ => {
                    let direct_tls = service == Service::ClientsTls;
                    tasks.spawn(client::serve(shared.clone(), client, direct_tls, admission));
                }
            }
        }
        Err(reason) => shared.turned_away(peer.ip(), reason),
    }
}
