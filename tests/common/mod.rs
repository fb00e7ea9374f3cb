//! What the tests against a running server share: how to start the server that `main.rs` starts.
#![allow(dead_code, reason = "each test binary uses its part")]

use waxwing::assembly::known_modules;
use waxwing::server::Server;
use waxwing_streams::Service;
use waxwing_testkit::{Addresses, Assembly, Running, SharedServer, TestOptions};

/// The server under test.
pub const ASSEMBLY: Assembly = Assembly {
    known: known_modules,
    start: |config| {
        Box::pin(async move {
            let server = Server::start(config).await?;
            let of = |service| {
                let addresses = server.addresses().iter().filter(move |(of, _)| *of == service);
                addresses.map(|(_, address)| *address).collect()
            };
            let certificates = server.certificates().clone();
            Ok(Running {
                reload: Box::new(move || drop(certificates.reload())),
                house: server.house().clone(),
                addresses: Addresses {
                    c2s: of(Service::Clients),
                    c2s_tls: of(Service::ClientsTls),
                    s2s: of(Service::Servers),
                    s2s_tls: of(Service::ServersTls),
                    http: of(Service::Web),
                    https: of(Service::WebTls),
                    health: of(Service::Health),
                    all_tls: of(Service::AllTls),
                },
                stop: Box::new(move || Box::pin(server.stop())),
            })
        })
    },
};

/// One server for all tests of a binary that need nothing special.
pub static SERVER: SharedServer = SharedServer::new(options);

/// A server of one's own begins with these.
pub fn options() -> TestOptions {
    TestOptions::new(ASSEMBLY)
}
