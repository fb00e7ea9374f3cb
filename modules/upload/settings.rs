//! What the operator decides about uploads: where files lie, how large and how many, and how long they are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::config::{ByteSize, Period, Secret};

use crate::slot::Purpose;

/// The settings of the module.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address of the service: below the host, or, with a dot in it, exactly that domain.
    pub service: String,
    /// What the service is called in clients.
    pub name: String,
    /// Where the web of this host is reached from outside, such as "https://example.org": files are at `/upload` below it.
    /// Without it the name of the host with the first port of `listen.https` is told, on this machine that of
    /// `listen.http`.
    pub url: Option<String>,
    /// The folder that files lie in, relative to where the server was started.
    pub folder: PathBuf,
    /// A bucket of a service that speaks S3, in place of the folder.
    pub bucket: Bucket,
    /// Size of the largest file.
    pub file: ByteSize,
    /// How many bytes an account may upload in a day.
    pub account_day: ByteSize,
    /// How many bytes of an account may lie here together.
    pub account_total: ByteSize,
    /// How long the upload may begin after the slot was given.
    pub slot_time: Period,
    /// How long files of messages are kept; "unlimited" for ever.
    pub keep: Period,
    /// How long pictures of people and rooms are kept.
    pub keep_profile: Period,
    /// Whether people may upload files that are kept for ever, as for blogs.
    pub permanent: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            service: "upload".to_owned(),
            name: "Files".to_owned(),
            url: None,
            folder: PathBuf::from("data/uploads"),
            bucket: Bucket::default(),
            file: ByteSize::mebibytes(100),
            account_day: ByteSize::mebibytes(1024),
            account_total: ByteSize::mebibytes(10 * 1024),
            slot_time: Period::seconds(600),
            keep: Period::seconds(30 * 86_400),
            keep_profile: Period::UNLIMITED,
            permanent: false,
        }
    }
}

impl Settings {
    /// For how long a file of this purpose is kept, in milliseconds; none: for ever.
    pub fn keeps(&self, purpose: Purpose) -> Option<i64> {
        let period = match purpose {
            Purpose::Message | Purpose::Ephemeral { .. } => self.keep,
            Purpose::Profile => self.keep_profile,
            Purpose::Permanent => Period::UNLIMITED,
        };
        if period.is_unlimited() { None } else { i64::try_from(period.get().as_millis()).ok() }
    }
}

/// A bucket of a service that speaks S3.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bucket {
    /// The bucket; empty to use the folder.
    pub name: String,
    /// The URL of the service; empty for Amazon's own.
    pub endpoint: String,
    /// The region.
    pub region: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// What stands before the names of files in the bucket.
    pub prefix: String,
}
