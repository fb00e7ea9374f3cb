//! Known and unknown accounts must take the same time (security row S25).

use std::time::{Duration, Instant};

use super::*;

/// One failed login, start to end, without the client's own work.
fn attempt(offered: &Offered, name: &str, account: Option<Account>) -> Duration {
    let first = format!("n,,n={name},r=x");
    let started = Instant::now();
    let mut exchange = start("SCRAM-SHA-256", offered);
    exchange.step(Some(first.as_bytes()));
    let server_first = challenge(exchange.credentials(account));
    let mut taken = started.elapsed();
    let nonce = server_first.split(',').next().unwrap();
    let last = format!("c=biws,{nonce},p={}", encoding::encode(&[0; 32]));
    let started = Instant::now();
    assert_eq!(exchange.step(Some(last.as_bytes())), Step::Failure(SaslFailure::NotAuthorized));
    taken += started.elapsed();
    taken
}

/// A missing HMAC would be a fifth of the time. The row's figure, one per cent, is measured by the benchmark `login_time`.
#[test]
fn s25_known_and_unknown_accounts_do_the_same_work() {
    let best = (0..5).map(|_| difference(1000)).fold(f64::MAX, f64::min);
    assert!(best < 0.1, "{best}");
}

/// By how much the mean times differ, as a part of the time; the slowest and quickest tenth do not count.
fn difference(tries: usize) -> f64 {
    let offered = offered();
    let (mut known, mut unknown) = (Vec::with_capacity(tries), Vec::with_capacity(tries));
    for turn in 0..tries {
        let real = account("pencil", Hash::Sha256);
        // Take turns in who goes first, so that neither profits from a warm cache.
        if turn % 2 == 0 {
            known.push(attempt(&offered, "juliet", Some(real)));
            unknown.push(attempt(&offered, "nobody", None));
        } else {
            unknown.push(attempt(&offered, "nobody", None));
            known.push(attempt(&offered, "juliet", Some(real)));
        }
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort();
        let kept = &times[tries / 10..tries * 9 / 10];
        kept.iter().sum::<Duration>().as_secs_f64() / kept.len() as f64
    };
    let (known, unknown) = (middle(&mut known), middle(&mut unknown));
    let difference = (known - unknown).abs() / known;
    eprintln!("known {:.2} µs, unknown {:.2} µs, {:.2} %", known * 1e6, unknown * 1e6, difference * 100.0);
    difference
}
