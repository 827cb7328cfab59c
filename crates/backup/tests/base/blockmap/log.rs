//! What we read in real segments, against what `pg_waldump` reads in them.
//!
//! Never with a server that runs meanwhile: both read the same files.

use super::deeds::{Deeds, Random};
use crate::base::postgres::{Server, folder, program, succeeds};
use pgherd_backup::base::scan::{Fork, Part, Relation as File};
use pgherd_backup::blockmap::{Continued, Database, Joined, Named, Relation, Touched, Walk};
use pgherd_core::units::Bytes;
use pgherd_core::wal::{Segment, SegmentSize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What `pg_waldump` tells of a part of the log.
#[derive(Default)]
struct Told {
    managers: BTreeSet<String>,
    pages: BTreeMap<Relation, BTreeSet<u32>>,
    limits: BTreeMap<Relation, u32>,
    databases: BTreeSet<Database>,
}

fn number(text: &str) -> Option<u32> {
    text.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// `1663/5/1259`, or less of it.
fn numbers(text: &str) -> Vec<u32> {
    text.trim_end_matches([',', ';']).split('/').filter_map(|part| part.parse().ok()).collect()
}

/// `base/5/1259`, unless it is of another fork.
fn file(path: &str) -> Option<Relation> {
    let path = path.trim_end_matches([',', ';']);
    let found = match path.strip_prefix("pg_tblspc/").and_then(|rest| rest.split_once('/')) {
        Some((oid, rest)) => File::of(Part::Tablespace(oid.parse().ok()?), rest),
        None => File::of(Part::Data, path),
    };
    found.filter(|found| found.fork == Fork::Main).map(|found| found.named)
}

impl Told {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let manager = words.get(1).copied().unwrap_or_default().to_owned();
        let said = words.iter().position(|word| *word == "desc:").unwrap();
        let words = &words[said..];
        for four in words.windows(4) {
            // A fork that is not the main one is named between the two.
            let ["rel", relation, "blk", block] = *four else { continue };
            let [tablespace, database, relation] = numbers(relation)[..] else { continue };
            let of = Database { tablespace, database };
            let block = number(block).unwrap();
            self.pages.entry(Relation { of, number: relation }).or_default().insert(block);
        }
        match manager.as_str() {
            // What will be dropped is told once more when it is.
            "Transaction" if words[1] == "PREPARE" => {}
            "Storage" if line.contains("TRUNCATE") => {
                let to = words.iter().position(|word| *word == "to").unwrap();
                let limit = number(words[to + 1]).unwrap();
                words.iter().filter_map(|word| file(word)).for_each(|one| self.limit(one, limit));
            }
            "Storage" | "Transaction" => {
                words.iter().filter_map(|word| file(word)).for_each(|one| self.limit(one, 0));
            }
            "Database" => {
                // The last folder is the one that is made; of those that go all are named.
                let folders: Vec<_> = words.iter().map(|word| numbers(word)).collect();
                let mut folders: Vec<_> =
                    folders.into_iter().filter(|one| one.len() == 2).collect();
                if !line.contains("DROP") {
                    folders.drain(..folders.len() - 1);
                }
                let all = folders.into_iter();
                self.databases
                    .extend(all.map(|one| Database { tablespace: one[0], database: one[1] }));
            }
            _ => {}
        }
        self.managers.insert(manager);
    }

    fn limit(&mut self, relation: Relation, block: u32) {
        let limit = self.limits.entry(relation).or_insert(block);
        *limit = block.min(*limit);
    }

    fn assert_is(&self, touched: &Touched) {
        let mut relations: BTreeSet<Relation> = self.pages.keys().copied().collect();
        relations.extend(self.limits.keys());
        // Neighbours that nobody touched.
        let more = |one: &Relation| Relation { number: one.number + 100_000, ..*one };
        relations.extend(relations.clone().iter().map(more));
        let none = BTreeSet::new();
        for relation in relations {
            let pages = self.pages.get(&relation).unwrap_or(&none);
            let limit = self.limits.get(&relation).copied().unwrap_or(u32::MAX);
            let many = pages.last().map_or(64, |last| *last as usize + 64);
            let is_all = self.databases.contains(&relation.of);
            let expected = |at: &usize| {
                let block = u32::try_from(*at).unwrap();
                is_all || block >= limit || pages.contains(&block)
            };
            let expected: Vec<usize> = (0..many).filter(expected).collect();
            let found = match touched.named(relation, 0, many) {
                Named::All => (0..many).collect(),
                Named::Only(named) => named,
            };
            assert_eq!(found, expected, "{relation:?} with limit {limit}");
        }
    }
}

/// All segments that were archived, in their order.
fn archived(folder: &Path) -> Vec<(Segment, PathBuf)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named =
        files.filter_map(|path| Some((Segment::parse(path.file_name()?.to_str()?).ok()?, path)));
    let mut segments: Vec<_> = named.collect();
    segments.sort();
    segments
}

