//! Where files lie: a folder, or a bucket of a service that speaks S3. A file that was taken is on the disc.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, WriteMultipart};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use waxwing_core::http::{Body, BodyError};

use crate::settings::Bucket;

/// A file is read in pieces of this size.
const PIECE: usize = 64 * 1024;
/// Pieces of a file that are on their way to a bucket at a time; each has some megabytes.
const PARTS: usize = 4;

/// Where files lie.
pub enum Shelf {
    /// A folder, with a folder inside for each two letters.
    Folder(PathBuf),
    /// A bucket, and what stands before each name.
    Bucket(Arc<AmazonS3>, String),
}

/// Why a file is not taken, or not given.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The disc is full.
    #[error("there is no room")]
    Full,
    /// The client has not sent what it has promised.
    #[error("the file has {0} bytes, {1} were announced")]
    OtherSize(u64, u64),
    /// The client has stopped sending.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The file is not there.
    #[error("the file is not there")]
    Missing,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for ShelfError {
    fn from(error: io::Error) -> ShelfError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ShelfError::Full,
            io::ErrorKind::NotFound => ShelfError::Missing,
            _ => ShelfError::Other(error.to_string()),
        }
    }
}

impl From<object_store::Error> for ShelfError {
    fn from(error: object_store::Error) -> ShelfError {
        match error {
            object_store::Error::NotFound { .. } => ShelfError::Missing,
            error => ShelfError::Other(error.to_string()),
        }
    }
}

impl Shelf {
    /// A bucket.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn bucket(settings: &Bucket) -> Result<Shelf, ShelfError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.name)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(settings.secret_key.expose())
            .with_region(if settings.region.is_empty() { "us-east-1" } else { &settings.region });
        if !settings.endpoint.is_empty() {
            builder = builder.with_endpoint(&settings.endpoint);
            // A service on the own machine or in the own network; whoever wants TLS writes https.
            builder = builder.with_allow_http(settings.endpoint.starts_with("http://"));
        }
        Ok(Shelf::Bucket(Arc::new(builder.build()?), settings.prefix.clone()))
    }

    /// Takes a file of so many bytes. When it returns, the file is there whatever happens to the machine.
    ///
    /// # Errors
    /// Why it was not taken; nothing of it is left then, but for what a crash leaves.
    pub async fn put(&self, token: &str, size: u64, body: Body) -> Result<(), ShelfError> {
        match self {
            Shelf::Folder(folder) => {
                let path = path_of(folder, token);
                let coming = path.with_extension("part");
                let put = put_file(&path, &coming, size, body).await;
                if put.is_err() {
                    let _ = fs::remove_file(&coming).await;
                }
                put
            }
            Shelf::Bucket(bucket, prefix) => {
                let mut upload = WriteMultipart::new(bucket.put_multipart(&key_of(prefix, token)).await?);
                let sent = async {
                    let mut pieces = Pieces { body, size, read: 0 };
                    while let Some(piece) = pieces.next().await? {
                        upload.wait_for_capacity(PARTS).await?;
                        upload.put(piece);
                    }
                    Ok(())
                };
                match sent.await {
                    Ok(()) => upload.finish().await.map(|_| ()).map_err(ShelfError::from),
                    Err(error) => {
                        let _ = upload.abort().await;
                        Err(error)
                    }
                }
            }
        }
    }

    /// So many bytes of a file from a place on.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn get(&self, token: &str, start: u64, length: u64) -> Result<Body, ShelfError> {
        match self {
            Shelf::Folder(folder) => {
                let mut file = File::open(path_of(folder, token)).await?;
                if start > 0 {
                    file.seek(io::SeekFrom::Start(start)).await?;
                }
                let pieces = stream::try_unfold((file, length), |(mut file, left)| async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
                    let read = file.read(&mut piece).await.map_err(|error| BodyError::Broken(error.to_string()))?;
                    if read == 0 {
                        return Err(BodyError::Broken("the file is shorter than it was".to_owned()));
                    }
                    piece.truncate(read);
                    Ok(Some((Bytes::from(piece), (file, left - read as u64))))
                });
                Ok(StreamBody::new(pieces.map_ok(http_body_util_frame)).boxed_unsync())
            }
            Shelf::Bucket(bucket, prefix) => {
                let options =
                    GetOptions { range: Some(GetRange::Bounded(start..start + length)), ..GetOptions::default() };
                let found = bucket.get_opts(&key_of(prefix, token), options).await?;
                let pieces = found.into_stream().map_err(|error| BodyError::Broken(error.to_string()));
                Ok(StreamBody::new(pieces.map_ok(http_body_util_frame)).boxed_unsync())
            }
        }
    }

    /// Deletes a file, and what is left of one that broke off. One that is not there is deleted already.
    ///
    /// # Errors
    /// Why it is still there.
    pub async fn delete(&self, token: &str) -> Result<(), ShelfError> {
        let deleted: Result<(), ShelfError> = match self {
            Shelf::Folder(folder) => {
                let path = path_of(folder, token);
                let _ = fs::remove_file(path.with_extension("part")).await;
                fs::remove_file(&path).await.map_err(ShelfError::from)
            }
            Shelf::Bucket(bucket, prefix) => bucket.delete(&key_of(prefix, token)).await.map_err(ShelfError::from),
        };
        match deleted {
            Err(ShelfError::Missing) => Ok(()),
            deleted => deleted,
        }
    }
}

fn http_body_util_frame(bytes: Bytes) -> http_body::Frame<Bytes> {
    http_body::Frame::data(bytes)
}

/// Tokens are of our making: letters, digits, `-` and `_`.
fn path_of(folder: &Path, token: &str) -> PathBuf {
    folder.join(token.get(..2).unwrap_or("__")).join(token)
}

fn key_of(prefix: &str, token: &str) -> Key {
    Key::from(format!("{prefix}{token}"))
}

async fn put_file(path: &Path, coming: &Path, size: u64, body: Body) -> Result<(), ShelfError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).await?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(coming).await?;
    let mut pieces = Pieces { body, size, read: 0 };
    while let Some(piece) = pieces.next().await? {
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    file.sync_all().await?;
    drop(file);
    fs::rename(coming, path).await?;
    // The name, too, is on the disc before anybody is told.
    File::open(folder).await?.sync_all().await?;
    Ok(())
}

/// A body that has exactly so many bytes.
struct Pieces {
    body: Body,
    size: u64,
    read: u64,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, ShelfError> {
        while let Some(frame) = self.body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            self.read += piece.len() as u64;
            if self.read > self.size {
                return Err(ShelfError::OtherSize(self.read, self.size));
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        if self.read == self.size { Ok(None) } else { Err(ShelfError::OtherSize(self.read, self.size)) }
    }
}
