//! A push service that runs here: HTTPS on loopback, answers what a test wants, and shows what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request as it came.
pub struct Seen {
    pub version: Version,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).to_str().expect("a text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// An answer.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    retry_after: Option<u32>,
    body: String,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer { status, retry_after: None, body: String::new() }
    }

    pub fn retry_after(mut self, seconds: u32) -> Answer {
        self.retry_after = Some(seconds);
        self
    }

    pub fn body(mut self, body: impl Into<String>) -> Answer {
        self.body = body.into();
        self
    }
}

/// A service; it ends with its test.
pub struct Service {
    pub address: SocketAddr,
    /// Its certificate, which is its own authority.
    pub authority: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: tokio::sync::Mutex<mpsc::Receiver<Seen>>,
}

impl Service {
    /// Speaks these versions of HTTP, by their ALPN names.
    pub async fn start(protocols: &[&str]) -> Service {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let certificate = params.self_signed(&key).expect("a certificate");
        let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a certificate");
        tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let (sender, seen) = mpsc::channel(100);
        let wanted = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender, wanted) = (acceptor.clone(), sender.clone(), wanted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let serve = service_fn(move |request| answer(request, sender.clone(), wanted.clone()));
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Service { address, authority: certificate.pem(), answers, seen: tokio::sync::Mutex::new(seen) }
    }

    /// Its address with a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Answers the next request with this; what comes without is answered 201.
    pub fn will(&self, answer: Answer) -> &Service {
        self.answers.lock().expect("not poisoned").push_back(answer);
        self
    }

    /// The next request.
    pub async fn next(&self) -> Seen {
        let next = async { self.seen.lock().await.recv().await };
        tokio::time::timeout(PATIENCE, next).await.expect("a request comes").expect("the service runs")
    }

    /// Nothing has come that was not looked at.
    pub async fn nothing(&self) {
        if let Ok(seen) = self.seen.lock().await.try_recv() {
            panic!("this has come: {} {:?}", seen.path, seen.body);
        }
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    sender: mpsc::Sender<Seen>,
    wanted: Arc<Mutex<VecDeque<Answer>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let seen = Seen { version: head.version, path: head.uri.path().to_owned(), headers: head.headers, body };
    let _ = sender.send(seen).await;
    let answer = wanted.lock().expect("not poisoned").pop_front().unwrap_or(Answer::status(201));
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    Ok(response)
}
