//! Does to encrypted objects what an enemy would, and reads them in every way.
//!
//! Never needs a store: objects are bytes here.

use super::super::envelope::clear_size;
use super::super::key::NewKey;
use super::*;
use crate::encryption::span;
use crate::fuzz::{fuzz, outcome};
use proptest::prelude::*;

const NAME: &str = "app-db/pgherd/encrypted/wals/00000002.history";
const STORED: usize = CHUNK + TAG;

fn keys() -> Keyring {
    Keyring::parse(NewKey::draw().unwrap().line.as_bytes()).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect()
}

fn sealed(keys: &Keyring, name: &str, content: &[u8], step: usize) -> Vec<u8> {
    let (mut encrypter, mut stored) = (Encrypter::begin(keys, name).unwrap(), Vec::new());
    for some in content.chunks(step) {
        encrypter.push(some, &mut stored).unwrap();
    }
    encrypter.finish(&mut stored).unwrap();
    stored
}

fn opened(keys: &Keyring, name: &str, stored: &[u8]) -> Result<Bytes, EnvelopeError> {
    Decrypter::open(keys, name, stored)?.whole(Bytes::copy_from_slice(stored))
}

/// The same in pieces.
fn flowed(keys: &Keyring, stored: &[u8], step: usize) -> Result<Vec<u8>, EnvelopeError> {
    let (mut flow, mut content) = (Flow::of(keys, NAME, stored.len() as u64), Vec::new());
    for some in stored.chunks(step) {
        content.extend(flow.push(some)?);
    }
    flow.end()?;
    Ok(content)
}

fn part(
    keys: &Keyring,
    stored: &[u8],
    range: std::ops::Range<u64>,
) -> Result<Bytes, EnvelopeError> {
    let span = span(&range);
    let to = usize::try_from(span.stored.end).unwrap().min(stored.len());
    let from = usize::try_from(span.stored.start).unwrap().min(to);
    let some = Bytes::copy_from_slice(&stored[from..to]);
    Decrypter::open(keys, NAME, stored)?.part(&span, some, stored.len() as u64)
}

#[test]
fn every_length_comes_back_however_it_is_cut() {
    let keys = keys();
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 5, 3 * CHUNK];
    for length in lengths {
        let clear = content(length);
        for step in [1 << 20, CHUNK, CHUNK + 1, 4099] {
            let stored = sealed(&keys, NAME, &clear, step);
            assert_eq!(clear_size(stored.len() as u64), Some(length as u64));
            assert!(opened(&keys, NAME, &stored).unwrap() == clear, "{length} by {step}");
            assert!(flowed(&keys, &stored, step).unwrap() == clear, "{length} by {step}");
        }
    }
}

#[test]
fn the_same_content_never_looks_the_same() {
    let (keys, clear) = (keys(), content(1000));
    let (one, other) = (sealed(&keys, NAME, &clear, 1000), sealed(&keys, NAME, &clear, 1000));
    assert_eq!(one[..24], other[..24]);
    assert!(one[24..64] != other[24..64] && one[64..] != other[64..]);
    assert!(!one.windows(8).any(|some| clear.windows(8).any(|clear| clear == some)));
}

#[test]
fn whatever_is_done_to_an_object_is_noticed() {
    let keys = keys();
    let clear = content(3 * CHUNK + 77);
    let good = sealed(&keys, NAME, &clear, 1 << 20);
    let mut done: Vec<(String, Vec<u8>)> = Vec::new();
    let places = (0..HEAD).chain([HEAD, HEAD + 1, STORED + 63, STORED + 64, good.len() - 1]);
    for at in places {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        done.push((format!("a bit at {at}"), flipped));
    }
    for length in [0, 15, 16, HEAD - 1, HEAD, HEAD + TAG, HEAD + STORED, HEAD + 2 * STORED] {
        done.push((format!("cut at {length}"), good[..length].to_vec()));
    }
    for length in [HEAD + 3 * STORED, HEAD + 3 * STORED + TAG, good.len() - 1] {
        done.push((format!("cut at {length}"), good[..length].to_vec()));
    }
    let chunk = |number: usize| {
        let from = HEAD + number * STORED;
        &good[from..(from + STORED).min(good.len())]
    };
    let chunks = |order: &[usize]| {
        let chunks: Vec<u8> = order.iter().flat_map(|number| chunk(*number).to_vec()).collect();
        [&good[..HEAD], &chunks].concat()
    };
    assert!(chunks(&[0, 1, 2, 3]) == good);
    for order in [&[1, 0, 2, 3][..], &[0, 1, 1, 3], &[0, 1, 3], &[0, 1, 2, 3, 3], &[1, 2, 3]] {
        done.push((format!("chunks {order:?}"), chunks(order)));
    }
    done.push(("more behind it".to_owned(), [&good[..], b"x"].concat()));
    done.push(("much more behind it".to_owned(), [&good[..], &good[..]].concat()));
    // A chunk of an object whose key it is not.
    let other = sealed(&keys, NAME, &content(3 * CHUNK + 77), 1 << 20);
    done.push(("a chunk of another one".to_owned(), [&good[..HEAD], &other[HEAD..]].concat()));
    for (what, changed) in done {
        assert!(opened(&keys, NAME, &changed).is_err(), "{what}");
        for step in [1 << 20, 5000] {
            assert!(flowed(&keys, &changed, step).is_err(), "{what}");
        }
        // A part never shows other content, whether or not it notices what is elsewhere.
        for from in [0, CHUNK - 10, 2 * CHUNK, 3 * CHUNK] {
            let range = from as u64..(from + 50) as u64;
            if let Ok(part) = part(&keys, &changed, range) {
                assert!(clear[from..].starts_with(&part), "{what} at {from}");
            }
        }
    }
}

