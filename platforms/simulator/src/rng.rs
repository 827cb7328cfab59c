//! Randomness from a seed: the same seed gives the same numbers on every machine.
//!
//! Never asks the operating system for anything.

/// A stream of numbers (SplitMix64). Each concern draws from a stream of its own, so that a fault
/// more or less does not reshuffle everything else.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rng {
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self { state: mix(seed.wrapping_add(1)) ^ mix(stream.wrapping_mul(GOLDEN)) };
        rng.draw();
        rng
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 up to, but not including, `limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.draw()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` up to, but not including, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).unwrap_or(0);
        choices.get(usize::try_from(self.below(count)).unwrap_or(0))
    }
}

/// Folds `value` into `hash`; the fingerprint of a run is made with it.
pub fn fold(hash: u64, value: u64) -> u64 {
    mix(hash.rotate_left(5) ^ value.wrapping_add(GOLDEN))
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_fix_the_numbers() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [rng.draw(), rng.below(100), rng.between(5, 6)]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        assert_eq!(draw(1, 2)[2], 5);
    }

    #[test]
    fn chances_come_out_as_asked() {
        let mut rng = Rng::new(7, 0);
        let hits = (0..10_000).filter(|_| rng.chance(250)).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10000 at 25 %");
    }
}
