//! For tests of modules: a house without sockets. Accounts exist by their names, and clients are sheets of paper on which
//! stands what they were sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use waxwing_storage::StorageError;

use crate::address::{FullJid, NodePart, NodeRef};
use crate::config::{Config, KnownModule};
use crate::contracts::{AccountError, Accounts};
use crate::credentials::{Hash, ScramKeys};
use crate::departure::depart;
use crate::house::{AssembleError, House};
use crate::module::Plan;
use crate::session::{Circumstances, Session};
use crate::stanza::element;
use crate::stream_error::StreamError;
use crate::wire::{Framing, Wire};

/// How often and how long something is waited for: ten seconds.
const LOOKS: u32 = 2_000;
const BETWEEN: Duration = Duration::from_millis(5);

/// Accounts that are there or not, as this says of a name. Nobody can log in, and nothing about them changes.
pub struct Inhabitants(pub fn(&str) -> bool);

/// Whoever is asked for has an account.
pub const EVERYONE: Inhabitants = Inhabitants(|_| true);

#[async_trait]
impl Accounts for Inhabitants {
    async fn exists(&self, name: &NodeRef) -> Result<bool, StorageError> {
        Ok(self.0(name.as_str()))
    }
    async fn scram_keys(&self, _: &NodeRef, _: Hash) -> Result<Option<ScramKeys>, StorageError> {
        Ok(None)
    }
    async fn check_password(&self, _: &NodeRef, _: &str) -> Result<bool, StorageError> {
        Ok(false)
    }
    async fn is_disabled(&self, _: &NodeRef) -> Result<bool, StorageError> {
        Ok(false)
    }
    async fn create(&self, _: &NodeRef, _: &str) -> Result<(), AccountError> {
        Err(AccountError::Exists)
    }
    async fn set_password(&self, _: &NodeRef, _: &str) -> Result<(), AccountError> {
        Err(AccountError::NotFound)
    }
    async fn remove(&self, _: &NodeRef) -> Result<(), AccountError> {
        Err(AccountError::NotFound)
    }
    async fn list(&self, _: Option<&NodeRef>, _: u32) -> Result<Vec<NodePart>, StorageError> {
        Ok(Vec::new())
    }
}

/// What the wire of one client has carried. A copy is the same sheet.
#[derive(Clone, Debug, Default)]
pub struct Paper(Arc<Sheet>);

#[derive(Debug, Default)]
struct Sheet {
    lines: Mutex<Lines>,
    flushes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Lines {
    /// What the client has read, each write by itself.
    read: Vec<String>,
    /// What was written while it does not read.
    stuck: Vec<String>,
    is_stuck: bool,
    waker: Option<Waker>,
}

impl Paper {
    /// A wire that writes on it.
    pub fn wire(&self) -> Box<dyn Wire> {
        Box::new(PaperWire(self.clone()))
    }

    /// All that its client has read, in one piece.
    pub fn text(&self) -> String {
        self.0.lines.lock().read.concat()
    }

    /// What its client has read, each write by itself, from this one on.
    pub fn writes_from(&self, number: usize) -> Vec<String> {
        self.0.lines.lock().read.get(number..).map(<[String]>::to_vec).unwrap_or_default()
    }

    /// What was written since its client stopped reading.
    pub fn stuck(&self) -> String {
        self.0.lines.lock().stuck.concat()
    }

    /// How often these words were read.
    pub fn count(&self, words: &str) -> usize {
        self.text().matches(words).count()
    }

    /// What was read so far counts no more.
    pub fn forget(&self) {
        self.0.lines.lock().read.clear();
    }

    /// How often the writer has come to an end and flushed: about the writes to a socket.
    pub fn flushes(&self) -> usize {
        self.0.flushes.load(Ordering::SeqCst)
    }

    /// Its client stops reading: what is written from now on does not leave.
    pub fn stick(&self) {
        self.0.lines.lock().is_stuck = true;
    }

    /// Whether its writer waits for its client to read.
    pub fn keeps_waiting(&self) -> bool {
        self.0.lines.lock().waker.is_some()
    }

    /// Its client reads again.
    pub fn let_go(&self) {
        let mut lines = self.0.lines.lock();
        lines.is_stuck = false;
        let stuck = std::mem::take(&mut lines.stuck);
        lines.read.extend(stuck);
        if let Some(waker) = lines.waker.take() {
            waker.wake();
        }
    }

    /// Waits until these words were read.
    ///
    /// # Panics
    /// When they are not within ten seconds.
    pub async fn wait_for(&self, words: &str) {
        eventually(|| self.text().contains(words), || format!("{words} was not sent, only: {}", self.text())).await;
    }
}

struct PaperWire(Paper);

impl Wire for PaperWire {
    fn framing(&self) -> Framing {
        Framing::Stream
    }
    fn write(&mut self, elements: &[u8]) {
        if elements.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(elements).into_owned();
        let mut lines = self.0.0.lines.lock();
        if lines.is_stuck { lines.stuck.push(text) } else { lines.read.push(text) }
    }
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lines = self.0.0.lines.lock();
        if !lines.stuck.is_empty() {
            lines.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.0.0.flushes.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
    /// The last words stand on the paper as `closed`, with the condition and what the application adds to it.
    fn close(self: Box<Self>, last_words: Option<StreamError>) -> BoxFuture<'static, ()> {
        let words = last_words.map_or_else(String::new, |error| {
            let more = error.application.map(|(name, _)| format!(" {name}")).unwrap_or_default();
            format!(" {}{more}", error.condition.name())
        });
        self.0.0.lines.lock().read.push(format!("closed{words}"));
        std::future::ready(()).boxed()
    }
}

/// Puts a house together from the text of a configuration and these modules.
///
/// # Errors
/// Why it cannot stand.
///
/// # Panics
/// When the text is no configuration of these modules.
pub async fn assemble(text: &str, plans: &[Plan]) -> Result<Arc<House>, AssembleError> {
    let known: Vec<KnownModule> = plans.iter().map(|plan| KnownModule::from(plan.manifest)).collect();
    let config = Config::from_text(text, &known).unwrap_or_else(|errors| panic!("{errors:?}"));
    House::assemble(Arc::new(config), plans).await
}

/// Binds a client with this full JID; what it is sent stands on the paper.
///
/// # Panics
/// When its domain is no host of the house, or it is not let in.
pub async fn bind(house: &House, jid: &str, paper: &Paper) -> Arc<Session> {
    let jid = FullJid::new(jid).unwrap_or_else(|error| panic!("{jid}: {error}"));
    let host = house.host(jid.domain()).unwrap_or_else(|| panic!("{jid} is of no host here"));
    let resource = Some(jid.resource().to_owned());
    let opened =
        host.open_session(&jid.to_bare(), resource, Circumstances::default(), paper.wire(), |_| Bytes::new()).await;
    opened.unwrap_or_else(|refusal| panic!("{jid} is not let in: {refusal}"))
}

/// A client says something on its newest stream.
///
/// # Panics
/// When it is not well-formed, or ends the stream.
pub async fn say(session: &Arc<Session>, xml: &str) {
    let element = element(xml.to_owned()).unwrap_or_else(|error| panic!("{xml}: {error:?}"));
    let departed = depart(session, session.wire_number(), element).await;
    departed.unwrap_or_else(|error| panic!("{xml}: {error:?}"));
}

/// Waits until something is so.
///
/// # Panics
/// When it is not within ten seconds, with what `otherwise` says.
pub async fn eventually(is_so: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    panic!("not within ten seconds: {}", otherwise());
}
