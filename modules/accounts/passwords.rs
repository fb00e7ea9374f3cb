//! Which passwords are taken, and the work of PBKDF2 kept away from tasks that others wait for.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::Read as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use waxwing_core::credentials::{Hash, PasswordError, ScramKeys, prepare_password};
use waxwing_storage::StorageError;

/// A longer password is nobody's: preparing it would only cost time. In bytes.
const LONGEST: usize = 1024;

/// A list of forbidden passwords is never larger than this, in bytes.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

/// Passwords long enough for the usual minimum that every guesser tries first.
const WELL_KNOWN: [&str; 24] = [
    "0123456789",
    "0987654321",
    "1111111111",
    "1234512345",
    "1234567890",
    "12345678910",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "9876543210",
    "abcdefghij",
    "administrator",
    "changemenow",
    "iloveyou123",
    "letmein123",
    "passw0rd123",
    "password01",
    "password12",
    "password123",
    "password1234",
    "qwertyuiop",
    "q1w2e3r4t5",
    "qwerty12345",
    "qwerty123456",
];

/// Passwords nobody may have. Kept as hashes of eight bytes under a key of this process, so that a long list stays small.
pub struct Forbidden {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Forbidden {
    /// The well-known ones, and those of a file with one password a line.
    ///
    /// # Errors
    /// One line that says why the file cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Forbidden, String> {
        let mut list = String::new();
        if let Some(path) = file {
            let cannot = |why: String| format!("cannot read the forbidden passwords in {}: {why}", path.display());
            let opened = std::fs::File::open(path).map_err(|error| cannot(error.to_string()))?;
            let read = opened.take(LARGEST_LIST + 1).read_to_string(&mut list);
            if read.map_err(|error| cannot(error.to_string()))? as u64 > LARGEST_LIST {
                return Err(cannot(format!("it is larger than {LARGEST_LIST} bytes")));
            }
        }
        let hasher = RandomState::new();
        let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
        let hashes = lines.chain(WELL_KNOWN).map(|password| hasher.hash_one(password.to_lowercase())).collect();
        Ok(Forbidden { hasher, hashes })
    }

    fn holds(&self, password: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(password.to_lowercase()))
    }
}

/// Whether an account may have this password. `minimum` is in characters.
///
/// # Errors
/// Which rule it breaks, for a person.
pub fn check(password: &str, name: &str, host: &str, minimum: usize, forbidden: &Forbidden) -> Result<(), String> {
    if password.len() > LONGEST {
        return Err(format!("a password has {LONGEST} bytes at most"));
    }
    let prepared = prepare_password(password).map_err(|error| error.to_string())?;
    if prepared.chars().count() < minimum {
        return Err(format!("a password has {minimum} characters at least"));
    }
    if is_hardly_more_than(&prepared.to_lowercase(), name, host, minimum) {
        return Err("the password is hardly more than the name of the account".to_owned());
    }
    if forbidden.holds(&prepared) {
        return Err("the password is among the first that are guessed".to_owned());
    }
    Ok(())
}

/// Whether less than half a password is left when the name and the host are taken out of it.
fn is_hardly_more_than(password: &str, name: &str, host: &str, minimum: usize) -> bool {
    // In a name of one or two letters there is nothing to be found again.
    let is_name = password == name
        || name.chars().count() > 2 && {
            let rest = password.replace(host, "").replace(name, "");
            rest.len() < password.len() && rest.chars().count() * 2 < minimum
        };
    is_name || password.strip_suffix(host).and_then(|rest| rest.strip_suffix('@')) == Some(name)
}

/// Does the work of PBKDF2, as many pieces at a time as there are processors; the others wait.
#[derive(Clone)]
pub struct Workshop(Arc<Semaphore>);

impl Workshop {
    /// A workshop with a place for each processor.
    pub fn new() -> Workshop {
        let places = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Workshop(Arc::new(Semaphore::new(places)))
    }

    /// The keys of a new password, one set for each hash.
    ///
    /// # Errors
    /// [`StorageError::Other`] when the work could not be done; inside, why the password has no keys.
    pub async fn keys(
        &self,
        password: &str,
        iterations: NonZeroU32,
    ) -> Result<Result<[ScramKeys; 3], PasswordError>, StorageError> {
        let password = password.to_owned();
        self.work(move || {
            let [first, second, third] = Hash::ALL.map(|hash| ScramKeys::new(&password, iterations, hash));
            Ok([first?, second?, third?])
        })
        .await
    }

    /// Whether a password is the one the keys were made from.
    ///
    /// # Errors
    /// [`StorageError::Other`] when the work could not be done.
    pub async fn verify(&self, keys: ScramKeys, password: &str) -> Result<bool, StorageError> {
        let password = password.to_owned();
        self.work(move || keys.verifies(&password)).await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, StorageError> {
        // Nobody closes the semaphore; without a place the work is done all the same.
        let _place = self.0.acquire().await.ok();
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| StorageError::Other(format!("keys could not be derived: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn judged(password: &str) -> Result<(), String> {
        check(password, "juliet.capulet", "verona.lit", 10, &Forbidden::load(None).unwrap())
    }

    #[test]
    fn a_password_is_measured_in_characters() {
        assert!(judged("ῥόδον ἄλλο").is_ok(), "ten characters, more bytes");
        assert!(judged("nine char").unwrap_err().contains("10 characters"));
        assert!(judged(&"x".repeat(1025)).unwrap_err().contains("bytes"));
        assert!(judged("tab\tinside it").is_err(), "SASLprep forbids control characters");
        assert!(judged("").is_err());
    }

    #[test]
    fn names_and_well_known_passwords_are_refused() {
        for password in ["Juliet.Capulet", "juliet.capulet@verona.lit", "Password123", "1234567890", "QWERTYUIOP"] {
            assert!(judged(password).is_err(), "{password}");
        }
        for password in ["juliet.capuletjuliet.capulet", "Juliet.Capulet123", "1juliet.capulet@verona.lit!"] {
            assert!(judged(password).unwrap_err().contains("hardly more"), "{password}");
        }
        assert!(judged("juliet.capulet loves").is_ok() && judged("correct horse").is_ok());
        let short_name = |password| check(password, "al", "verona.lit", 10, &Forbidden::load(None).unwrap());
        assert!(short_name("all is well").is_ok() && short_name("al@verona.lit").is_err());
    }

    #[test]
    fn an_operator_may_forbid_more() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all("wherefore art thou\n\n  Correct Horse  \n".as_bytes()).unwrap();
        let forbidden = Forbidden::load(Some(file.path())).unwrap();
        let judged = |password| check(password, "romeo", "verona.lit", 5, &forbidden);
        assert!(judged("correct horse").is_err() && judged("Wherefore Art Thou").is_err());
        assert!(judged("battery staple").is_ok());
        let missing = Forbidden::load(Some(Path::new("no/such/file"))).err().unwrap();
        assert!(missing.contains("no/such/file"), "{missing}");
    }
}
