//! A bounded set of connections, most recently used first, that notices broken ones and never keeps a caller waiting
//! without end.
//!
//! Not sqlx's own pool, for three reasons: that one pings at every release (a second round trip for each statement),
//! retries a refused connection until the caller's time is up instead of failing fast, and waits without a limit for a
//! cancelled statement on a silent connection, so that a stalled server takes its places one by one.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};

use crate::breaker::{Admission, Breaker};
use crate::lease::Lease;
use crate::{Row, StorageError, Value};

/// A connection that is silent for this long when greeted is gone.
const GREETING: Duration = Duration::from_secs(1);

/// How long a connection that was lost may resist its end before others go on without knowing it.
const RESISTANCE: Duration = Duration::from_secs(30);

/// Between two looks whether it has come to its end.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How long closing waits for what is under way.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the pool needs to know of an engine.
pub(crate) trait Driver: Send + Sync + 'static {
    type Connection: Send + 'static;

    /// What begins a transaction that may write.
    const BEGIN: &'static str;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>> + Send;

    /// Whether the other side is still there.
    fn greet(connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Runs one statement with its values to its very end.
    fn run(
        connection: &mut Self::Connection,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Runs any number of statements without values.
    fn script(connection: &mut Self::Connection, sql: &'static str)
    -> impl Future<Output = Result<(), Failure>> + Send;

    fn close(connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// What tells this connection from all others at the server; none where there is no server that could go on with a
    /// statement when we have lost the connection.
    fn far_end(_connection: &Self::Connection) -> Option<FarEnd> {
        None
    }

    /// Tells the server to end connections that were lost; how many are still there.
    fn end(
        _connection: &mut Self::Connection,
        _lost: &[FarEnd],
    ) -> impl Future<Output = Result<usize, Failure>> + Send {
        std::future::ready(Ok(0))
    }
}

/// A connection as the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FarEnd {
    /// The number of the process that serves it.
    pub(crate) process: i64,
    /// When that began, because numbers are used again.
    pub(crate) began: i64,
}

/// What a statement gave back.
pub(crate) struct Answer {
    pub(crate) affected: u64,
    pub(crate) rows: Vec<Row>,
}

/// Why an engine did not do what it was asked, and what that means for the connection.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: StorageError,
    /// The connection cannot be used again; of an attempt to connect: it is no use to try again right away.
    pub(crate) lost: bool,
    /// It is certain that nothing was executed, and another attempt makes sense.
    pub(crate) untouched: bool,
    /// Nobody knows whether it was executed.
    pub(crate) unknown: bool,
}

impl Failure {
    pub(crate) fn of(error: StorageError) -> Failure {
        Failure { error, lost: false, untouched: false, unknown: false }
    }

    /// What the caller is told of something that writes and takes effect at once.
    pub(crate) fn of_writing(self) -> StorageError {
        match self.error {
            StorageError::Unavailable(text) if self.unknown => StorageError::Uncertain(text),
            error => error,
        }
    }
}

/// How a pool behaves.
pub(crate) struct Habits {
    /// How messages call what is at the other end.
    pub(crate) name: String,
    pub(crate) capacity: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    /// Greet a connection that was idle for this long before trusting it with a statement.
    pub(crate) greet_after: Option<Duration>,
    /// Replace connections of this age.
    pub(crate) longest_life: Option<Duration>,
    /// Close connections beyond the first that were idle for this long.
    pub(crate) longest_idle: Option<Duration>,
    /// The connection *is* the database (SQLite in memory): never give it up.
    pub(crate) irreplaceable: bool,
}

pub(crate) struct Pool<D: Driver>(Arc<Inner<D>>);

pub(crate) struct Inner<D: Driver> {
    driver: D,
    pub(crate) habits: Habits,
    slots: Arc<Semaphore>,
    state: Mutex<State<D>>,
    /// Somebody has waited for an answer in vain for as long as anybody waits, and nothing was answered since.
    given_up: AtomicBool,
}

struct State<D: Driver> {
    /// Used last at the back.
    idle: VecDeque<Idle<D>>,
    breaker: Breaker,
    /// Connections that were last used before this moment are greeted first, however short they were idle.
    doubted: Instant,
    /// Connections on which something may still be under way, and since when somebody tries to end them, if somebody does.
    lost: Vec<(FarEnd, Option<Instant>)>,
    closed: bool,
}

struct Idle<D: Driver> {
    connection: D::Connection,
    born: Instant,
    since: Instant,
}

impl<D: Driver> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Pool(self.0.clone())
    }
}

