//! The table of registrations, and what is remembered of it: every message asks for those of its recipient.

use std::hash::RandomState;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::stanza::element;
use waxwing_core::xml::Element;
use waxwing_storage::{Database, Engine, Migrations, Row, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("push", "0001_push");

const OF_ACCOUNT: &str = "\
    SELECT id, service, node, resource, options, since, last_call, last_result FROM push_registrations \
    WHERE owner = $1 ORDER BY since DESC, id DESC";
const ENABLE: &str = "\
    INSERT INTO push_registrations (id, owner, service, node, resource, options, since) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (owner, service, node) DO UPDATE \
    SET resource = excluded.resource, options = excluded.options, since = excluded.since RETURNING id";
const CROP: &str = "\
    DELETE FROM push_registrations WHERE owner = $1 AND id NOT IN \
    (SELECT id FROM push_registrations WHERE owner = $1 ORDER BY since DESC, id DESC LIMIT $2)";
const DISABLE_SERVICE: &str = "DELETE FROM push_registrations WHERE owner = $1 AND service = $2";
const DISABLE_NODE: &str = "DELETE FROM push_registrations WHERE owner = $1 AND service = $2 AND node = $3";
const DELETE_ACCOUNT: &str = "DELETE FROM push_registrations WHERE owner = $1";

/// Where one device of an account wants to be called.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its number, the same as long as it is there.
    pub id: i64,
    /// The app server.
    pub service: Jid,
    /// The node there; empty when the client has named none.
    pub node: String,
    /// The resource of the client that has registered.
    pub resource: String,
    /// The form that goes with every publication.
    pub options: Option<Element>,
    /// When it was registered the last time, in milliseconds since 1970.
    pub since: i64,
    /// When it was called the last time, in milliseconds since 1970, as far as that is written.
    pub last_call: Option<i64>,
    /// What came of it.
    pub last_result: Option<String>,
}

/// The registrations of one account, the newest first.
pub type Registrations = Arc<[Registration]>;

/// What came of calling a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The number of the registration.
    pub id: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// In a few words.
    pub result: String,
}

/// The registrations of all accounts.
pub struct Store {
    database: Database,
    known: Cache<BareJid, Registrations, Rows, RandomState>,
    /// Most accounts have none.
    none: Registrations,
}

/// An account weighs what it has registered.
#[derive(Clone)]
struct Rows;

impl Weighter<BareJid, Registrations> for Rows {
    fn weight(&self, _: &BareJid, registrations: &Registrations) -> u64 {
        1 + 4 * registrations.len() as u64
    }
}

impl Store {
    /// The table in this database. Remembers about so many accounts.
    pub fn new(database: Database, remembered: usize) -> Store {
        let remembered = remembered.clamp(1, 1 << 24);
        let known = Cache::with(remembered, remembered as u64, Rows, RandomState::new(), Default::default());
        Store { database, known, none: Arc::from([]) }
    }

    /// The registrations of an account, if they are remembered.
    pub fn remembered(&self, owner: &BareJid) -> Option<Registrations> {
        self.known.get(owner)
    }

    /// The registrations of an account.
    ///
    /// # Errors
    /// When they are not remembered and the database does not answer.
    pub async fn of_account(&self, owner: &BareJid) -> Result<Registrations, StorageError> {
        // What is forgotten while it is read is not remembered: it may be old.
        let read = async {
            let registrations = self.read(owner).await?;
            Ok(if registrations.is_empty() { self.none.clone() } else { registrations.into() })
        };
        self.known.get_or_insert_async(owner, read).await
    }

