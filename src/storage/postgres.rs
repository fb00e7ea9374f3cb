//! PostgreSQL: how to connect, what to check, what its errors mean.

use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgSeverity, PgTypeInfo};
use sqlx::{Arguments, ConnectOptions, Connection, Either, Executor, Type};

use crate::pool::{Answer, Driver, Failure, FarEnd, Habits, Pool};
use crate::row::Inner;
use crate::{Kind, Row, Settings, StorageError, Value, values};

const DEFAULT_CONNECTIONS: u32 = 10;

/// Connections idle for longer are greeted before a statement is trusted to them.
const GREET_AFTER: Duration = Duration::from_secs(1);

/// A backend grows with what it has prepared and planned, so connections do not live for ever.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

const LONGEST_IDLE: Duration = Duration::from_secs(600);

/// More than all modules together have statements, so that none is prepared twice on a connection.
const PREPARED_STATEMENTS: usize = 500;

/// Open connections to PostgreSQL.
#[derive(Clone)]
pub struct Postgres {
    pub(crate) pool: Pool<PostgresDriver>,
}

pub(crate) struct PostgresDriver {
    options: PgConnectOptions,
    name: String,
    user: String,
    database: String,
}

const CHECK: &str = "\
    SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('server_encoding'), \
    current_setting('server_version_num')::BIGINT, pg_is_in_recovery()";

/// Who serves this connection.
const WHO: &str = "\
    SELECT pid::BIGINT, (extract(epoch FROM backend_start) * 1000000)::BIGINT FROM pg_stat_activity \
    WHERE pid = pg_backend_pid()";

/// Ends those who serve connections that were lost, and tells how many there were.
const END: &str = "\
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity JOIN UNNEST($1::BIGINT[], $2::BIGINT[]) AS \
    lost (process, began) ON process = pid AND began = (extract(epoch FROM backend_start) * 1000000)::BIGINT";

/// A connection, and who serves it.
pub(crate) struct Link {
    connection: PgConnection,
    far_end: Option<FarEnd>,
}

impl Postgres {
    pub(crate) async fn open(settings: &Settings) -> Result<Postgres, StorageError> {
        let name = settings.redacted_url();
        let options = PgConnectOptions::from_str(&settings.url).map_err(|error| {
            StorageError::Other(format!("{name:?} is not a URL PostgreSQL can be reached by: {error}"))
        })?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("waxwing"),
        };
        // The server gives up a little earlier than we do, so that it is the one who says so. A server that hears
        // nothing of us for a minute lets go of our locks.
        let statement_timeout = (settings.statement_timeout * 9 / 10).as_millis().max(1).to_string();
        let options = options
            .options([
                ("statement_timeout", statement_timeout.as_str()),
                ("idle_in_transaction_session_timeout", "30000"),
                ("tcp_keepalives_idle", "30"),
                ("tcp_keepalives_interval", "10"),
                ("tcp_keepalives_count", "3"),
            ])
            .statement_cache_capacity(PREPARED_STATEMENTS)
            .disable_statement_logging();
        let driver = PostgresDriver {
            user: options.get_username().to_owned(),
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
            options,
            name: name.clone(),
        };
        let habits = Habits {
            name: name.clone(),
            capacity: settings.connections.unwrap_or(DEFAULT_CONNECTIONS).max(1),
            acquire_timeout: settings.acquire_timeout,
            statement_timeout: settings.statement_timeout,
            greet_after: Some(GREET_AFTER),
            longest_life: Some(LONGEST_LIFE),
            longest_idle: Some(LONGEST_IDLE),
            irreplaceable: false,
        };
        let postgres = Postgres { pool: Pool::new(driver, habits) };
        postgres.check(&name).await?;
        Ok(postgres)
    }

    /// Looks for settings of the server that would break our promises.
    async fn check(&self, name: &str) -> Result<(), StorageError> {
        let answer = self.pool.run(CHECK, &[], true).await?;
        let Some(row) = answer.rows.first() else {
            return Err(StorageError::Other(format!("the database {name} does not say who it is")));
        };
        let encoding = row.text(2)?;
        if encoding != "UTF8" {
            return Err(StorageError::Other(format!(
                "the database {name} keeps text as {encoding}; make it again with: createdb --encoding=UTF8 \
                 --template=template0"
            )));
        }
        if row.integer(4)? != 0 {
            return Err(StorageError::Other(format!(
                "the database {name} is a read-only replica; name the primary in [storage] url"
            )));
        }
        let version = row.integer(3)?;
        if version < 130_000 {
            tracing::warn!("the database {name} is PostgreSQL {}; 13 or later is wanted", version / 10_000);
        }
        if row.text(0)? == "off" {
            tracing::warn!(
                "synchronous_commit is off at the database {name}: messages that were acknowledged can be lost when it \
                 crashes"
            );
        }
        if row.text(1)? == "off" {
            tracing::warn!(
                "fsync is off at the database {name}: everything can be lost when its machine crashes; fit for tests only"
            );
        }
        Ok(())
    }
}

