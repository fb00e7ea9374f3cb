//! The web: listeners for HTTP, and what streams serve there themselves.

mod answering;
mod bosh;
mod connection;
mod health;
mod host_meta;
mod proxies;
mod standalone;
pub(crate) mod stream;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::timeout;
use waxwing_core::http::Route;

use self::connection::timed;
use crate::client;
use crate::connection::Connection;
use crate::federation;
use crate::listeners::{Service, Shared};
use crate::tls::Transport;

/// What streams serve on every host.
pub(crate) fn routes(shared: &Arc<Shared>) -> Vec<Route> {
    let config = shared.house.config();
    let mut routes: Vec<Route> = host_meta::routes(shared).into();
    if config.http.websocket {
        routes.push(websocket::route(shared));
    }
    if config.http.bosh {
        routes.push(bosh::route(shared));
    }
    routes
}

/// Serves one connection to a listener of the web until it is over.
pub(crate) async fn serve(shared: Arc<Shared>, mut socket: TcpStream, peer: SocketAddr, service: Service) {
    if service == Service::Health {
        return health::serve(shared, socket).await;
    }
    let config = shared.house.config();
    let patience = timed(config.limits.unauthenticated_timeout);
    let mut client = peer;
    if config.http.proxy_protocol.contain(peer.ip()) {
        client = match timeout(patience, proxies::read_header(&mut socket, peer)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return tracing::warn!(%peer, %error, "listener.proxy_protocol"),
            Err(_) => return,
        };
    }
    // A listed proxy is everybody: its clients are counted one by one, when they come to stay.
    let admission = match config.http.trusted_proxies.contain(client.ip()) {
        true => None,
        false => match shared.gate.enter(client.ip(), &config.limits, Instant::now()) {
            Ok(admission) => Some(admission),
            Err(reason) => return shared.turned_away(client.ip(), reason),
        },
    };
    if service == Service::AllTls {
        // Between servers it may be quiet for hours.
        federation::keep_alive(&socket);
    }
    let Ok(transport) = Transport::plain(socket) else { return };
    let mut transport = transport.for_client(client);
    let tls = match service {
        Service::WebTls => Some(&shared.web_tls),
        Service::AllTls => Some(&shared.all_tls),
        _ => None,
    };
    if let Some(tls) = tls {
        let host = shared.house.hosts().first().map(|host| host.domain().clone());
        let name = host.as_ref().map(|host| host.as_str());
        transport = match timeout(patience, transport.start_tls(tls, name)).await {
            Ok(Ok(transport)) => transport,
            Ok(Err(error)) => return tracing::debug!(%error, "http.tls_failed"),
            Err(_) => return,
        };
    }
    let mut left = BytesMut::new();
    let protocol = match transport.info().and_then(|info| info.alpn).as_deref() {
        Some(b"xmpp-client") => Protocol::Client,
        Some(b"xmpp-server") => Protocol::Server,
        Some(b"h2") => Protocol::Http2,
        None if service == Service::AllTls => match timeout(patience, transport.read(&mut left)).await {
            Ok(Ok(1..)) if left[0] == b'<' => Protocol::Client,
            Ok(Ok(1..)) => Protocol::Http1,
            _ => return,
        },
        _ => Protocol::Http1,
    };
    let limits = config.limits.clone();
    drop(config);
    match (protocol, admission) {
        (Protocol::Client, Some(admission)) => {
            let connection = Connection::new(transport, &limits, shared.stopping.clone()).after(left);
            client::begin(shared, connection, true, admission).await;
        }
        (Protocol::Server, Some(admission)) => {
            federation::serve_shaken(shared.reception.clone(), transport, admission).await;
        }
        // A proxy for the web does not speak XMPP.
        (Protocol::Client | Protocol::Server, None) => {}
        // In a box: a connection that becomes a WebSocket leaves all of this behind.
        (protocol, admission) => {
            let is_http2 = protocol == Protocol::Http2;
            Box::pin(connection::serve(shared, transport, left, is_http2, admission)).await;
        }
    }
}

/// What is spoken: what was agreed on in TLS (ALPN), else what its first byte says. A stream begins with `<`, a
/// request with a letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Client,
    Server,
    Http1,
    Http2,
}
