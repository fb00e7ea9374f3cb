//! The workshop: what is generated, is generated here.
fn main() {}