impl Driver for PostgresDriver {
    type Connection = Link;

    const BEGIN: &'static str = "BEGIN";

    async fn connect(&self) -> Result<Link, Failure> {
        let connection = PgConnection::connect_with(&self.options).await.map_err(|error| self.explain(error))?;
        let mut link = Link { connection, far_end: None };
        let who = Self::run(&mut link, WHO, &[]).await?;
        if let Some(row) = who.rows.first() {
            let number = |column| row.integer(column).map_err(Failure::of);
            link.far_end = Some(FarEnd { process: number(0)?, began: number(1)? });
        }
        Ok(link)
    }

    async fn greet(link: &mut Link) -> bool {
        link.connection.ping().await.is_ok()
    }

    async fn run(link: &mut Link, sql: &'static str, values: &[Value<'_>]) -> Result<Answer, Failure> {
        let (arguments, keep_prepared) = arguments(values).map_err(Failure::of)?;
        let query = sqlx::query_with(sql, arguments).persistent(keep_prepared);
        let mut answer = Answer { affected: 0, rows: Vec::new() };
        let mut results = link.connection.fetch_many(query);
        while let Some(result) = results.try_next().await.map_err(failure)? {
            match result {
                Either::Left(done) => answer.affected += done.rows_affected(),
                Either::Right(row) => answer.rows.push(Row(Inner::Postgres(row))),
            }
        }
        Ok(answer)
    }

    async fn script(link: &mut Link, sql: &'static str) -> Result<(), Failure> {
        link.connection.execute(sqlx::raw_sql(sql)).await.map(|_| ()).map_err(failure)
    }

    async fn close(link: Link) {
        // The other side notices anyway.
        let _ = link.connection.close().await;
    }

    fn far_end(link: &Link) -> Option<FarEnd> {
        link.far_end
    }

    async fn end(link: &mut Link, lost: &[FarEnd]) -> Result<usize, Failure> {
        let processes: Vec<i64> = lost.iter().map(|far_end| far_end.process).collect();
        let beginnings: Vec<i64> = lost.iter().map(|far_end| far_end.began).collect();
        let answer = Self::run(link, END, values![&processes, &beginnings]).await?;
        let left = answer.rows.first().map_or(Ok(0), |row| row.integer(0)).map_err(Failure::of)?;
        Ok(usize::try_from(left).unwrap_or_default())
    }
}

