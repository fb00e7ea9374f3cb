//! What streams state about themselves, and the two questions about them that a bound client may still ask.

use std::sync::Arc;

use async_trait::async_trait;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::module::{Manifest, Module, Plan, Xep};
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;

/// Streams as the assembly lists them.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |_| Box::pin(async { Ok(Arc::new(Streams) as _) }) };

static MANIFEST: Manifest = Manifest {
    name: "streams",
    summary: "turns bytes into stanzas: TLS, login, resource binding",
    xeps: &[
        Xep::partial(368, "1.1.0", "for clients"),
        Xep::complete(440, "1.0.0"),
        Xep::complete(474, "0.5.0"),
        Xep::complete(478, "0.2.0"),
    ],
    answers: &[Topic::account(namespaces::BIND), Topic::account(namespaces::SESSION)],
    ..Manifest::EMPTY
};

struct Streams;

#[async_trait]
impl Module for Streams {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        if request.payload().namespace() == namespaces::BIND {
            // RFC 6120 §7.6.2.2: one stream, one resource.
            return Err(Refusal::not_allowed().saying("this stream has its resource"));
        }
        // The session of RFC 3921 is there as soon as the resource is; old clients ask all the same.
        if request.is_set() && request.is_from_owner() { Ok(Answer::Empty) } else { Err(Refusal::bad_request()) }
    }
}
