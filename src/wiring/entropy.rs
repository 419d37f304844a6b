//! Randomness from the operating system.

use oscillink_ports::Entropy;

/// The operating system's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) {
        // Without randomness there are no secrets: going on would be worse than stopping.
        getrandom::fill(out).expect("the operating system gives random bytes");
    }
}