impl PostgresDriver {
    /// Why connecting failed, in one line with what to do.
    fn explain(&self, error: sqlx::Error) -> Failure {
        let PostgresDriver { name, user, database, .. } = self;
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        let reason = match &error {
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "nothing listens there; is PostgreSQL running, and are host and port of [storage] url right?".to_owned()
            }
            sqlx::Error::Io(error) => format!("{error}; are host and port of [storage] url right?"),
            sqlx::Error::Tls(error) => format!("{error}; see sslmode and sslrootcert in [storage] url"),
            sqlx::Error::Database(error) => match code.as_str() {
                "28P01" | "28000" => format!("{}; are user and password of [storage] url right?", error.message()),
                "3D000" => format!("{}; make it with: createdb --owner={user} {database}", error.message()),
                _ => error.message().to_owned(),
            },
            error => error.to_string(),
        };
        Failure {
            // With all its places taken the server is well, and one of our own connections will be free soon.
            lost: code != "53300",
            untouched: true,
            unknown: false,
            error: StorageError::Unavailable(format!("cannot reach the database {name}: {reason}")),
        }
    }
}

/// A NULL whose type PostgreSQL finds out from where it stands.
struct Untyped;

impl Type<sqlx::Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(0))
    }
}

impl sqlx::Encode<'_, sqlx::Postgres> for Untyped {
    fn encode_by_ref(
        &self,
        _buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}

/// The values as PostgreSQL takes them, and whether the statement may be kept prepared. It may not with an untyped
/// NULL: the types of the first call hold for all later ones, and what the server found out need not be what they bring.
fn arguments(values: &[Value<'_>]) -> Result<(PgArguments, bool), StorageError> {
    let mut arguments = PgArguments::default();
    let mut keep_prepared = true;
    for value in values {
        value.check()?;
        match value {
            Value::Null => {
                keep_prepared = false;
                arguments.add(Untyped)
            }
            Value::Missing(Kind::Integer) => arguments.add(None::<i64>),
            Value::Missing(Kind::Text) => arguments.add(None::<&str>),
            Value::Missing(Kind::Bytes) => arguments.add(None::<&[u8]>),
            Value::Integer(number) => arguments.add(number),
            Value::Text(text) => arguments.add(&**text),
            Value::Bytes(bytes) => arguments.add(&**bytes),
            Value::Integers(numbers) => arguments.add(numbers),
            Value::Texts(texts) => arguments.add(texts),
            Value::Blobs(blobs) => arguments.add(blobs),
        }
        .map_err(|error| StorageError::Other(format!("a value cannot be sent to PostgreSQL: {error}")))?;
    }
    Ok((arguments, keep_prepared))
}

/// What an error of PostgreSQL means. The classes are those of appendix A of its manual.
fn failure(error: sqlx::Error) -> Failure {
    let sqlx::Error::Database(error) = error else {
        return other_failure(error);
    };
    let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() else {
        return Failure::of(StorageError::Other(error.to_string()));
    };
    let code = error.code();
    let message = format!("{} (SQLSTATE {code})", error.message());
    let stale_plan = code == "0A000" && error.message().contains("cached plan");
    let fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
    Failure {
        // 25006: a primary that became a replica. 26000: the statement we had prepared is gone.
        lost: fatal || stale_plan || matches!(code, "25006" | "26000"),
        // 40001, 40P01: taken back by the server in favour of another transaction.
        untouched: stale_plan || matches!(code, "25006" | "26000" | "40001" | "40P01"),
        // Whoever says farewell may have executed it before.
        unknown: fatal,
        error: match code {
            "23505" => StorageError::Conflict(message),
            // Query cancelled (by its timeout), lock not available, read-only.
            "57014" | "55P03" | "25006" | "26000" | "40001" | "40P01" | "25P03" => StorageError::Unavailable(message),
            // Connection trouble, no resources (a full disk), intervention of an operator, trouble outside.
            _ if fatal || stale_plan || ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                StorageError::Unavailable(message)
            }
            _ => StorageError::Other(message),
        },
    }
}

fn other_failure(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Failure {
            lost: true,
            untouched: false,
            unknown: true,
            error: StorageError::Unavailable(format!("the connection to the database broke: {error}")),
        },
        error => Failure::of(StorageError::Other(error.to_string())),
    }
}