impl<D: Driver> Pool<D> {
    pub(crate) fn new(driver: D, habits: Habits) -> Pool<D> {
        Pool(Arc::new(Inner {
            slots: Arc::new(Semaphore::new(habits.capacity as usize)),
            driver,
            habits,
            state: Mutex::new(State {
                idle: VecDeque::new(),
                breaker: Breaker::default(),
                doubted: Instant::now(),
                lost: Vec::new(),
                closed: false,
            }),
            given_up: AtomicBool::new(false),
        }))
    }

    /// The latest moment at which a call that begins now returns.
    fn deadline(&self) -> Instant {
        let habits = &self.0.habits;
        Instant::now() + habits.acquire_timeout + habits.statement_timeout
    }

    /// Runs one statement on whichever connection is free.
    ///
    /// A statement whose connection broke is tried once more if it only reads, or if it certainly was not executed.
    pub(crate) async fn run(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        only_reads: bool,
    ) -> Result<Answer, StorageError> {
        let deadline = self.deadline();
        let mut first = true;
        loop {
            let mut lease = self.acquire(deadline).await?;
            match lease.run(sql, values, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if first && (failure.untouched || (failure.lost && only_reads)) => first = false,
                Err(failure) if only_reads => return Err(failure.error),
                Err(failure) => return Err(failure.of_writing()),
            }
        }
    }

    /// Nobody waits any longer for the database, until it answers somebody.
    pub(crate) fn give_up(&self) {
        self.0.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether that is so.
    pub(crate) fn is_given_up(&self) -> bool {
        self.0.given_up.load(Ordering::Relaxed)
    }

    /// Takes a connection and begins a transaction on it. Until that worked nothing was executed, so a broken
    /// connection is replaced once.
    pub(crate) async fn begin(&self) -> Result<Lease<D>, StorageError> {
        let deadline = self.deadline();
        let mut first = true;
        loop {
            let mut lease = self.acquire(deadline).await?;
            match lease.begin(deadline).await {
                Ok(()) => return Ok(lease),
                Err(failure) if first && failure.lost => first = false,
                Err(failure) => return Err(failure.error),
            }
        }
    }

    async fn acquire(&self, deadline: Instant) -> Result<Lease<D>, StorageError> {
        let inner = &self.0;
        let mut trial = inner.admit()?;
        let deadline = deadline.min(Instant::now() + inner.habits.acquire_timeout);
        let permit = match timeout_at(deadline.into(), inner.slots.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_closed)) => return Err(inner.unavailable("is being closed")),
            Err(_elapsed) => {
                let count = inner.habits.capacity;
                return Err(inner.unavailable(&format!("is busy: none of {count} connections became free in time")));
            }
        };
        while let Some((mut idle, doubtful)) = inner.take_idle() {
            if doubtful {
                let patience = GREETING.min(deadline.saturating_duration_since(Instant::now()));
                match timeout(patience, D::greet(&mut idle.connection)).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(_elapsed) => {
                        // The others would be as silent, and cost a second each.
                        inner.forget_idle();
                        break;
                    }
                }
            }
            trial.succeeded();
            let mut lease = Lease::new(inner, permit, idle.connection, idle.born);
            inner.end_lost(&mut lease, deadline).await?;
            return Ok(lease);
        }
        match timeout_at(deadline.into(), inner.driver.connect()).await {
            Ok(Ok(connection)) => {
                trial.succeeded();
                let mut lease = Lease::new(inner, permit, connection, Instant::now());
                inner.end_lost(&mut lease, deadline).await?;
                Ok(lease)
            }
            Ok(Err(failure)) => {
                if failure.lost {
                    trial.failed(&failure.error);
                }
                Err(failure.error)
            }
            Err(_elapsed) => {
                let error = inner.unavailable("does not answer");
                trial.failed(&error);
                Err(error)
            }
        }
    }

    /// Takes no more callers, waits for those that are under way, and closes the connections.
    pub(crate) async fn close(&self) {
        let inner = &self.0;
        let _ = timeout(FAREWELL, inner.slots.acquire_many(inner.habits.capacity)).await;
        inner.slots.close();
        let idle = {
            let mut state = inner.state.lock();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        for idle in idle {
            let _ = timeout(FAREWELL, D::close(idle.connection)).await;
        }
    }
}

impl<D: Driver> Inner<D> {
    pub(crate) fn unavailable(&self, what: &str) -> StorageError {
        StorageError::Unavailable(format!("the database {} {what}", self.habits.name))
    }

