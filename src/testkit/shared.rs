//! One server for all tests of a binary: started by the first that asks, stopped when nobody uses it any more.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use crate::options::TestOptions;
use crate::scene::Scene;
use crate::server::TestServer;

/// A server that tests share. It lives in its own runtime, and as long as some test holds a scene on it: so it is always
/// stopped, and its database dropped, before the process ends.
///
/// ```text
/// static SERVER: SharedServer = SharedServer::new(|| TestOptions::new(ASSEMBLY));
/// ```
pub struct SharedServer {
    options: fn() -> TestOptions,
    current: Mutex<Weak<TestServer>>,
}

impl SharedServer {
    /// A server that is not started yet.
    pub const fn new(options: fn() -> TestOptions) -> SharedServer {
        SharedServer { options, current: Mutex::const_new(Weak::new()) }
    }

    /// The server, started if it does not run.
    pub async fn get(&self) -> Arc<TestServer> {
        let mut current = self.current.lock().await;
        match current.upgrade() {
            Some(server) => server,
            None => {
                let server = TestServer::start((self.options)()).await;
                *current = Arc::downgrade(&server);
                server
            }
        }
    }

    /// A scene on the server.
    pub async fn scene(&self) -> Scene {
        self.get().await.scene()
    }
}
