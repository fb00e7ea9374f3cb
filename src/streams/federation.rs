//! Other servers: the way to them, and the door for them (RFC 6120, XEP-0220, XEP-0178, XEP-0198, XEP-0288, XEP-0368).

pub(crate) mod dane;
mod dialback;
pub(crate) mod dialing;
pub(crate) mod discovery;
mod greeting;
pub(crate) mod identity;
mod incoming;
mod link;
mod management;
mod receiving;
mod sending;
mod settings;
pub(crate) mod targets;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use waxwing_core::address::{DomainPart, DomainRef};
use waxwing_core::config::SettingsDescription;
use waxwing_core::contracts::{Contract, Federation};
use waxwing_core::host::Host;
use waxwing_core::house::{House, Place};
use waxwing_core::module::{Context, Manifest, Module, Plan, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;

use crate::certificates::Certificates;
use dialing::Dialer;
pub(crate) use dialing::keep_alive;
use discovery::Discovery;
use identity::Authorities;
pub(crate) use incoming::{Reception, serve, serve_shaken};
use link::{Links, Pair, Put};
use management::Memory;
use receiving::Guest;
use settings::{Settings, is_local_name};

/// Federation as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

static MANIFEST: Manifest = Manifest {
    name: "federation",
    summary: "talks to other servers",
    xeps: &[
        Xep::complete(178, "1.2"),
        Xep::complete(185, "1.0"),
        Xep::partial(198, "1.6.3", "between servers, not on connections of both directions"),
        Xep::complete(220, "1.1.1"),
        Xep::complete(288, "1.0.1"),
        Xep::partial(368, "1.1.0", "for servers"),
        Xep::complete(478, "0.2.0"),
    ],
    offers: &[Contract::Federation],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How often what is remembered too long is forgotten.
const TIDYING: Duration = Duration::from_secs(60);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let takes_part = settings.local_names || !is_local_name(context.domain());
    let discovery = Discovery::new(&settings).map_err(StartError::Other)?;
    let authorities =
        Authorities::load(settings.public_authorities, &settings.authorities).map_err(StartError::Other)?;
    let secret = context.house().secret("dialback").await.map_err(|fault| StartError::Other(fault.to_string()))?;
    let settings = Arc::new(settings);
    let embassy = Arc::new_cyclic(|me| Embassy {
        me: me.clone(),
        host: context.host().clone(),
        takes_part,
        dialer: Dialer {
            house: context.house().clone(),
            settings: settings.clone(),
            discovery,
            authorities,
            keys: dialback::Keys::new(&secret),
            expected: dialback::Expected::default(),
            certificates: OnceLock::new(),
        },
        settings,
        links: Links::default(),
        memory: Memory::default(),
        guests: Mutex::default(),
    });
    context.contracts().offer_federation(embassy.clone());
    let (links, time) = (embassy.clone(), embassy.settings.resume_time.get());
    context.every(TIDYING, move || {
        links.links.tidy_up();
        links.memory.forget_old(time);
        std::future::ready(())
    });
    Ok(Arc::new(Desk))
}

/// The module; all that it does, it does through its contract and at the door.
struct Desk;

impl Module for Desk {}

/// One host's dealings with other servers.
pub(crate) struct Embassy {
    me: Weak<Embassy>,
    host: Arc<Host>,
    /// Whether the host's name means something to others.
    takes_part: bool,
    pub(crate) settings: Arc<Settings>,
    pub(crate) dialer: Dialer,
    links: Links,
    memory: Memory,
    guests: Mutex<HashMap<DomainPart, Arc<Guest>>>,
}

impl Embassy {
    pub(crate) fn house(&self) -> &Arc<House> {
        self.host.house()
    }

    /// Whether this host talks to a server.
    pub(crate) fn talks_to(&self, domain: &DomainRef) -> bool {
        self.takes_part && self.settings.allows(domain)
    }

    /// What became of a parcel: begins a task where one is needed.
    fn begin(&self, put: Put) {
        if let (Put::Begin(link, wake), Some(embassy)) = (put, self.me.upgrade()) {
            self.house().tasks().spawn(sending::carry(embassy, link, wake));
        }
    }
}

#[async_trait]
impl Federation for Embassy {
    async fn send(&self, parcel: Parcel) -> Result<(), Refusal> {
        let wants_to_know = sending::wants_to_know(&parcel);
        match self.put(parcel) {
            Ok(put) => {
                self.begin(put);
                Ok(())
            }
            Err(refusal) if wants_to_know => Err(refusal),
            Err(_) => Ok(()),
        }
    }
}

impl Embassy {
    fn put(&self, parcel: Parcel) -> Result<Put, Refusal> {
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else {
            return Err(Refusal::bad_request().saying("what goes to another server names both"));
        };
        let pair = Pair { ours: from.domain().to_owned(), theirs: to.domain().to_owned() };
        if !self.takes_part {
            let text = "this host has a name that other servers do not know, so it talks to none";
            return Err(Refusal::remote_server_not_found().saying(text));
        }
        if !self.settings.allows(&pair.theirs) {
            return Err(Refusal::remote_server_not_found().saying("this server does not talk to that one"));
        }
        if self.dialer.certificates.get().is_none() {
            return Err(Refusal::remote_server_timeout().saying("this server does not listen yet"));
        }
        self.links.put(pair, parcel, &self.settings)
    }
}

/// The embassy of the host that a domain belongs to; none when the domain is not ours, or federation is off there.
pub(crate) fn embassy_of(house: &House, domain: &DomainRef) -> Option<Arc<Embassy>> {
    match house.place(domain) {
        Place::Host(host) | Place::Service(host, _) => of_host(&host),
        Place::Nowhere | Place::Elsewhere => None,
    }
}

fn of_host(host: &Host) -> Option<Arc<Embassy>> {
    let provider: Arc<dyn Any + Send + Sync> = host.contracts().federation()?.clone();
    provider.downcast::<Embassy>().ok().filter(|embassy| embassy.takes_part)
}

/// Gives every host the certificates it shows to others; whether any host talks to others at all.
pub(crate) fn open(house: &House, certificates: &Arc<Certificates>) -> bool {
    let mut any = false;
    for embassy in house.hosts().iter().filter_map(|host| of_host(host)) {
        any |= embassy.dialer.certificates.set(certificates.clone()).is_ok();
    }
    any
}
