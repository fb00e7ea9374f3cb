//! Whether the server is well, and its figures, on a listener of their own: `/health/live`, `/health/ready`, `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpStream;
use waxwing_core::http::{Response, answer, full, say, secure};
use waxwing_core::metrics;

use super::connection::{http1, timed};
use super::stream::HttpStream;
use crate::listeners::Shared;
use crate::tls::Transport;

/// Serves one connection of a collector.
pub(crate) async fn serve(shared: Arc<Shared>, socket: TcpStream) {
    let Ok(transport) = Transport::plain(socket) else { return };
    let config = shared.house.config();
    let stream = HttpStream::new(Arc::new(transport), bytes::BytesMut::new(), timed(config.limits.send_timeout));
    let service = service_fn(|request: http::Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let mut response = respond(&shared, request.method(), request.uri().path()).await;
            secure(&mut response, false);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1(&config.http).serve_connection(stream, service);
    tokio::pin!(connection);
    tokio::select! {
        _ = &mut connection => {}
        () = shared.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(timed(config.limits.close_timeout), connection).await;
        }
    }
}

async fn respond(shared: &Shared, method: &Method, path: &str) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return say(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    match path {
        "/health/live" => say(StatusCode::OK, "live\n"),
        "/health/ready" if shared.stopping.is_cancelled() => say(StatusCode::SERVICE_UNAVAILABLE, "the server stops\n"),
        "/health/ready" if shared.house.database().healthy().await => say(StatusCode::OK, "ready\n"),
        "/health/ready" => say(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
        "/metrics" => answer(StatusCode::OK, metrics::MEDIA_TYPE, full(shared.house.metrics().written())),
        _ => say(StatusCode::NOT_FOUND, "not found\n"),
    }
}
