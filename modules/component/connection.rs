//! One connection of a component from its first byte to its last (XEP-0114 §3), and the listener that waits for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waxwing_core::address;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::random;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Element, Scanner, Token};

use crate::Components;
use crate::desk::{Desk, Work};
use crate::stream;

/// Accepting waits so long after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a component may take to read what is written to it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets components in until the house is shut down.
pub async fn accept(components: Arc<Components>, address: SocketAddr, socket: TcpListener) {
    let stopped = components.context.house().stopped();
    let most = components.settings.strangers.clamp(1, Semaphore::MAX_PERMITS);
    let strangers = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stopped.cancelled() => return,
        };
        match accepted {
            Ok((peer, _)) => {
                let Ok(stranger) = strangers.clone().try_acquire_owned() else { continue };
                let serving = serve(components.clone(), peer, stranger, stopped.clone());
                components.context.house().tasks().spawn(serving);
            }
            Err(error) => {
                tracing::warn!(%address, %error, "component.accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What ends a connection.
enum Over {
    /// The stream ends with this error.
    Error(StreamError),
    /// The component has closed it.
    Closed,
    /// It is gone.
    Gone,
}

impl From<StreamError> for Over {
    fn from(error: StreamError) -> Over {
        Over::Error(error)
    }
}

/// The reading half of a connection.
struct Reader {
    socket: OwnedReadHalf,
    scanner: Scanner,
    input: BytesMut,
}

impl Reader {
    async fn next(&mut self) -> Result<Token, Over> {
        loop {
            let step = self.scanner.next(&self.input).map_err(|error| stream::error_for(&error))?;
            self.input.advance(step.consumed);
            if let Some(token) = step.token {
                return Ok(token);
            }
            match self.socket.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Err(Over::Gone),
                Ok(_) => {}
            }
        }
    }
}

async fn write(socket: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), Over> {
    match timeout(PATIENCE, socket.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Over::Gone),
    }
}

/// Says the last words.
async fn end(mut socket: OwnedWriteHalf, over: Over, is_greeted: bool) {
    let error = match over {
        Over::Gone => return,
        Over::Closed => None,
        Over::Error(error) => Some(error),
    };
    let mut words = if is_greeted { Vec::new() } else { stream::header("", &random::token()) };
    words.extend_from_slice(&stream::closing(error.as_ref()));
    if write(&mut socket, &words).await.is_ok() {
        let _ = timeout(PATIENCE, socket.shutdown()).await;
    }
}

async fn serve<T>(components: Arc<Components>, socket: TcpStream, stranger: T, stopped: CancellationToken) {
    let limits = components.context.config().limits.clone();
    let _ = socket.set_nodelay(true);
    let (reading, mut writing) = socket.into_split();
    let scanner = Scanner::new(stream::bounds(&limits, false));
    let mut reader = Reader { socket: reading, scanner, input: BytesMut::new() };
    let mut is_greeted = false;
    let greeting = timeout(
        components.settings.handshake_timeout.get(),
        shake_hands(&components, &mut reader, &mut writing, &mut is_greeted),
    );
    let desk = tokio::select! {
        greeting = greeting => greeting.unwrap_or_else(|_| Err(StreamError::from(StreamCondition::ConnectionTimeout).into())),
        () = stopped.cancelled() => Err(StreamError::from(StreamCondition::SystemShutdown).into()),
    };
    drop(stranger);
    let desk = match desk {
        Ok(desk) => desk,
        Err(over) => return end(writing, over, is_greeted).await,
    };
    reader.scanner.set_limits(stream::bounds(&limits, true));
    let number = desk.sit_down();
    tracing::info!(component = %desk.domain, "component.connected");
    components.greet(&desk);
    let over = {
        let reading = read(&components, &desk, &mut reader);
        let writing = carry(&desk, number, &mut writing);
        tokio::select! {
            over = reading => over,
            over = writing => over,
            () = stopped.cancelled() => Over::Error(StreamCondition::SystemShutdown.into()),
        }
    };
    let unwritten = desk.stand_up(number);
    tracing::info!(component = %desk.domain, "component.gone");
    end(writing, over, true).await;
    for parcel in unwritten.into_iter().flatten() {
        let refusal = Refusal::remote_server_timeout().saying("the component has gone");
        components.turn_back(&parcel, &refusal).await;
    }
}

/// Header, header, handshake, handshake.
async fn shake_hands(
    components: &Components,
    reader: &mut Reader,
    socket: &mut OwnedWriteHalf,
    is_greeted: &mut bool,
) -> Result<Arc<Desk>, Over> {
    let Token::Header(header) = reader.next().await? else {
        return Err(StreamError::from(StreamCondition::BadFormat).into());
    };
    let name = stream::wanted_name(&header)?;
    let Some(desk) = address::read_domain(&name).ok().and_then(|domain| components.desk(&domain).cloned()) else {
        let text = "no component of this name is configured here";
        return Err(StreamError::saying(StreamCondition::HostUnknown, text).into());
    };
    let id = random::token();
    write(socket, &stream::header(desk.domain.as_str(), &id)).await?;
    *is_greeted = true;
    match reader.next().await? {
        Token::Element(element) if stream::is_proof(&element, &id, desk.settings.secret.expose()) => {}
        Token::Close => return Err(Over::Closed),
        _ => {
            tracing::warn!(component = %desk.domain, "component.wrong_secret");
            return Err(StreamError::saying(StreamCondition::NotAuthorized, "the handshake is wrong").into());
        }
    }
    write(socket, b"<handshake/>").await?;
    Ok(desk)
}

/// Writes what lies on the desk.
async fn carry(desk: &Desk, number: u64, socket: &mut OwnedWriteHalf) -> Over {
    let mut bytes = Vec::new();
    loop {
        let news = desk.news();
        tokio::pin!(news);
        // From here on nothing is missed.
        news.as_mut().enable();
        match desk.work(number) {
            Work::Write(parcels) => {
                bytes.clear();
                for parcel in parcels {
                    parcel.stanza.write(&mut bytes, None);
                }
                if let Err(over) = write(socket, &bytes).await {
                    return over;
                }
            }
            Work::Wait => {
                bytes = Vec::new();
                news.await;
            }
            Work::Leave => {
                let text = "another connection of this component has taken its place";
                return Over::Error(StreamError::saying(StreamCondition::Conflict, text));
            }
        }
    }
}

/// Reads what the component says.
async fn read(components: &Components, desk: &Arc<Desk>, reader: &mut Reader) -> Over {
    loop {
        let done = match reader.next().await {
            Ok(Token::Element(element)) => take(components, desk, element).await,
            Ok(Token::Close) => Err(Over::Closed),
            Ok(Token::Header(_)) => Err(StreamError::from(StreamCondition::BadFormat).into()),
            Err(over) => Err(over),
        };
        if let Err(over) = done {
            return over;
        }
    }
}

/// One stanza of a component.
async fn take(components: &Components, desk: &Arc<Desk>, element: Element) -> Result<(), Over> {
    let origin = Origin::Component(desk.domain.clone());
    match Stanza::read(element) {
        None => Err(StreamError::from(StreamCondition::UnsupportedStanzaType).into()),
        Some(Ok(stanza)) => {
            let (Some(from), Some(_)) = (&stanza.from, &stanza.to) else {
                let text = "a component's stanzas have `from` and `to`";
                return Err(StreamError::saying(StreamCondition::ImproperAddressing, text).into());
            };
            if from.domain() != &*desk.domain {
                let text = format!("`from` is not of {}", desk.domain);
                return Err(StreamError::saying(StreamCondition::InvalidFrom, text).into());
            }
            components.hear(desk, Parcel::new(stanza, origin)).await;
            Ok(())
        }
        Some(Err(malformed)) => {
            components.turn_back(&Parcel::new(malformed.stanza, origin), &malformed.refusal).await;
            Ok(())
        }
    }
}