    /// As [`Store::of_account`], with the last calls as they are written now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(&self, owner: &BareJid) -> Result<Vec<Registration>, StorageError> {
        let rows = self.database.fetch_all(OF_ACCOUNT, values![owner.as_str()]).await?;
        // What cannot be read any more calls nobody; the account may still delete it as a whole.
        Ok(rows.iter().map(registration).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Registers a device, in the place of an older registration for the same node. When the account has more than `most`
    /// then, the oldest go. Gives back the number it has.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn enable(&self, owner: &BareJid, new: &Registration, most: usize) -> Result<i64, StorageError> {
        let (service, options) = (new.service.as_str(), new.options.as_ref().map(|form| form.as_bytes().to_vec()));
        let values = values![new.id, owner.as_str(), service, &new.node, &new.resource, options, new.since];
        let written = async {
            let mut transaction = self.database.begin().await?;
            let row = transaction.fetch_optional(ENABLE, values).await?;
            let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
            transaction.execute(CROP, values![owner.as_str(), most]).await?;
            transaction.commit().await?;
            row.map_or(Ok(new.id), |row| row.integer(0))
        };
        let written = written.await;
        // Even when it failed: perhaps it was done.
        self.known.remove(owner);
        written
    }

    /// Forgets the devices that have registered with a service, or the one of this node there.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn disable(&self, owner: &BareJid, service: &Jid, node: Option<&str>) -> Result<(), StorageError> {
        let written = match node {
            Some(node) => self.database.execute(DISABLE_NODE, values![owner.as_str(), service.as_str(), node]).await,
            None => self.database.execute(DISABLE_SERVICE, values![owner.as_str(), service.as_str()]).await,
        };
        self.known.remove(owner);
        written.map(drop)
    }

    /// Forgets devices by the numbers of their registrations.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn delete(&self, owner: &BareJid, ids: &[i64]) -> Result<(), StorageError> {
        let delete = match self.database.engine() {
            Engine::Sqlite => {
                "DELETE FROM push_registrations WHERE owner = $1 AND id IN (SELECT value FROM json_each($2))"
            }
            Engine::Postgres => "DELETE FROM push_registrations WHERE owner = $1 AND id = ANY($2)",
        };
        let written = self.database.execute(delete, values![owner.as_str(), ids]).await;
        self.known.remove(owner);
        written.map(drop)
    }

    /// Forgets all devices of an account.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn delete_account(&self, owner: &BareJid) -> Result<(), StorageError> {
        let written = self.database.execute(DELETE_ACCOUNT, values![owner.as_str()]).await;
        self.known.remove(owner);
        written.map(drop)
    }

    /// Writes down what came of calls; each registration at most once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note(&self, calls: &[Called]) -> Result<(), StorageError> {
        if calls.is_empty() {
            return Ok(());
        }
        let note = match self.database.engine() {
            Engine::Sqlite => {
                "UPDATE push_registrations SET last_call = given.at, last_result = given.result FROM \
                 (SELECT ids.value AS id, times.value AS at, results.value AS result FROM json_each($1) AS ids \
                  JOIN json_each($2) AS times ON times.key = ids.key \
                  JOIN json_each($3) AS results ON results.key = ids.key) AS given \
                 WHERE push_registrations.id = given.id"
            }
            Engine::Postgres => {
                "UPDATE push_registrations SET last_call = given.at, last_result = given.result \
                 FROM UNNEST($1::bigint[], $2::bigint[], $3::text[]) AS given (id, at, result) \
                 WHERE push_registrations.id = given.id"
            }
        };
        let ids: Vec<i64> = calls.iter().map(|call| call.id).collect();
        let times: Vec<i64> = calls.iter().map(|call| call.at).collect();
        let results: Vec<&str> = calls.iter().map(|call| call.result.as_str()).collect();
        self.database.execute(note, values![&ids, &times, &results]).await.map(drop)
    }
}

fn registration(row: &Row) -> Result<Option<Registration>, StorageError> {
    let Ok(service) = Jid::new(&row.text(1)?) else { return Ok(None) };
    let options = row.optional_bytes(4)?.map(element).transpose();
    let Ok(options) = options else { return Ok(None) };
    Ok(Some(Registration {
        id: row.integer(0)?,
        service,
        node: row.text(2)?,
        resource: row.text(3)?,
        options,
        since: row.integer(5)?,
        last_call: row.optional_integer(6)?,
        last_result: row.optional_text(7)?,
    }))
}

#[cfg(test)]
mod tests {
    use waxwing_storage::on_both_engines;

    use super::*;

    fn owner(name: &str) -> BareJid {
        BareJid::new(&format!("{name}@capulet.lit")).unwrap()
    }