    fn admit(&self) -> Result<Trial<'_, D>, StorageError> {
        match self.state.lock().breaker.admit(Instant::now()) {
            Admission::Usual => Ok(Trial { inner: self, open: false }),
            Admission::Trial => Ok(Trial { inner: self, open: true }),
            Admission::Refused => Err(self.unavailable("is away")),
        }
    }

    /// The connection used last, and whether it must be greeted before it is trusted.
    fn take_idle(&self) -> Option<(Idle<D>, bool)> {
        let mut state = self.state.lock();
        let idle = state.idle.pop_back()?;
        let doubtful = self
            .habits
            .greet_after
            .is_some_and(|greet_after| idle.since <= state.doubted || idle.since.elapsed() > greet_after);
        Some((idle, doubtful))
    }

    fn forget_idle(&self) {
        // Dropped outside of the lock.
        let _idle = std::mem::take(&mut self.state.lock().idle);
    }

    /// One connection broke: look at the others before using them.
    pub(crate) fn doubt(&self) {
        self.state.lock().doubted = Instant::now();
    }

    /// Something may be under way on this connection, and we shall not hear of it.
    pub(crate) fn lose(&self, far_end: Option<FarEnd>) {
        if let Some(far_end) = far_end {
            self.state.lock().lost.push((far_end, None));
        }
    }

    /// It has come to rest after all; whether it may be used again. Not when somebody is about to end it: that would hit
    /// whoever uses it next.
    pub(crate) fn find_again(&self, far_end: Option<FarEnd>) -> bool {
        let mut state = self.state.lock();
        let Some(place) = state.lost.iter().position(|(lost, _)| Some(*lost) == far_end) else {
            // Ended, or there is nothing to be ended.
            return far_end.is_none();
        };
        let is_spared = state.lost[place].1.is_none();
        if is_spared {
            state.lost.swap_remove(place);
        }
        is_spared
    }

    /// The database has answered.
    pub(crate) fn answered(&self) {
        if self.given_up.load(Ordering::Relaxed) {
            self.given_up.store(false, Ordering::Relaxed);
        }
    }

    /// Sees to it that whatever was under way on connections that were lost has come to its end, before anything else is
    /// asked. Else a statement that was given up could take effect behind the one that makes it good.
    async fn end_lost(&self, lease: &mut Lease<D>, deadline: Instant) -> Result<(), StorageError> {
        loop {
            let now = Instant::now();
            let lost: Vec<FarEnd> = {
                let mut state = self.state.lock();
                state.lost.retain_mut(|(far_end, tried)| {
                    let resists = now.duration_since(*tried.get_or_insert(now)) > RESISTANCE;
                    if resists {
                        tracing::error!(process = far_end.process, "storage.lost_connection_does_not_end");
                    }
                    !resists
                });
                state.lost.iter().map(|(far_end, _)| *far_end).collect()
            };
            if lost.is_empty() {
                return Ok(());
            }
            if lease.end(&lost, deadline).await.map_err(|failure| failure.error)? == 0 {
                self.state.lock().lost.retain(|(far_end, _)| !lost.contains(far_end));
                return Ok(());
            }
            if now + BETWEEN_LOOKS >= deadline {
                return Err(self.unavailable("has not ended what was given up"));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    pub(crate) fn take_back(&self, connection: D::Connection, born: Instant) {
        let now = Instant::now();
        let too_old = self.habits.longest_life.is_some_and(|life| now.duration_since(born) > life);
        let mut retired = None;
        let mut state = self.state.lock();
        if state.closed || too_old {
            drop(state);
            drop(connection);
            return;
        }
        state.idle.push_back(Idle { connection, born, since: now });
        if let Some(longest_idle) = self.habits.longest_idle
            && state.idle.len() > 1
            && state.idle.front().is_some_and(|idle| now.duration_since(idle.since) > longest_idle)
        {
            retired = state.idle.pop_front();
        }
        drop(state);
        drop(retired);
    }
}

/// An attempt that the breaker let pass; tells it what came of it.
struct Trial<'a, D: Driver> {
    inner: &'a Inner<D>,
    open: bool,
}

impl<D: Driver> Trial<'_, D> {
    fn succeeded(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let away = self.inner.state.lock().breaker.succeeded(Instant::now());
        if let Some(away) = away {
            let seconds = away.as_secs_f32();
            tracing::info!(storage.away_seconds = seconds, "the database {} is back", self.inner.habits.name);
        }
    }

    fn failed(&mut self, error: &StorageError) {
        self.open = false;
        let now = Instant::now();
        let news = {
            let mut state = self.inner.state.lock();
            state.doubted = now;
            state.breaker.failed(now)
        };
        if news {
            tracing::error!("{error}; what must be stored is refused until it is back");
        }
    }
}

impl<D: Driver> Drop for Trial<'_, D> {
    fn drop(&mut self) {
        if self.open {
            self.inner.state.lock().breaker.undecided(Instant::now());
        }
    }
}
