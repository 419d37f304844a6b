//! Stories about the harness.
fn main() {}
