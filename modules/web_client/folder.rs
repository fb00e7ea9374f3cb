//! The installed files: listed once, and nothing but what was listed is ever opened.

use std::collections::HashMap;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::AsyncReadExt as _;
use waxwing_core::http::{Body, BodyError};

/// A file is read in pieces of this size.
const PIECE: usize = 64 * 1024;
/// How deep folders may lie in one another.
const DEPTH: usize = 4;

/// One file that is served.
#[derive(Debug)]
pub struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is, by the end of its name.
    pub media_type: &'static str,
    /// Its size when it was listed, in bytes.
    pub size: u64,
    /// Changes with the file: an entity tag with its quotes (RFC 9110 §8.8.3).
    pub tag: String,
}

/// All files that are served, by their path below the folder.
#[derive(Debug, Default)]
pub struct Files {
    names: HashMap<String, File>,
    /// Whether there were more than are served.
    pub is_cut: bool,
}

impl Files {
    /// Lists a folder; one that is not there, or cannot be read, has no files. Links are not followed.
    pub fn list(folder: &Path, most: usize) -> Files {
        let mut files = Files::default();
        files.add(folder, "", DEPTH, most);
        files
    }

    /// The file of this name, which is compared as it stands: nothing in it is decoded or resolved.
    pub fn find(&self, name: &str) -> Option<&File> {
        self.names.get(name)
    }

    fn add(&mut self, folder: &Path, prefix: &str, depth: usize, most: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|name| is_plain(name)) else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 1 {
                self.add(&entry.path(), &format!("{prefix}{file_name}/"), depth - 1, most);
            } else if kind.is_file()
                && let Some(file) = read_entry(&entry, file_name)
            {
                if self.names.len() >= most {
                    self.is_cut = true;
                    return;
                }
                self.names.insert(format!("{prefix}{file_name}"), file);
            }
        }
    }
}

fn read_entry(entry: &DirEntry, name: &str) -> Option<File> {
    let media_type = media_type(name)?;
    let metadata = entry.metadata().ok()?;
    Some(File { path: entry.path(), media_type, size: metadata.len(), tag: tag(&metadata) })
}

fn tag(metadata: &Metadata) -> String {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("\"{:x}-{:x}\"", metadata.len(), changed.unwrap_or_default().as_nanos())
}

/// Letters, digits, `-`, `_` and dots that do not come first: a name that is the same in a URL.
fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.starts_with('.') && name.bytes().all(fits)
}

/// What a web client consists of; anything else is not served.
fn media_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/vnd.microsoft.icon",
        "ttf" => "font/ttf",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        _ => return None,
    })
}

impl File {
    /// The bytes, in pieces: no more than one of them is in memory.
    ///
    /// # Errors
    /// When the file cannot be opened, or is not the one that was listed.
    pub async fn read(&self) -> io::Result<Body> {
        let file = tokio::fs::File::open(&self.path).await?;
        if file.metadata().await?.len() != self.size {
            return Err(io::Error::other("it has changed since the server was started"));
        }
        let pieces = stream::try_unfold((file, self.size), |(mut file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            let read = file.read(&mut piece).await.map_err(|error| BodyError::Broken(error.to_string()))?;
            if read == 0 {
                return Err(BodyError::Broken("the file is shorter than it was".to_owned()));
            }
            piece.truncate(read);
            Ok(Some((Frame::data(Bytes::from(piece)), (file, left - read as u64))))
        });
        Ok(StreamBody::new(pieces.into_stream()).boxed_unsync())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("main.js", "1;");
        write("images/logo/a-1.svg", "<svg/>");
        write("main.js.map", "{}");
        write(".hidden.js", "");
        write("with space.js", "");
        write("README", "");
        write("a/b/c/d/deep.js", "");
        folder
    }

    #[tokio::test]
    async fn s31_only_what_was_listed_by_name_and_kind_is_there() {
        let folder = sample();
        let secret = folder.path().join("secret.txt");
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, folder.path().join("link.js")).unwrap();
        let files = Files::list(folder.path(), 100);
        let mut names: Vec<&str> = files.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["images/logo/a-1.svg", "main.js"]);
        for trick in
            ["", ".", "..", "/main.js", "../main.js", "images/../main.js", "images/logo", "main.js/", "MAIN.JS"]
        {
            assert!(files.find(trick).is_none(), "{trick}");
        }
        let file = files.find("main.js").unwrap();
        assert_eq!((file.media_type, file.size), ("text/javascript; charset=utf-8", 2));
        let body = waxwing_core::http::read(file.read().await.unwrap()).await.unwrap();
        assert_eq!(&body[..], b"1;");
        std::fs::write(&file.path, "longer").unwrap();
        assert!(file.read().await.is_err(), "what was listed is gone");
    }

    #[test]
    fn no_more_files_than_the_operator_allows_are_listed() {
        let folder = sample();
        let files = Files::list(folder.path(), 1);
        assert!(files.is_cut && files.names.len() == 1);
        assert!(!Files::list(folder.path(), 2).is_cut);
        assert!(Files::list(&folder.path().join("nowhere"), 2).names.is_empty());
    }
}
