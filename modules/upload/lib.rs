//! Files that people share: slots over XMPP, files over HTTP (XEP-0363), in a folder or in a bucket.
//!
//! `slot.rs` reads wishes and judges names and parts, `service.rs` gives slots, `serving.rs` takes and gives files,
//! `shelf.rs` is where they lie, `store.rs` what is known of them.

mod service;
mod serving;
mod settings;
mod shelf;
mod slot;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::events::{Event, Happening};
use waxwing_core::http::Route;
use waxwing_core::metrics::Counter;
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;

use serving::{METHODS, PATH, Serving};
pub use settings::{Bucket, Settings};
use shelf::Shelf;
use store::Store;

/// The media type of what nothing is known of.
const ANY_BYTES: &str = "application/octet-stream";
/// How often is looked for files that can go.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// So many are deleted at a time.
const SWEEP: u32 = 100;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "upload",
    summary: "takes files and gives them to whoever has their address",
    xeps: &[Xep::complete(363, "1.2.0")],
    hears: &[Happening::Opening, Happening::AccountRemoved],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// The files of one host.
struct Uploads {
    context: Context,
    settings: Settings,
    store: Store,
    shelf: Shelf,
    /// The URL of the web of this host.
    base: String,
    taken: Counter,
    taken_bytes: Counter,
}

struct Upload(Arc<Uploads>);

/// What stands in for it on a host whose files nobody could reach, and why.
struct Nowhere {
    host: String,
    why: &'static str,
}

#[async_trait]
impl Module for Nowhere {
    async fn hear(&self, event: &Event) {
        // Only the process that serves says it, not every command of the operator.
        if matches!(event, Event::Opening) {
            tracing::warn!(host = self.host, "{}", self.why);
        }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let host = context.domain().as_str().to_owned();
    let base = settings.url.clone().or_else(|| service::base_of(&context.config(), &host));
    let Some(base) = base.map(|base| base.trim_end_matches('/').to_owned()) else {
        let why = "no files can be uploaded: set [listen] https, or url in [modules.upload]";
        return Ok(Arc::new(Nowhere { host, why }));
    };
    let is_machine = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    if is_machine && !settings.service.contains('.') {
        let why = "no names stand below the address of a machine, so it has no service for files";
        return Ok(Arc::new(Nowhere { host, why }));
    }
    let shelf = match settings.bucket.name.is_empty() {
        true => Shelf::Folder(settings.folder.clone()),
        false => Shelf::bucket(&settings.bucket).map_err(|error| StartError::Other(error.to_string()))?,
    };
    context.serve(&settings.service)?;
    let uploads = Arc::new(Uploads {
        store: Store { database: context.database().clone(), host },
        taken: context.counter("upload_files", "Files that were uploaded"),
        taken_bytes: context.counter("upload_bytes", "Bytes of files that were uploaded"),
        shelf,
        base,
        settings,
        context: context.clone(),
    });
    let mut route = Route::below(PATH, METHODS, Arc::new(Serving(uploads.clone())));
    route.body_bytes = Some(uploads.settings.file.get());
    context.route(route)?;
    let sweeping = uploads.clone();
    context.every(SWEEP_EVERY, move || {
        let uploads = sweeping.clone();
        async move { uploads.sweep().await }
    });
    Ok(Arc::new(Upload(uploads)))
}

#[async_trait]
impl Module for Upload {
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        if let Some(answer) = self.0.answer(&parcel).await? {
            self.0.context.send(answer).await;
        }
        Ok(())
    }

    async fn hear(&self, event: &Event) {
        if let Event::AccountRemoved(account) = event
            && let Err(error) = self.0.store.forget(account).await
        {
            tracing::error!(%account, %error, "upload.files_not_forgotten");
        }
    }
}

impl Uploads {
    /// Deletes what is over, the files first: what is not deleted is found again.
    async fn sweep(&self) {
        loop {
            let tokens = match self.store.expired(now_milliseconds(), SWEEP).await {
                Ok(tokens) if tokens.is_empty() => return,
                Ok(tokens) => tokens,
                Err(error) => return tracing::warn!(%error, "upload.not_swept"),
            };
            let mut gone = Vec::with_capacity(tokens.len());
            for token in tokens {
                match self.shelf.delete(&token).await {
                    Ok(()) => gone.push(token),
                    Err(error) => tracing::warn!(%error, "upload.not_deleted"),
                }
            }
            if gone.is_empty() {
                return;
            }
            if let Err(error) = self.store.delete(&gone).await {
                return tracing::warn!(%error, "upload.not_swept");
            }
        }
    }
}
