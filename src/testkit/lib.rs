//! The test kit: a whole server inside the test process, and clients that speak raw XML to it over real sockets.
//!
//! # A test
//! ```text
//! //! Conformance, section C: stanzas (RFC 6120 §8).
//! mod common;
//! use common::SERVER;
//!
//! #[tokio::test]
//! async fn c49_from_is_overwritten() {
//!     let scene = SERVER.scene().await;
//!     let mut romeo = scene.session("romeo/orchard").await;
//!     let mut juliet = scene.online("juliet/balcony").await;
//!     romeo.send("<message to='{juliet/balcony}' from='nurse@{host}' id='1'><body>Hi</body></message>").await;
//!     juliet.expect("<message to='{juliet/balcony}' from='{romeo/orchard}' id='1'><body>Hi</body></message>").await;
//! }
//! ```
//!
//! # Servers
//! - [`SharedServer`] is a `static`; all tests of a binary share one server. This is the rule, and it is fast: a session
//!   costs about 20 ms. [`SharedServer::scene`] gives a [`Scene`].
//! - [`TestServer::start`] with [`TestOptions`] is for a test that needs its own: other settings (`.toml("[limits]\n…")`),
//!   several hosts, a restart ([`TestServer::stop`], [`TestServer::start_again`]), or measurements
//!   ([`TestServer::processor_time`], [`resident_memory`]). Then [`TestServer::scene`].
//! - The database is SQLite, or PostgreSQL with `WAXWING_TEST_STORAGE=postgres` and `WAXWING_TEST_POSTGRES=<url>`.
//! - A server has a runtime and threads of its own. What touches its database runs there: [`TestServer::with_house`].
//! - Limits that count connections, stanzas and requests are lifted, because all tests come from one address;
//!   [`TestOptions::safe_defaults`] leaves them as with an empty file.
//!
//! # People
//! A scene's people have short names. `scene.session("romeo/orchard")` makes the account `romeo-17` on the server
//! (whatever number is free), logs in over direct TLS with SCRAM-SHA-256-PLUS, and binds `orchard`.
//! [`Scene::online`] sends presence too, [`Scene::logged_in`] binds nothing, [`Scene::connect`] and
//! [`Scene::connect_tls`] have said nothing yet, [`Scene::account`] makes an account only, [`Scene::stranger`] only a
//! name. `"nurse@host2/room"` lives on the second host. [`Scene::befriend`] subscribes two people to each other.
//!
//! # Templates
//! What is sent and expected may hold names: `{host}`, `{host2}`, `{romeo}` (bare JID), `{romeo/orchard}` (full JID),
//! anything captured before or set by `scene.names().set(…)`. An unknown name fails the test; braces around anything else
//! (JSON) are left alone. In `format!`, write them twice.
//!
//! What is expected may hold wildcards as well:
//! - `{any}` in an attribute or a text: anything; also as a part, `id='x-{any}'`;
//! - `{capture:name}`: anything, from then on `{name}`;
//! - `{…}` or `{...}` among attributes: other attributes, too; in the content: other children and text, too, anywhere;
//! - `{unordered}` in the content: the children in any order;
//! - `{stanza-id}`: the id that the recipient's archive has given the message;
//! - `{error:cancel:item-not-found}`: the `<error/>` of a stanza with this type and condition, whatever else it says.
//!
//! Trees are compared: order of attributes, prefixes, and whitespace between elements do not matter; everything else
//! does. The default namespace of a template is `jabber:client`; `stream:` is bound.
//!
//! # No sleeping
//! [`RawClient::barrier`] is a ping and its answer: the server has done all that this client sent, and nothing has come.
//! The server hands a stanza to its recipients before it looks at the sender's next, so `romeo.barrier()` and then
//! `juliet.barrier()` proves that Juliet got nothing of what Romeo has sent. [`RawClient::drain`] is the same and gives
//! back what came. What was kept offline may come a moment later: wait for it, do not drain. Every other wait is bounded
//! by 5 seconds ([`RawClient::set_patience`]), and every failure shows the place in the test, the whole conversation, and
//! the server's last log lines (`WAXWING_TEST_LOG=debug` for more).
//!
//! # Ends
//! [`RawClient::expect_stream_error`] checks our header first, the error, the closing tag, and the end of the connection
//! in good order (FIN, under TLS `close_notify`); [`RawClient::expect_end`] the same without an error;
//! [`RawClient::expect_close`] only the end of the connection, and says whether it was in good order.

pub mod bosh;
mod bridge;
mod channel;
mod client;
mod compare;
mod expectations;
pub mod http;
pub mod logs;
mod names;
mod negotiation;
mod options;
mod process;
mod reader;
mod scene;
pub mod scram;
mod server;
mod shared;
mod template;
mod tls;
mod transcript;
mod tree;
pub mod websocket;

pub use channel::Ending;
pub use client::{PATIENCE, RawClient};
pub use names::Names;
pub use negotiation::stream_header;
pub use options::TestOptions;
pub use process::resident_memory;
pub use scene::{Scene, Web};
pub use server::{Addresses, Assembly, Boxed, Running, TestServer};
pub use shared::SharedServer;
pub use tls::{TlsChoice, TlsFacts};
pub use transcript::Transcript;
pub use tree::{Element, Node, escape};
