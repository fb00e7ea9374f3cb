//! The one source of randomness: every token, nonce and stream id of the server comes from here (security row S26).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` bytes from the operating system's cryptographic generator.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    // Fails only when the operating system has no randomness at all: nothing safe could be done then.
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A fresh unguessable token: 144 bits as 24 URL-safe characters.
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<18>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn s26_tokens_are_unique_and_every_bit_takes_part() {
        let mut seen = HashSet::new();
        let mut ones = [0u32; 144];
        const TOKENS: u32 = 100_000;
        for _ in 0..TOKENS {
            let token = token();
            assert_eq!(token.len(), 24);
            let raw = URL_SAFE_NO_PAD.decode(&token).unwrap();
            for (position, count) in ones.iter_mut().enumerate() {
                *count += u32::from(raw[position / 8] >> (position % 8) & 1);
            }
            assert!(seen.insert(token), "a token came twice");
        }
        for count in ones {
            // 6 standard deviations of a fair coin over 100,000 throws are about 950.
            assert!(count.abs_diff(TOKENS / 2) < 1_000, "a bit of the tokens is not fair: {count}");
        }
    }
}
