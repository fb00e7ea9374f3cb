//! Any bytes at all: as a stream, as the stanzas of an open stream, as an element that stands alone.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

const HEADER: &[u8] = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                        xmlns:h='urn:h' xmlns:p='urn:p' xmlns:q='urn:p'>";

fuzz_target!(|input: &[u8]| {
    // The corpus holds plain streams, so the cuts come from the bytes themselves.
    let sum = input.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let cuts = [1 + sum % 3, 1 + sum / 3 % 17, 1 + sum / 51 % 5];
    oracle::check(input, &cuts);
    oracle::check(&[HEADER, input].concat(), &cuts);
    oracle::check_alone(input);
});
