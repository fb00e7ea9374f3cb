//! The services that are configured, with their keys read from the files that the settings name.

use std::io;
use std::path::Path;

use waxwing_core::address::DomainRef;

use crate::apns::Apns;
use crate::devices::{Device, Service, Target};
use crate::fcm::Fcm;
use crate::http_client::HttpClient;
use crate::outcome::Outcome;
use crate::settings::{Settings, WebPush as WebPushSettings};
use crate::summary::Summary;
use crate::web_push::{WebPush, make_key};

/// A file with a key is never larger than this, in bytes.
const LARGEST_FILE: u64 = 64 * 1024;

/// The services, and how they are asked.
pub struct Services {
    /// Makes the requests.
    pub http: HttpClient,
    /// Web Push.
    pub web_push: Option<WebPush>,
    /// Apple's.
    pub apns: Option<Apns>,
    /// Google's.
    pub fcm: Option<Fcm>,
}

impl Services {
    /// Reads the keys of what is configured.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub async fn load(settings: &Settings, host: &DomainRef) -> Result<Services, String> {
        let authorities = match settings.authorities.as_str() {
            "" => None,
            path => Some(read(path).await?),
        };
        let http = HttpClient::new(authorities.as_deref(), settings.timeout.get(), settings.private_addresses)
            .map_err(|error| format!("{}: {error}", settings.authorities))?;
        let web_push = match settings.web_push.key.as_str() {
            "" => None,
            path => {
                let wanted = &settings.web_push;
                let contact = match wanted.contact.as_str() {
                    "" => format!("https://{host}/"),
                    contact => contact.to_owned(),
                };
                let key = web_push_key(wanted).await?;
                let made = WebPush::new(&key, contact, wanted.details, wanted.kept.get());
                Some(made.map_err(|error| format!("{path}: {error}"))?)
            }
        };
        let apns = match settings.apns.key.as_str() {
            "" => None,
            path => {
                let made = Apns::new(&read(path).await?, &settings.apns);
                Some(made.map_err(|error| format!("{path}: {error}"))?)
            }
        };
        let fcm = match settings.fcm.service_account.as_str() {
            "" => None,
            path => {
                let made = Fcm::new(&read(path).await?, &settings.fcm);
                Some(made.map_err(|error| format!("{path}: {error}"))?)
            }
        };
        for endpoint in [&settings.apns.endpoint, &settings.apns.sandbox, &settings.fcm.endpoint] {
            let uri = endpoint.parse().map_err(|_| format!("{endpoint} is no address"))?;
            http.check(&uri).map_err(|error| format!("{endpoint} cannot be asked: {error}"))?;
        }
        Ok(Services { http, web_push, apns, fcm })
    }

    /// Whether a service is configured.
    pub fn has(&self, service: Service) -> bool {
        match service {
            Service::WebPush => self.web_push.is_some(),
            Service::Apns => self.apns.is_some(),
            Service::Fcm => self.fcm.is_some(),
        }
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        !Service::ALL.into_iter().any(|service| self.has(service))
    }

    /// Wakes a device.
    pub async fn send(&self, device: &Device, summary: &Summary) -> Outcome {
        let (http, node) = (&self.http, device.node.as_str());
        match (&device.target, &self.web_push, &self.apns, &self.fcm) {
            (Target::Web { endpoint, key, authentication }, Some(web_push), _, _) => {
                web_push.send(http, node, (endpoint, key, authentication), summary).await
            }
            (Target::Apns { token, topic, sandbox }, _, Some(apns), _) => {
                apns.send(http, node, (token, topic, *sandbox), summary).await
            }
            (Target::Fcm { token, account }, _, _, Some(fcm)) => {
                fcm.send(http, node, (token, account.as_deref()), summary).await
            }
            _ => Outcome::Refused("the service is not configured any more".to_owned()),
        }
    }
}

/// The key of Web Push, made if there is none and it may be.
async fn web_push_key(settings: &WebPushSettings) -> Result<Vec<u8>, String> {
    let path = settings.key.as_str();
    let is_missing = matches!(tokio::fs::metadata(path).await, Err(error) if error.kind() == io::ErrorKind::NotFound);
    if !is_missing {
        return read(path).await;
    }
    if !settings.make_key {
        return Err(format!("{path}: there is no such file; with make_key = true it is made"));
    }
    let pem = make_key()?;
    write_secret(Path::new(path), pem.as_bytes()).await.map_err(|error| format!("{path}: {error}"))?;
    tracing::info!(path, "push_gateway.key_made");
    Ok(pem.into_bytes())
}

/// Writes a file that nobody else may read, whole or not at all, and never over one that is there.
async fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).await?;
    file.write_all(content).await?;
    file.sync_all().await
}

async fn read(path: &str) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("{path}: {error}");
    if tokio::fs::metadata(path).await.map_err(told)?.len() > LARGEST_FILE {
        return Err(format!("{path}: it is too large to be a key"));
    }
    tokio::fs::read(path).await.map_err(told)
}

#[cfg(test)]
mod tests {
    use waxwing_core::address::DomainPart;

    use super::*;

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    async fn load(settings: &Settings) -> Result<Services, String> {
        Services::load(settings, &DomainPart::new("capulet.lit").unwrap()).await
    }

    #[tokio::test]
    async fn nothing_is_configured_by_default() {
        assert!(load(&Settings::default()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_key_is_made_once_for_the_owner_alone_and_only_when_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("vapid.pem");
        let key = path.to_str().unwrap().to_owned();
        let wanted = settings(|settings| settings.web_push.key = key.clone());
        let error = load(&wanted).await.err().unwrap();
        assert!(error.contains("make_key") && error.contains(&key), "{error}");
        let wanted = settings(|settings| {
            settings.web_push.key = key;
            settings.web_push.make_key = true;
        });
        let first = load(&wanted).await.unwrap().web_push.unwrap().public;
        assert_eq!(load(&wanted).await.unwrap().web_push.unwrap().public, first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key").to_str().unwrap().to_owned();
        std::fs::write(&path, "no key").unwrap();
        for wrong in [
            settings(|settings| settings.web_push.key = path.clone()),
            settings(|settings| settings.apns.key = path.clone()),
            settings(|settings| settings.fcm.service_account = path.clone()),
            settings(|settings| settings.authorities = path.clone()),
        ] {
            let error = load(&wrong).await.err().unwrap();
            assert!(error.starts_with(&path), "{error}");
        }
        let wrong = settings(|settings| settings.fcm.endpoint = "http://fcm.example/".to_owned());
        assert!(load(&wrong).await.err().unwrap().contains("https"));
    }
}