fn told(folder: &Path, (first, last): (Segment, Segment)) -> Told {
    let mut command = program("pg_waldump");
    command.arg("-p").arg(folder).args([first.to_string(), last.to_string()]);
    let said = succeeds(&mut command).stdout;
    let mut told = Told::default();
    String::from_utf8(said).unwrap().lines().for_each(|line| told.line(line));
    told
}

async fn is_read_as_by_postgresql(mebibytes: u64, seed: u64) {
    let base = folder();
    let size = SegmentSize::new(Bytes(mebibytes << 20)).unwrap();
    let words = ["-k".to_owned(), format!("--wal-segsize={mebibytes}")];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let settings = "max_prepared_transactions = 5\nwal_keep_size = 0\n";
    let mut server = Server::with(base.path(), &words, settings);
    let mut deeds = Deeds::new(&mut server, base.path(), Random(seed)).await;
    deeds.indexed().await;
    for kind in 0..Deeds::KINDS {
        deeds.one(kind).await;
    }
    for _ in 0..30 {
        deeds.any().await;
    }
    deeds.archive().await;
    drop(deeds);
    server.stop();
    let folder = base.path().join("archive");
    let segments = archived(&folder);
    let (mut joined, mut split) = (Joined::default(), 0);
    for (segment, path) in &segments {
        let content = std::fs::read(path).unwrap();
        let mut walk = Walk::new(*segment, size);
        // As bytes come from a disk: never a page.
        content.chunks(10_007).for_each(|some| walk.feed(some));
        let map = walk.finish().unwrap_or_else(|why| panic!("{segment}: {why}"));
        split += u32::from(matches!(map.continued, Continued::Rest(_)));
        joined.add(map).unwrap_or_else(|why| panic!("{segment}: {why}"));
    }
    let (first, last) = (segments[0].0, segments[segments.len() - 1].0);
    let told = told(&folder, (first, last));
    assert!(split > 0 || mebibytes > 1, "no record lies in two of {} segments", segments.len());
    told.assert_is(&joined.end());
    for manager in [
        "XLOG",
        "Transaction",
        "Storage",
        "Database",
        "Tablespace",
        "MultiXact",
        "RelMap",
        "Standby",
        "Heap2",
        "Heap",
        "Btree",
        "Hash",
        "Gin",
        "Gist",
        "Sequence",
        "SPGist",
        "BRIN",
    ] {
        assert!(told.managers.contains(manager), "{manager} is not in {:?}", told.managers);
    }
    assert!(!told.databases.is_empty() && !told.limits.is_empty());
}

#[tokio::test]
async fn what_changes_is_read_as_postgresql_reads_it() {
    is_read_as_by_postgresql(16, 1).await;
}

/// Many records lie in two segments.
#[tokio::test]
async fn so_it_is_where_segments_are_small() {
    is_read_as_by_postgresql(1, 2).await;
}
