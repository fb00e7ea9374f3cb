//! From files to certificates: `name.crt` or `name.pem`, with the key inside or beside it in `name.key`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificate, Problem};
use crate::tls::provider;

/// The largest file we read, in bytes; a chain has a few thousand.
const MAX_FILE: u64 = 1024 * 1024;

/// Loads every certificate of a folder, and tells what is wrong with the rest. Other files are passed over.
pub(super) fn load(folder: &Path) -> (Vec<Certificate>, Vec<Problem>) {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => return (Vec::new(), vec![Problem::io(folder, &error)]),
    };
    files.retain(|file| is_certificate(file));
    files.sort();
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        match load_file(&file) {
            Ok(certificate) => loaded.push(certificate),
            Err(problem) => problems.push(problem),
        }
    }
    (loaded, problems)
}

/// Loads one certificate and its key.
pub(super) fn load_file(file: &Path) -> Result<Certificate, Problem> {
    let problem = |what: String| Problem::new(file, file, what);
    let (text, mode) = read(file).map_err(|error| Problem::io(file, &error))?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| problem(format!("it is not proper PEM: {error}")))?;
    let key = match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => {
            refuse_open_key(file, file, mode)?;
            key
        }
        Err(pem::Error::NoItemsFound) => load_key(file)?,
        Err(error) => return Err(problem(format!("its private key is not proper PEM: {error}"))),
    };
    if chain.is_empty() {
        return Err(problem("it holds no certificate".to_owned()));
    }
    Certificate::new(chain, key, file, &provider()).map_err(problem)
}

/// Loads the key beside a certificate.
fn load_key(certificate: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let file = certificate.with_extension("key");
    let problem = |what: String| Problem::new(&file, certificate, what);
    let (text, mode) = match read(&file) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("it has no private key, neither inside nor in {}", file.display());
            return Err(Problem::new(certificate, certificate, what));
        }
        Err(error) => return Err(problem(error.to_string())),
    };
    refuse_open_key(&file, certificate, mode)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => problem("it holds no private key".to_owned()),
        error => problem(format!("it is not proper PEM: {error}")),
    })
}

/// A key that everyone on the machine can read is no secret.
fn refuse_open_key(file: &Path, certificate: &Path, mode: u32) -> Result<(), Problem> {
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let what = format!("the private key is open to everyone (mode {:o}): chmod 600 {}", mode & 0o777, file.display());
    Err(Problem::new(file, certificate, what))
}

/// The content of a file and its permissions.
fn read(file: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    let opened = File::open(file)?;
    let mode = opened.metadata()?.permissions().mode();
    let mut text = Vec::new();
    opened.take(MAX_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("the file is too large for a certificate"));
    }
    Ok((text, mode))
}

fn is_certificate(file: &Path) -> bool {
    let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|extension| extension == "crt" || extension == "pem")
}
