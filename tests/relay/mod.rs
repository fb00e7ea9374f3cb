//! A TCP relay between two ends of a test: it can be broken for a moment, or cut until it is restored.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// A relay. It ends with the value.
pub struct Relay {
    here: SocketAddr,
    state: Arc<State>,
    /// Its own: a server that is stopped while the test's thread waits for it still says goodbye through the relay.
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    /// Ends the connections there are, whenever it changes.
    breaks: watch::Sender<()>,
    /// How many connections there have been, also those that were refused.
    accepted: AtomicUsize,
}

impl Relay {
    /// A relay to wherever this says at the time of a connection.
    pub async fn to(there: impl Fn() -> SocketAddr + Send + 'static) -> Relay {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("relay").enable_all().build();
        let runtime = runtime.expect("a thread");
        let listener = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await.expect("it runs").expect("a port is free");
        let here = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        runtime.spawn(accept(listener, there, state.clone()));
        Relay { here, state, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.here
    }

    /// How many have connected so far, in vain or not.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Ends the connections there are; new ones pass.
    pub fn break_off(&self) {
        self.state.breaks.send_replace(());
    }

    /// Ends the connections there are; new ones are closed at once.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.break_off();
    }

    /// New connections pass again.
    pub fn restore(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, there: impl Fn() -> SocketAddr + Send + 'static, state: Arc<State>) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { return };
        state.accepted.fetch_add(1, Ordering::SeqCst);
        // Before it is looked at whether the line is cut: so no connection is overlooked.
        let mut breaks = state.breaks.subscribe();
        if state.is_cut.load(Ordering::SeqCst) {
            continue;
        }
        let there = there();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(there).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = breaks.changed() => {}
            }
        });
    }
}