#[test]
fn damage_is_told_by_where_it_is() {
    let (keys, clear) = (keys(), content(3 * CHUNK));
    let mut stored = sealed(&keys, NAME, &clear, 1 << 20);
    stored[HEAD + 2 * STORED + 9] ^= 1;
    let at = (HEAD + 2 * STORED) as u64;
    assert_eq!(opened(&keys, NAME, &stored), Err(EnvelopeError::Damaged { at }));
    assert_eq!(flowed(&keys, &stored, 1000), Err(EnvelopeError::Damaged { at }));
    let (from, to) = (2 * CHUNK as u64, 3 * CHUNK as u64);
    assert_eq!(part(&keys, &stored, from..to), Err(EnvelopeError::Damaged { at }));
    assert!(part(&keys, &stored, 0..from).unwrap() == clear[..2 * CHUNK]);
}

#[test]
fn an_object_is_bound_to_its_place_and_its_key() {
    let (keys, others, clear) = (keys(), keys(), content(100));
    let stored = sealed(&keys, NAME, &clear, 100);
    for elsewhere in ["", "app-db/pgherd/encrypted/wals/00000003.history", "other/x"] {
        let refused = opened(&keys, elsewhere, &stored).unwrap_err();
        assert_eq!(refused, EnvelopeError::Damaged { at: HEADER }, "{elsewhere}");
    }
    let refused = opened(&others, NAME, &stored).unwrap_err();
    let (theirs, ours) = (keys.id(), vec![others.id()]);
    assert_eq!(refused, EnvelopeError::WrongKey { theirs, ours });
    // Under the name of our key, it still is not ours.
    let mut claimed = stored.clone();
    claimed[16..24].copy_from_slice(&others.id().0);
    assert_eq!(opened(&others, NAME, &claimed), Err(EnvelopeError::Header));
    assert_eq!(opened(&keys, NAME, b"system identifier 7\n"), Err(EnvelopeError::Clear));
}

#[test]
fn what_another_program_wrote_by_the_documentation_is_opened() {
    // By Python's cryptography, from docs/repository.md: the owner's key is 32 times 1, the object's
    // key is 0 to 31.
    let written = "7067686572642d65011000000000000050e2b356cdee18ef6343f12dc5b14ffadffa4a685a9a2042\
        f43fab65bba532c7324b2b819813beeea00fb525cf0c2adc79cedcaac149ed9d6ad189547643e5f1\
        b73176235aee075de1f37917c61027f35e6d9e06feb192efb472";
    let byte = |at: usize| u8::from_str_radix(&written[at..at + 2], 16).unwrap();
    let stored: Vec<u8> = (0..written.len()).step_by(2).map(byte).collect();
    let keys = Keyring::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
    assert_eq!(opened(&keys, NAME, &stored).unwrap().as_ref(), b"written by another program");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn parts_are_what_they_were(
        length in 0_usize..5 * CHUNK,
        from in 0_usize..5 * CHUNK,
        wanted in 1_usize..3 * CHUNK,
        step in 1000_usize..3 * CHUNK,
    ) {
        let (keys, clear) = (keys(), content(length));
        let stored = sealed(&keys, NAME, &clear, step);
        prop_assert!(flowed(&keys, &stored, step).unwrap() == clear);
        prop_assume!(from < length);
        let found = part(&keys, &stored, from as u64..(from + wanted) as u64).unwrap();
        prop_assert!(found == clear[from..(from + wanted).min(length)]);
    }
}

#[test]
fn fuzzed() {
    let (keys, clear) = (keys(), content(CHUNK + 400));
    let samples = [0, 1, 400, CHUNK, CHUNK + 400]
        .map(|length| sealed(&keys, NAME, &clear[..length], 1 << 20));
    let known: Vec<usize> = vec![0, 1, 400, CHUNK, CHUNK + 400];
    let feed = |stored: &[u8]| {
        let whole = opened(&keys, NAME, stored);
        // Nobody who has not the key makes what opens.
        if let Ok(whole) = &whole {
            assert!(known.contains(&whole.len()) && clear.starts_with(whole));
        }
        let flowed = flowed(&keys, stored, 70_000);
        assert_eq!(flowed.as_ref().ok().map(Vec::as_slice), whole.as_ref().ok().map(|it| &it[..]));
        if let Ok(part) = part(&keys, stored, 390..410) {
            assert!(part.is_empty() || clear[390..].starts_with(&part));
        }
        outcome(&whole)
    };
    fuzz(3000, samples.to_vec(), feed);
}
