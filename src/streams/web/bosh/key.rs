//! Key sequences: whoever sees one request cannot make the next (XEP-0124 §15).

/// The key whose hash, in hexadecimal digits, this is made of.
pub(crate) fn next(key: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `key` is the one whose hash is `last`. Letter case does not count in what is compared.
pub(crate) fn follows(last: &str, key: &str) -> bool {
    next(&key.to_ascii_lowercase()).eq_ignore_ascii_case(last) || next(key).eq_ignore_ascii_case(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_its_hash() {
        assert_eq!(next("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(follows("A9993E364706816ABA3E25717850C26C9CD0D89D", "abc"));
        assert!(!follows("a9993e364706816aba3e25717850c26c9cd0d89d", "abd"));
    }
}
