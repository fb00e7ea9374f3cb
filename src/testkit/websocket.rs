//! A client over WebSocket (RFC 7395): `RawClient` speaks to it as if it were TCP, or a test sends its own frames.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
pub use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame};

use crate::bridge::{Bridge, Ends, Words, close_element, from_frame, open_element};

/// Makes a WebSocket of a connection, with these headers beside the usual ones.
///
/// # Errors
/// What the server has answered instead.
pub async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    host: &str,
    headers: &[(&'static str, &str)],
) -> Result<WebSocketStream<S>, Box<Error>> {
    let mut request = format!("ws://{host}/xmpp-websocket").into_client_request().map_err(Box::new)?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header of a test");
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    let (socket, _) = tokio_tungstenite::client_async(request, socket).await.map_err(Box::new)?;
    Ok(socket)
}

/// A WebSocket in the clear to this address, for XMPP.
///
/// # Panics
/// When it cannot be had.
pub async fn connect(address: SocketAddr, host: &str) -> WebSocketStream<tokio::net::TcpStream> {
    let socket = tokio::net::TcpStream::connect(address).await.expect("the web listens");
    upgrade(socket, host, &[("sec-websocket-protocol", "xmpp")]).await.expect("a WebSocket")
}

/// The client's end of a bridge over this WebSocket.
pub(crate) fn bridge<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(socket: WebSocketStream<S>) -> Bridge {
    let (bridge, ends) = Bridge::new();
    tokio::spawn(carry(socket, ends));
    bridge
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, mut ends: Ends) {
    let mut may_speak = true;
    loop {
        tokio::select! {
            words = ends.said.recv(), if may_speak => {
                let frame = match words.as_deref().map(Words::of) {
                    Some(Words::Open(attributes)) => open_element(&attributes),
                    Some(Words::Close) => close_element(),
                    Some(Words::Other(text)) => text,
                    None => {
                        may_speak = false;
                        // The client hangs up when its end is gone altogether.
                        if ends.heard.is_closed() {
                            return;
                        }
                        continue;
                    }
                };
                let _ = socket.send(Message::text(frame)).await;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let _ = ends.heard.send(Ok(from_frame(&text).into_bytes())).await;
                }
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None => return,
                Some(Err(error)) => {
                    let _ = ends.heard.send(Err(error.to_string())).await;
                    return;
                }
            },
            () = ends.heard.closed() => return,
        }
    }
}
