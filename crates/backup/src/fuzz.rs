//! Feeds readers of foreign bytes with what nobody wrote: real files, changed here and there.
//!
//! Never says what a reader has to make of them: each has a test called `fuzzed` that does.
//! `cargo xtask fuzz` runs the same tests for as long as wanted.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "people follow a long run")]

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime};

/// How long each test goes on, if it is to be long.
const MINUTES: &str = "PGHERD_FUZZ_MINUTES";
/// Beginnings of their own, at most.
const POOL: usize = 2000;
/// What grows beyond this is begun anew.
const LONGEST: usize = 1 << 17;

/// Changes samples so many times and feeds them. What had an outcome that was never seen before is
/// a sample from then on, so that changes come to what they would not reach at once.
pub(crate) fn fuzz(times: u32, samples: Vec<Vec<u8>>, feed: impl Fn(&[u8]) -> String) {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let mut random = Random(u64::try_from(seed & u128::from(u64::MAX)).unwrap());
    let minutes = std::env::var(MINUTES).ok().map(|text| text.parse().unwrap());
    let until = minutes.map(|minutes| Instant::now() + Duration::from_mins(minutes));
    let (mut pool, mut seen, mut fed) = (Vec::new(), BTreeSet::new(), 0_u64);
    for sample in samples {
        seen.insert(fed_safely(&feed, &sample));
        pool.push(sample);
    }
    while until.map_or(fed < u64::from(times), |until| Instant::now() < until) {
        let sample = random.below(pool.len());
        let mut bytes = pool[sample].clone();
        // One change alone is the most telling; several find what one hides.
        for _ in 0..=random.below(5) {
            random.change(&mut bytes);
        }
        bytes.truncate(LONGEST);
        fed += 1;
        if seen.insert(fed_safely(&feed, &bytes)) && pool.len() < POOL {
            pool.push(bytes);
        }
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: fed {fed} times, {} outcomes", seen.len());
}

/// Keeps what broke a reader before it fails.
fn fed_safely(feed: &impl Fn(&[u8]) -> String, bytes: &[u8]) -> String {
    catch_unwind(AssertUnwindSafe(|| feed(bytes))).unwrap_or_else(|panic| {
        let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
        let path = std::env::temp_dir().join(format!("pgherd-fuzz-found-{name}"));
        std::fs::write(&path, bytes).unwrap();
        eprintln!("what broke it is in {}", path.display());
        resume_unwind(panic)
    })
}

/// What came of it, without the numbers and names that are in it: errors of one kind are alike.
pub(crate) fn outcome<T, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let text = format!("{error:?}");
            // What is between quotes came from the input.
            let told = text.split('"').step_by(2).flat_map(str::chars);
            told.filter(char::is_ascii_alphabetic).take(120).collect()
        }
    }
}

/// Good enough to choose with.
struct Random(u64);

const NUMBERS: [&str; 14] = [
    "",
    "0",
    "-1",
    "1",
    "07777777777",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "0.5",
    "99999999999999999999999999999999999999999",
];

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below this; zero when nothing is.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        // The end is a place, too: what was cut short has to be able to grow again.
        let at = self.below(bytes.len() + 1);
        let short = self.below(64).min(bytes.len() - at);
        match self.below(10) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.byte()),
            2 => self.edge(&mut bytes[at..]),
            3 | 4 => self.digits(bytes, at),
            5 => drop(bytes.drain(at..at + short)),
            6 => {
                let piece = bytes[at..at + short].repeat(self.below(9));
                bytes.splice(at..at, piece);
            }
            7 => {
                let new: Vec<u8> = (0..self.below(4)).map(|_| self.byte()).collect();
                bytes.splice(at..at, new);
            }
            8 => self.part(bytes, at),
            _ => bytes.truncate(at),
        }
    }

    /// A number of one to eight bytes, at an edge of what such a number can be.
    fn edge(&mut self, bytes: &mut [u8]) {
        let power = 1_u64 << self.below(64);
        let number = [0, u64::MAX, power, power - 1, u64::MAX - power][self.below(5)];
        let width = 1 << self.below(4);
        bytes.iter_mut().take(width).zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    }

    /// Digits become others, which may be far too many.
    fn digits(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let Some(skipped) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
        let begin = at + skipped;
        let count = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        bytes.splice(begin..begin + count, number.bytes());
    }

    /// A line, or what is between two commas or braces, is there several times or not at all.
    fn part(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let separator = b"\n,{[ :=\""[self.below(8)];
        let is_one = |byte: &u8| *byte == separator;
        let begin = bytes[..at].iter().rposition(is_one).unwrap_or(0);
        let rest = bytes[at..].iter().position(is_one);
        let end = rest.map_or(bytes.len(), |rest| at + rest);
        let times = self.below(4);
        let part = bytes[begin..end].repeat(times);
        bytes.splice(begin..end, part);
    }
}

/// A folder in memory, where that is possible: a disk would be what takes the time.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("pgherd-fuzz-").tempdir_in(base).unwrap()
}

/// Runs what waits for a store.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn what_has_a_new_outcome_leads_further() {
    // Five bytes in a row are out of reach of a few changes at once. Other lengths are no way to
    // them: a right beginning that was cut short is seldom made long again.
    let reached = std::cell::Cell::new(0);
    let feed = |bytes: &[u8]| {
        if bytes.len() != 6 {
            return "another length".to_owned();
        }
        let right = bytes.iter().zip(b"\x01\x02\x04\x08\x10").take_while(|(a, b)| a == b).count();
        reached.set(reached.get().max(right));
        right.to_string()
    };
    // One change of sixteen thousand is the next right one: four in a row come in a million.
    fuzz(1_000_000, vec![vec![0; 6]], feed);
    assert_eq!(reached.get(), 5);
}
