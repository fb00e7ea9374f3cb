//! HTTP without a library: sends exactly the request a test writes, and reads one answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct HttpAnswer {
    /// The status; 0 when the connection was closed without an answer.
    pub status: u16,
    /// The headers, their names in small letters, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request in the clear to this address and reads the answer: `request(address, "GET / HTTP/1.1", &[("host",
/// "capulet.lit")], "")`. `content-length` is added when there is a body, `host` when it is missing.
///
/// # Panics
/// When nobody listens, or no answer comes.
pub async fn request(address: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    let socket = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("no web at {address}: {error}"));
    request_on(socket, line, headers, body).await
}

/// As [`request`], on a connection of one's own.
pub async fn request_on(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> HttpAnswer {
    let mut text = format!("{line}\r\n");
    let has = |name: &str| headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
    if !has("host") {
        text.push_str("host: capulet.lit\r\n");
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    // A server that refuses early may close before it has read everything; its answer is what counts.
    let _ = socket.write_all(text.as_bytes()).await;
    let is_head = line.starts_with("HEAD ");
    match tokio::time::timeout(PATIENCE, read_answer(&mut socket, is_head)).await {
        Ok(answer) => answer,
        Err(_) => panic!("no answer to {line} within {PATIENCE:?}"),
    }
}

/// Reads one answer; what was closed without one has status 0.
pub async fn read_answer(socket: &mut (impl AsyncRead + Unpin), is_head: bool) -> HttpAnswer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end_of_head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match socket.read(&mut buffer).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => return HttpAnswer { body: bytes, ..HttpAnswer::default() },
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end_of_head]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut answer = HttpAnswer { status, headers, body: bytes.split_off(end_of_head) };
    let length: usize = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while !is_head && status != 101 && answer.body.len() < length {
        match socket.read(&mut buffer).await {
            Ok(length @ 1..) => answer.body.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => break,
        }
    }
    answer
}
