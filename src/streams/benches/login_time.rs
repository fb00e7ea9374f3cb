//! Whether a login tells by its time if the account exists: the mean of failed logins of a known and of an unknown name
//! (security row S25 wants less than one per cent between them over 10,000 tries).
//!
//! Run it alone on a quiet machine: `cargo bench -p waxwing-streams --bench login_time` (tries as argument). What a client
//! sees of it, sockets and database included, is bounded by a test in `tests/security/enumeration.rs`.
#![allow(missing_docs, clippy::print_stdout)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waxwing_core::address::DomainPart;
use waxwing_core::credentials::{Hash, ScramKeys};
use waxwing_streams::sasl::encoding::encode;
use waxwing_streams::sasl::{Account, ChannelBindings, Decoy, Exchange, Mechanism, Offered, SaslFailure, Step};

const TRIES: usize = 20_000;

fn main() {
    let tries = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(TRIES);
    println!("{tries} failed logins each, the slowest and the quickest tenth left out");
    for (name, hash) in [("SCRAM-SHA-1", Hash::Sha1), ("SCRAM-SHA-256", Hash::Sha256), ("SCRAM-SHA-512", Hash::Sha512)]
    {
        let [known, unknown] = means(name, hash, tries);
        let difference = (known - unknown).abs() / known * 100.0;
        println!("{name:<14} known {:7.2} µs   unknown {:7.2} µs   {difference:.2} %", known * 1e6, unknown * 1e6);
    }
}

/// The mean times of a known and of an unknown name, in seconds.
fn means(mechanism: &str, hash: Hash, tries: usize) -> [f64; 2] {
    let domain = DomainPart::new("capulet.lit").expect("a domain").into_owned();
    let decoy = Arc::new(Decoy::new(b"a secret of the server", 4096));
    let offered = Offered::new(domain, &Mechanism::ALL, ChannelBindings::default(), decoy);
    let rounds = NonZeroU32::new(64).expect("a number");
    let keys = ScramKeys::derive("pencil", b"0123456789abcdef", rounds, hash).expect("keys");
    let (mut known, mut unknown) = (Vec::with_capacity(tries), Vec::with_capacity(tries));
    for turn in 0..tries {
        // They take turns in who goes first, so that neither profits from a warm cache.
        let account = Some(Account { keys: keys.clone(), disabled: false });
        if turn % 2 == 0 {
            known.push(attempt(&offered, mechanism, hash, "juliet", account));
            unknown.push(attempt(&offered, mechanism, hash, "nobody", None));
        } else {
            unknown.push(attempt(&offered, mechanism, hash, "nobody", None));
            known.push(attempt(&offered, mechanism, hash, "juliet", account));
        }
    }
    [known, unknown].map(|mut times| {
        times.sort();
        let kept = &times[tries / 10..(tries * 9 / 10).max(tries / 10 + 1)];
        kept.iter().sum::<Duration>().as_secs_f64() / kept.len() as f64
    })
}

/// One failed login, start to end, without the client's own work.
fn attempt(offered: &Offered, mechanism: &str, hash: Hash, name: &str, account: Option<Account>) -> Duration {
    let first = format!("n,,n={name},r=x");
    let begun = Instant::now();
    let mut exchange = Exchange::start(mechanism, offered).unwrap_or_else(|failure| panic!("{mechanism}: {failure}"));
    exchange.step(Some(first.as_bytes()));
    let Step::Challenge(server_first) = exchange.credentials(account) else { panic!("no challenge") };
    let mut taken = begun.elapsed();
    let server_first = String::from_utf8(server_first).expect("text");
    let nonce = server_first.split(',').next().unwrap_or_default();
    let last = format!("c=biws,{nonce},p={}", encode(&vec![0; hash.length()]));
    let begun = Instant::now();
    let outcome = exchange.step(Some(last.as_bytes()));
    taken += begun.elapsed();
    assert_eq!(outcome, Step::Failure(SaslFailure::NotAuthorized));
    taken
}
