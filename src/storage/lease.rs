//! A connection in use: statements with a time limit, and what becomes of it when its user gives up half way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::error::Elapsed;
use tokio::time::{timeout, timeout_at};

use crate::pool::{Answer, Driver, Failure, FarEnd, Inner};
use crate::{StorageError, Value};

/// A statement slower than this is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// A connection in use. Dropped in the middle of something, it is brought back to rest (or given up) first.
pub(crate) struct Lease<D: Driver> {
    inner: Arc<Inner<D>>,
    connection: Option<D::Connection>,
    permit: Option<OwnedSemaphorePermit>,
    born: Instant,
    /// A statement is under way.
    busy: bool,
    in_transaction: bool,
    lost: bool,
    /// When the statement under way began.
    started: Instant,
    /// How long each statement may take.
    pub(crate) patience: Duration,
}

impl<D: Driver> Lease<D> {
    pub(crate) fn new(
        inner: &Arc<Inner<D>>,
        permit: OwnedSemaphorePermit,
        connection: D::Connection,
        born: Instant,
    ) -> Self {
        Lease {
            inner: inner.clone(),
            connection: Some(connection),
            permit: Some(permit),
            born,
            busy: false,
            in_transaction: false,
            lost: false,
            started: Instant::now(),
            patience: inner.habits.statement_timeout,
        }
    }

    /// Runs one statement. After a failure with `lost` the connection is not used again.
    pub(crate) async fn run(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let deadline = deadline.min(Instant::now() + self.patience);
        let connection = self.connection()?;
        let result = timeout_at(deadline.into(), D::run(connection, sql, values)).await;
        let took = self.started.elapsed();
        if took > SLOW {
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(storage.milliseconds = milliseconds, storage.statement = sql, "a slow statement");
        }
        self.settle(result)
    }

    /// Tells the server to end connections that were lost; how many are still there.
    pub(crate) async fn end(&mut self, lost: &[FarEnd], deadline: Instant) -> Result<usize, Failure> {
        let deadline = deadline.min(Instant::now() + self.patience);
        let connection = self.connection()?;
        let result = timeout_at(deadline.into(), D::end(connection, lost)).await;
        self.settle(result)
    }

    /// Runs several statements without values.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        let connection = self.connection()?;
        let result = timeout_at(deadline.into(), D::script(connection, sql)).await;
        self.settle(result)
    }

    /// Begins a transaction, which [`finish`](Lease::finish) or dropping ends.
    pub(crate) async fn begin(&mut self, deadline: Instant) -> Result<(), Failure> {
        let deadline = deadline.min(Instant::now() + self.patience);
        // Whatever becomes of it, a rollback does no harm.
        self.in_transaction = true;
        let connection = self.connection()?;
        let result = timeout_at(deadline.into(), D::script(connection, D::BEGIN)).await;
        self.settle(result)
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(crate) async fn finish(mut self, sql: &'static str) -> Result<(), StorageError> {
        self.script(sql).await.map_err(Failure::of_writing)?;
        self.in_transaction = false;
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut D::Connection, Failure> {
        self.busy = true;
        self.started = Instant::now();
        match &mut self.connection {
            Some(connection) if !self.lost => Ok(connection),
            _ => Err(Failure::of(self.inner.unavailable("broke the connection"))),
        }
    }

    fn settle<T>(&mut self, result: Result<Result<T, Failure>, Elapsed>) -> Result<T, Failure> {
        match result {
            Ok(Ok(value)) => {
                self.busy = false;
                self.inner.answered();
                Ok(value)
            }
            Ok(Err(failure)) => {
                self.busy = false;
                if failure.lost {
                    self.lose();
                }
                Err(failure)
            }
            Err(_elapsed) => {
                // Still busy. A server would have ended the statement by itself, so it is the connection that is dead,
                // and so may be the others; SQLite is merely slow, and its connection is waited for.
                if self.inner.habits.greet_after.is_some() {
                    self.lose();
                }
                let failure = Failure::of(self.inner.unavailable("did not answer in time"));
                Err(Failure { lost: self.lost, unknown: true, ..failure })
            }
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.inner.doubt();
        self.inner.lose(self.connection.as_ref().and_then(D::far_end));
    }
}

impl<D: Driver> Drop for Lease<D> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.lost {
            return;
        }
        let inner = self.inner.clone();
        let born = self.born;
        if !self.busy && !self.in_transaction {
            inner.take_back(connection, born);
            return;
        }
        // Somebody gave up in the middle. The place stays taken until the connection is at rest.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let permit = self.permit.take();
        let in_transaction = self.in_transaction;
        // A statement that takes effect by itself may be under way, or a commit: nobody is to ask for anything before its
        // end. A transaction that nobody ends takes no effect.
        let far_end = if self.busy { D::far_end(&connection) } else { None };
        inner.lose(far_end);
        runtime.spawn(async move {
            let rest = async {
                if in_transaction {
                    D::script(&mut connection, "ROLLBACK").await.is_ok()
                } else {
                    D::greet(&mut connection).await
                }
            };
            let rested = if inner.habits.irreplaceable {
                rest.await;
                true
            } else {
                timeout(inner.habits.statement_timeout, rest).await.unwrap_or(false)
            };
            if rested && inner.find_again(far_end) {
                inner.take_back(connection, born);
            }
            drop(permit);
        });
    }
}
