//! The tables: devices, addresses of applications, and what waits for clients that are away.

use waxwing_core::address::{BareJid, DomainPart, FullJid};
use waxwing_storage::{Database, Migrations, StorageError, migrations, values};

use crate::devices::{Device, Target};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("push_gateway", "0001_push_gateway");

const DEVICE: &str = "SELECT node, secret, owner, device, target FROM push_devices WHERE gateway = $1 AND node = $2";
const DEVICES_OF: &str = "SELECT node, secret, owner, device, target FROM push_devices
    WHERE owner = $1 AND gateway = $2 ORDER BY refreshed, node";
const COUNT_OTHERS: &str = "SELECT count(*) FROM push_devices
    WHERE owner = $1 AND gateway = $2 AND NOT (service = $3 AND device = $4)";
const REGISTER: &str = "INSERT INTO push_devices (gateway, node, secret, owner, service, device, target, refreshed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (owner, gateway, service, device) DO UPDATE SET target = excluded.target, refreshed = excluded.refreshed
    RETURNING node, secret";
const REMOVE_OWN: &str = "DELETE FROM push_devices WHERE gateway = $1 AND node = $2 AND owner = $3";
const REMOVE_TARGET: &str = "DELETE FROM push_devices WHERE gateway = $1 AND node = $2 AND target = $3";
const REMOVE_ALL_OF: &str = "DELETE FROM push_devices WHERE owner = $1";
const REMOVE_OLD: &str = "DELETE FROM push_devices WHERE gateway = $1 AND refreshed < $2";

const ENDPOINT: &str = "SELECT client, application, instance, expires FROM push_endpoints
    WHERE gateway = $1 AND token = $2 AND expires > $3";
const COUNT_OTHER_ENDPOINTS: &str = "SELECT count(*) FROM push_endpoints
    WHERE owner = $1 AND gateway = $2 AND NOT (client = $3 AND application = $4 AND instance = $5)";
const OPEN: &str = "INSERT INTO push_endpoints (gateway, token, owner, client, application, instance, expires)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (owner, gateway, client, application, instance) DO UPDATE SET expires = excluded.expires
    RETURNING token";
const CLOSE: &str = "DELETE FROM push_endpoints WHERE gateway = $1 AND token = $2";
const CLOSE_OWN: &str = "DELETE FROM push_endpoints
    WHERE owner = $1 AND gateway = $2 AND client = $3 AND application = $4 AND instance = $5";
const CLOSE_ALL_OF: &str = "DELETE FROM push_endpoints WHERE owner = $1";
const CLOSE_OLD: &str = "DELETE FROM push_endpoints WHERE gateway = $1 AND expires <= $2";

const FORGET_TOPIC: &str = "DELETE FROM push_waiting WHERE gateway = $1 AND token = $2 AND topic = $3 AND topic <> ''";
const COUNT_WAITING: &str = "SELECT count(*) FROM push_waiting WHERE gateway = $1 AND token = $2 AND expires > $3";
const KEEP: &str =
    "INSERT INTO push_waiting (id, gateway, token, topic, content, expires) VALUES ($1, $2, $3, $4, $5, $6)";
const WAITING: &str = "SELECT w.id, e.application, e.instance, e.token, w.content FROM push_waiting w
    JOIN push_endpoints e ON e.gateway = w.gateway AND e.token = w.token
    WHERE e.owner = $1 AND e.gateway = $2 AND e.client = $3 AND w.expires > $4 ORDER BY w.id LIMIT $5";
const GIVEN: &str = "DELETE FROM push_waiting WHERE id = $1 AND gateway = $2 AND token IN
    (SELECT token FROM push_endpoints WHERE owner = $3 AND gateway = $2 AND client = $4)";
const REVOKE: &str = "DELETE FROM push_endpoints WHERE owner = $3 AND gateway = $2 AND client = $4 AND token IN
    (SELECT token FROM push_waiting WHERE id = $1 AND gateway = $2)";
const FORGET_OLD: &str = "DELETE FROM push_waiting WHERE gateway = $1 AND (expires <= $2
    OR NOT EXISTS (SELECT 1 FROM push_endpoints e WHERE e.gateway = push_waiting.gateway AND e.token = push_waiting.token))";

/// The tables of one gateway.
#[derive(Clone)]
pub struct Store {
    database: Database,
    gateway: String,
}

/// What came of a wish that has a bound.
#[derive(Debug, PartialEq, Eq)]
pub enum Bounded<T> {
    /// It is done.
    Done(T),
    /// There are as many as there may be.
    TooMany,
}

