//! Waxwing.
fn main() {}