    fn new(id: i64, service: &str, node: &str) -> Registration {
        let form =
            format!("<x xmlns='jabber:x:data' type='submit'><field var='secret'><value>{id}</value></field></x>");
        Registration {
            id,
            service: Jid::new(service).unwrap(),
            node: node.to_owned(),
            resource: format!("phone{id}"),
            options: (id % 2 == 1).then(|| element(form).unwrap()),
            since: 1_000 + id,
            last_call: None,
            last_result: None,
        }
    }

    async fn nodes(store: &Store, name: &str) -> Vec<String> {
        let registrations = store.of_account(&owner(name)).await.unwrap();
        registrations.iter().map(|registration| format!("{}#{}", registration.service, registration.node)).collect()
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn devices_are_registered_for_each_account(database: Database) {
            let store = Store::new(database.clone(), 100);
            let (juliet, nurse) = (owner("juliet"), owner("nurse"));
            assert!(nodes(&store, "juliet").await.is_empty());
            assert_eq!(store.enable(&juliet, &new(1, "app.lit", "a"), 10).await.unwrap(), 1);
            assert_eq!(store.enable(&juliet, &new(2, "app.lit", "b"), 10).await.unwrap(), 2);
            assert_eq!(store.enable(&juliet, &new(3, "other.lit/x", ""), 10).await.unwrap(), 3);
            store.enable(&nurse, &new(4, "app.lit", "a"), 10).await.unwrap();
            assert_eq!(nodes(&store, "juliet").await, ["other.lit/x#", "app.lit#b", "app.lit#a"]);
            // Registered again: the number stays, the rest is new.
            assert_eq!(store.enable(&juliet, &new(5, "app.lit", "b"), 10).await.unwrap(), 2);
            let known = store.of_account(&juliet).await.unwrap();
            assert_eq!((known[0].id, known[0].resource.as_str(), known[0].since), (2, "phone5", 1_005));
            assert!(known[0].options.as_ref().unwrap().children().count() == 1 && known.len() == 3);
            store.disable(&juliet, &Jid::new("app.lit").unwrap(), Some("b")).await.unwrap();
            assert_eq!(nodes(&store, "juliet").await, ["other.lit/x#", "app.lit#a"]);
            store.disable(&juliet, &Jid::new("app.lit").unwrap(), None).await.unwrap();
            store.delete(&nurse, &[3]).await.unwrap();
            assert_eq!(nodes(&store, "juliet").await, ["other.lit/x#"], "only the owner deletes");
            store.delete(&juliet, &[3, 77]).await.unwrap();
            assert!(nodes(&store, "juliet").await.is_empty());
            assert_eq!(nodes(&Store::new(database, 100), "nurse").await, ["app.lit#a"]);
            store.delete_account(&nurse).await.unwrap();
            assert!(nodes(&store, "nurse").await.is_empty());
        }

        async fn the_oldest_make_room(database: Database) {
            let store = Store::new(database, 100);
            for id in 1..=5 {
                store.enable(&owner("juliet"), &new(id, "app.lit", &id.to_string()), 3).await.unwrap();
            }
            store.enable(&owner("nurse"), &new(9, "app.lit", "9"), 3).await.unwrap();
            assert_eq!(nodes(&store, "juliet").await, ["app.lit#5", "app.lit#4", "app.lit#3"]);
        }

        async fn what_came_of_calls_is_written_for_many_at_once(database: Database) {
            let store = Store::new(database, 100);
            for id in 1..=3 {
                store.enable(&owner("juliet"), &new(id, "app.lit", &id.to_string()), 10).await.unwrap();
            }
            let called = |id, result: &str| Called { id, at: 2_000 + id, result: result.to_owned() };
            store.note(&[called(1, "ok"), called(3, "gone 'quoted'"), called(77, "nobody")]).await.unwrap();
            store.note(&[]).await.unwrap();
            let read = store.read(&owner("juliet")).await.unwrap();
            let last: Vec<_> = read.iter().map(|one| (one.id, one.last_call, one.last_result.as_deref())).collect();
            assert_eq!(last, [(3, Some(2_003), Some("gone 'quoted'")), (2, None, None), (1, Some(2_001), Some("ok"))]);
        }
    }
}