/// Where an application leaves something for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The secret part of its address.
    pub token: String,
    /// The client that gives it to the application.
    pub client: FullJid,
    /// The application, as the client names it.
    pub application: String,
    /// Which of its registrations, as the client names it.
    pub instance: String,
    /// Until when it is good, in milliseconds since 1970.
    pub expires: i64,
}

/// Something for an application whose client was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub id: i64,
    /// The application.
    pub application: String,
    /// Which of its registrations.
    pub instance: String,
    /// For which address it came.
    pub token: String,
    /// What was sent.
    pub content: Vec<u8>,
}

impl Store {
    /// The tables in this database, for the gateway with this domain.
    pub fn new(database: Database, gateway: &DomainPart) -> Store {
        Store { database, gateway: gateway.as_str().to_owned() }
    }

    /// The device of this node.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn device(&self, node: &str) -> Result<Option<Device>, StorageError> {
        let row = self.database.fetch_optional(DEVICE, values![&self.gateway, node]).await?;
        row.map(|row| read_device(&row)).transpose()
    }

    /// The devices of an account, those first that were not renewed for longest.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn devices(&self, owner: &BareJid) -> Result<Vec<Device>, StorageError> {
        let rows = self.database.fetch_all(DEVICES_OF, values![owner.as_str(), &self.gateway]).await?;
        rows.iter().map(read_device).collect()
    }

    /// Registers a device. One of the same name, of the same owner and service, keeps its node and secret. Gives back
    /// node and secret.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn register(
        &self,
        device: &Device,
        now: i64,
        most: usize,
    ) -> Result<Bounded<(String, String)>, StorageError> {
        let service = device.target.service().name();
        let target = write_target(&device.target)?;
        let mut transaction = self.database.begin().await?;
        let known = values![device.owner.as_str(), &self.gateway, service, &device.name];
        let others = transaction.fetch_optional(COUNT_OTHERS, known).await?;
        let others = others.map_or(Ok(0), |row| row.integer(0))?;
        if usize::try_from(others).unwrap_or(usize::MAX) >= most {
            transaction.rollback().await?;
            return Ok(Bounded::TooMany);
        }
        let row = values![
            &self.gateway,
            &device.node,
            &device.secret,
            device.owner.as_str(),
            service,
            &device.name,
            target,
            now
        ];
        let row = transaction.fetch_optional(REGISTER, row).await?;
        let row = row.ok_or_else(|| StorageError::Other("a device was written and is not there".to_owned()))?;
        let kept = (row.text(0)?, row.text(1)?);
        transaction.commit().await?;
        Ok(Bounded::Done(kept))
    }

    /// Removes a device; false when there is none.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn unregister(&self, node: &str, owner: &BareJid) -> Result<bool, StorageError> {
        Ok(self.database.execute(REMOVE_OWN, values![&self.gateway, node, owner.as_str()]).await? > 0)
    }

    /// Removes a device that its service does not know any more, unless it was registered anew since then.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn remove_dead(&self, device: &Device) -> Result<(), StorageError> {
        let target = write_target(&device.target)?;
        self.database.execute(REMOVE_TARGET, values![&self.gateway, &device.node, target]).await?;
        Ok(())
    }

    /// The address of this token, if it is still good.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn endpoint(&self, token: &str, now: i64) -> Result<Option<Endpoint>, StorageError> {
        let Some(row) = self.database.fetch_optional(ENDPOINT, values![&self.gateway, token, now]).await? else {
            return Ok(None);
        };
        let client = row.text(0)?;
        let client = FullJid::new(&client)
            .map_err(|error| StorageError::Corrupt { column: "client".to_owned(), reason: error.to_string() })?;
        Ok(Some(Endpoint {
            token: token.to_owned(),
            client,
            application: row.text(1)?,
            instance: row.text(2)?,
            expires: row.integer(3)?,
        }))
    }

    /// Opens an address, or renews the one that there is for the same client, application and instance. Gives back its
    /// token.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn open(&self, endpoint: &Endpoint, most: usize) -> Result<Bounded<String>, StorageError> {
        let Endpoint { token, client, application, instance, expires } = endpoint;
        let owner = client.to_bare();
        let mut transaction = self.database.begin().await?;
        let known = values![owner.as_str(), &self.gateway, client.as_str(), application, instance];
        let others = transaction.fetch_optional(COUNT_OTHER_ENDPOINTS, known).await?;
        let others = others.map_or(Ok(0), |row| row.integer(0))?;
        if usize::try_from(others).unwrap_or(usize::MAX) >= most {
            transaction.rollback().await?;
            return Ok(Bounded::TooMany);
        }
        let row = values![&self.gateway, token, owner.as_str(), client.as_str(), application, instance, *expires];
        let row = transaction.fetch_optional(OPEN, row).await?;
        let row = row.ok_or_else(|| StorageError::Other("an address was written and is not there".to_owned()))?;
        let token = row.text(0)?;
        transaction.commit().await?;
        Ok(Bounded::Done(token))
    }

    /// Closes an address.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn close(&self, token: &str) -> Result<(), StorageError> {
        self.database.execute(CLOSE, values![&self.gateway, token]).await?;
        Ok(())
    }

    /// Closes the address that a client has for this application and instance; false when there is none.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn close_own(&self, client: &FullJid, application: &str, instance: &str) -> Result<bool, StorageError> {
        let owner = client.to_bare();
        let known = values![owner.as_str(), &self.gateway, client.as_str(), application, instance];
        Ok(self.database.execute(CLOSE_OWN, known).await? > 0)
    }

    /// Keeps something for a client that is away; what waits with the same topic is replaced (RFC 8030 §5.4).
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn keep(
        &self,
        endpoint: &Endpoint,
        id: i64,
        topic: &str,
        content: &[u8],
        (now, expires): (i64, i64),
        most: usize,
    ) -> Result<Bounded<()>, StorageError> {
        let token = &endpoint.token;
        let mut transaction = self.database.begin().await?;
        transaction.execute(FORGET_TOPIC, values![&self.gateway, token, topic]).await?;
        let waiting = transaction.fetch_optional(COUNT_WAITING, values![&self.gateway, token, now]).await?;
        let waiting = waiting.map_or(Ok(0), |row| row.integer(0))?;
        if usize::try_from(waiting).unwrap_or(usize::MAX) >= most {
            transaction.rollback().await?;
            return Ok(Bounded::TooMany);
        }
        transaction.execute(KEEP, values![id, &self.gateway, token, topic, content, expires]).await?;
        transaction.commit().await?;
        Ok(Bounded::Done(()))
    }

    /// What waits for a client, oldest first, at most so many.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn waiting(&self, client: &FullJid, now: i64, most: u32) -> Result<Vec<Waiting>, StorageError> {
        let owner = client.to_bare();
        let wanted = values![owner.as_str(), &self.gateway, client.as_str(), now, most];
        let rows = self.database.fetch_all(WAITING, wanted).await?;
        let read = rows.iter().map(|row| {
            Ok(Waiting {
                id: row.integer(0)?,
                application: row.text(1)?,
                instance: row.text(2)?,
                token: row.text(3)?,
                content: row.bytes(4)?,
            })
        });
        read.collect()
    }

    /// This client has got something that has waited for it; false when it is not known.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn given(&self, id: i64, client: &FullJid) -> Result<bool, StorageError> {
        let owner = client.to_bare();
        let named = values![id, &self.gateway, owner.as_str(), client.as_str()];
        Ok(self.database.execute(GIVEN, named).await? > 0)
    }

    /// This client does not know the application that something waits for: its address is closed.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn revoke(&self, id: i64, client: &FullJid) -> Result<(), StorageError> {
        let owner = client.to_bare();
        self.database.execute(REVOKE, values![id, &self.gateway, owner.as_str(), client.as_str()]).await?;
        Ok(())
    }

    /// Forgets devices that were not renewed since `renewed`, addresses that are over, and what waits no longer.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn forget_old(&self, now: i64, renewed: i64) -> Result<(), StorageError> {
        self.database.execute(REMOVE_OLD, values![&self.gateway, renewed]).await?;
        self.database.execute(CLOSE_OLD, values![&self.gateway, now]).await?;
        self.database.execute(FORGET_OLD, values![&self.gateway, now]).await?;
        Ok(())
    }
}

/// Forgets everything of an account, at whichever gateway. What waits for it goes when old things go.
///
/// # Errors
/// When storage does not answer.
pub async fn forget(database: &Database, owner: &BareJid) -> Result<(), StorageError> {
    database.execute(REMOVE_ALL_OF, values![owner.as_str()]).await?;
    database.execute(CLOSE_ALL_OF, values![owner.as_str()]).await?;
    Ok(())
}

fn write_target(target: &Target) -> Result<String, StorageError> {
    serde_json::to_string(target).map_err(|error| StorageError::Other(format!("a target cannot be written: {error}")))
}

fn read_device(row: &waxwing_storage::Row) -> Result<Device, StorageError> {
    let corrupt = |column: &str, reason: String| StorageError::Corrupt { column: column.to_owned(), reason };
    let owner = row.text(2)?;
    let target = row.text(4)?;
    Ok(Device {
        node: row.text(0)?,
        secret: row.text(1)?,
        owner: BareJid::new(&owner).map_err(|error| corrupt("owner", error.to_string()))?,
        name: row.text(3)?,
        // What serde says could hold the value.
        target: serde_json::from_str(&target).map_err(|_| corrupt("target", "is no target".to_owned()))?,
    })
}
