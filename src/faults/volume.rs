//! A small volume that can be filled to the last byte.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::process::Command;

use crate::database::run;

/// A file system in memory. Dropped, it is unmounted.
pub struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    /// Mounts one of so many MiB.
    ///
    /// # Errors
    /// When this process may not: it takes root.
    pub async fn mount(mebibytes: usize) -> anyhow::Result<Volume> {
        let folder = tempfile::Builder::new().prefix("waxwing-faults-volume-").tempdir()?;
        let size = format!("size={mebibytes}m,mode=0777");
        let mut command = Command::from(privileged("mount"));
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path());
        run(&mut command)
            .await
            .context("a small volume cannot be mounted: it takes root, or sudo without a password")?;
        Ok(Volume { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Fills it.
    ///
    /// # Errors
    /// When that fails for another reason than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            loop {
                match file.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the filler cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = privileged("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// A program that root runs.
fn privileged(program: &str) -> std::process::Command {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return std::process::Command::new(program);
    }
    let mut command = std::process::Command::new("sudo");
    command.args(["-n", program]);
    command
}
