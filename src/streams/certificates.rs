//! The certificates we show: a folder of PEM files, chosen by name, replaced without dropping anyone
//! (RFC 6120 §13.7.1).

mod certificate;
mod end_point;
mod folder;
pub(crate) mod names;
mod self_signed;
mod set;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use certificate::Certificate;
pub use set::CertificateSet;

/// What is wrong with a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", file.display())]
pub struct Problem {
    /// The file to look at.
    pub file: PathBuf,
    /// What is wrong, and where it helps, what to do.
    pub what: String,
    /// The certificate's file, which may be another than `file`.
    of_file: PathBuf,
}

/// Why the certificates could not be loaded at start: everything that is wrong, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct CertificatesError(pub Vec<Problem>);

/// The certificates of the server, as they are now.
pub struct Certificates {
    folder: PathBuf,
    hosts: Vec<String>,
    current: ArcSwap<CertificateSet>,
    /// Held by the one reload that runs; readers never wait for it.
    reloading: Mutex<()>,
}

impl Certificates {
    /// Loads the folder for the given hosts, the most important first: its certificate is shown to who asks for
    /// no name we know. With `self_signed`, hosts that no file covers get a certificate of their own, written to
    /// the folder. Any file that is wrong is an error here; see [`Certificates::reload`] for later.
    ///
    /// Reads and writes files: not for a task that others wait for.
    pub fn open(folder: &Path, hosts: &[String], self_signed: bool) -> Result<Certificates, CertificatesError> {
        if self_signed {
            std::fs::create_dir_all(folder).map_err(|error| CertificatesError(vec![Problem::io(folder, &error)]))?;
        }
        let (mut loaded, problems) = folder::load(folder);
        if !problems.is_empty() {
            return Err(CertificatesError(problems));
        }
        if self_signed {
            let bare: Vec<_> = hosts.iter().filter(|host| !loaded.iter().any(|one| one.covers(host))).collect();
            for host in bare {
                let file = self_signed::create(folder, host).map_err(|problem| CertificatesError(vec![problem]))?;
                tracing::info!(tls.file = %file.display(), tls.host = %host, "made a self-signed certificate");
                loaded.push(folder::load_file(&file).map_err(|problem| CertificatesError(vec![problem]))?);
            }
        }
        let set = CertificateSet::new(loaded.into_iter().map(Arc::new).collect(), hosts, now());
        let certificates = Certificates {
            folder: folder.to_owned(),
            hosts: hosts.to_owned(),
            current: ArcSwap::from_pointee(set),
            reloading: Mutex::new(()),
        };
        certificates.warn();
        Ok(certificates)
    }

    /// The certificates as they are now. New connections take these; those that stand keep what they were shown.
    pub fn current(&self) -> Arc<CertificateSet> {
        self.current.load_full()
    }

    /// Reads the folder again. What is wrong is logged, one line a file, and returned; the certificate such a file
    /// gave before stays, and so does the only certificate of a host.
    ///
    /// Reads files: not for a task that others wait for.
    pub fn reload(&self) -> Vec<Problem> {
        let _one_at_a_time = self.reloading.lock();
        let old = self.current.load_full();
        let (loaded, problems) = folder::load(&self.folder);
        let unchanged = |new: &Certificate| old.certificates().iter().find(|one| one.is_same(new)).cloned();
        let mut certificates: Vec<_> =
            loaded.into_iter().map(|new| unchanged(&new).unwrap_or_else(|| Arc::new(new))).collect();
        for problem in &problems {
            let kept = old.certificates().iter().find(|one| one.source() == problem.of_file);
            tracing::error!(
                tls.file = %problem.file.display(), tls.kept = kept.is_some(), "{}", problem.what
            );
            certificates.extend(kept.cloned());
        }
        for host in &self.hosts {
            if certificates.iter().any(|one| one.covers(host)) {
                continue;
            }
            if let Some(kept) = old.certificates().iter().find(|one| one.covers(host)) {
                tracing::warn!(
                    tls.host = %host, tls.file = %kept.source().display(), "the only certificate of a host is gone, it is kept until one replaces it"
                );
                certificates.push(kept.clone());
            }
        }
        let count = certificates.len();
        self.current.store(Arc::new(CertificateSet::new(certificates, &self.hosts, now())));
        tracing::info!(tls.certificates = count, tls.folder = %self.folder.display(), "certificates read again");
        self.warn();
        problems
    }

    /// Logs a line for every certificate that is expired or will be within 14 days, and for every host without one.
    /// Done at start and at each reload; call it once a day too.
    pub fn warn(&self) {
        let set = self.current.load();
        for certificate in set.certificates() {
            if let Some(warning) = certificate.expiry_warning(now()) {
                tracing::warn!(tls.file = %certificate.source().display(), "{warning}");
            }
        }
        for host in self.hosts.iter().filter(|host| set.find(host).is_none()) {
            tracing::warn!(tls.host = %host, "no certificate covers this host");
        }
    }
}

impl Problem {
    fn new(file: &Path, source: &Path, what: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), what: what.into(), of_file: source.to_owned() }
    }

    fn io(file: &Path, error: &std::io::Error) -> Problem {
        Problem::new(file, file, error.to_string())
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
