//! One connection of the web: HTTP/1.1 or HTTP/2 over our transport, with an end to everything.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use waxwing_core::config::{Period, Web};
use waxwing_core::http::Response;

use super::answering::respond;
use super::stream::HttpStream;
use crate::gate::Admission;
use crate::listeners::Shared;
use crate::tls::Transport;

/// The longest a timer runs; limits that are lifted become this.
const A_LONG_TIME: Duration = Duration::from_secs(86_400 * 365);

/// How long a period lasts for a timer.
pub(crate) fn timed(period: Period) -> Duration {
    period.get().min(A_LONG_TIME)
}

/// What is known of a connection, for each of its requests.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) transport: Arc<Transport>,
    /// Its place at the gate; a WebSocket takes it over. None when it comes from a proxy.
    pub(crate) admission: Arc<Mutex<Option<Admission>>>,
    /// How many requests are open.
    open: Arc<AtomicUsize>,
}

/// A request that is being answered.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// HTTP/1.1 within the bounds of the configuration.
pub(crate) fn http1(settings: &Web) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(timed(settings.header_timeout))
        .max_buf_size(settings.header_bytes.get().clamp(8 * 1024, 1024 * 1024))
        .half_close(false);
    builder
}

fn http2(settings: &Web) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(settings.requests_at_once.get()).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(settings.header_bytes.get()).unwrap_or(u32::MAX))
        .keep_alive_interval(timed(settings.header_timeout))
        .keep_alive_timeout(timed(settings.header_timeout));
    builder
}

/// Serves a connection until it is over, or a WebSocket has taken it. `left` was read of it already.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    transport: Transport,
    left: BytesMut,
    is_http2: bool,
    admission: Option<Admission>,
) {
    let config = shared.house.config();
    let transport = Arc::new(transport);
    let stream = HttpStream::new(transport.clone(), left, timed(config.limits.send_timeout));
    let open = Arc::new(AtomicUsize::new(0));
    let facts = Facts { transport, admission: Arc::new(Mutex::new(admission)), open: open.clone() };
    let service = service_fn({
        let shared = shared.clone();
        move |request: http::Request<Incoming>| {
            let (shared, facts) = (shared.clone(), facts.clone());
            facts.open.fetch_add(1, Ordering::AcqRel);
            let open = Open(facts.open.clone());
            async move {
                let response: Response = Box::pin(respond(&shared, facts, request)).await;
                drop(open);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let idle = timed(config.http.header_timeout);
    let close = timed(config.limits.close_timeout);
    if is_http2 {
        let mut connection = pin!(http2(&config.http).serve_connection(stream, service));
        loop {
            tokio::select! {
                ended = connection.as_mut() => return told(ended),
                () = shared.stopping.cancelled() => break,
                // Pings keep the connection alive; whoever asks for nothing has no need of it.
                () = tokio::time::sleep(idle), if open.load(Ordering::Acquire) == 0 => break,
                () = tokio::time::sleep(idle), if open.load(Ordering::Acquire) != 0 => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        end(&shared, connection, close).await;
    } else {
        let mut connection = pin!(http1(&config.http).serve_connection(stream, service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => return told(ended),
            () = shared.stopping.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        end(&shared, connection, close).await;
    }
}

/// Lets what is under way come to its end. When the server stops, that is as long as its sessions take.
async fn end(shared: &Shared, connection: impl Future<Output = Result<(), hyper::Error>>, patience: Duration) {
    let stopped = shared.house.stopped();
    let patience = async {
        stopped.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        ended = connection => told(ended),
        () = patience => {}
    }
}

fn told(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "http.connection");
    }
}
