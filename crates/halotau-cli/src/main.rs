//! The halotau command.
fn main() {}
