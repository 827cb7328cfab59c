//! The map of a segment as an object of a repository: JSON and its sum, packed with Zstandard.
//!
//! Never takes what is not wholly understood for a map.

use super::segment::{Continued, SegmentMap, Tail};
use super::touched::{Database, Relation, Touched};
use crate::compression::{Compression, unpacked};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgherd_core::units::{Bytes as Size, Lsn, SystemId};
use pgherd_core::wal::{Segment, SegmentSize};
use serde::{Deserialize, Serialize};
use std::io;

/// What is written; readers refuse others.
const FORMAT: u32 = 1;
/// Packed or not: a segment of a gibibyte that names a million pages one by one is below this.
const LARGEST: Size = Size(64 << 20);

/// Why an object is no map.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("it cannot be unpacked")]
    Unpack { source: io::Error },
    #[error("its sum is another one")]
    Sum,
    #[error("it is no map of a segment")]
    Parse { source: serde_json::Error },
    #[error("another pgherd wrote it")]
    Format,
    #[error("it is that of another segment")]
    OfAnother,
    #[error("its {0} is damaged")]
    Field(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    format: u32,
    segment: String,
    /// The size of segments.
    size: u64,
    system: u64,
    sum: u32,
    /// The rest of a record that began before, or nothing of one that was abandoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rest: Option<String>,
    #[serde(default)]
    abandoned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<(u64, String)>,
    everything: bool,
    /// Tablespace and database.
    databases: Vec<(u32, u32)>,
    relations: Vec<Pages>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pages {
    /// Tablespace, database and the number of the files.
    of: (u32, u32, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    /// The first page of a run, and how many there are.
    runs: Vec<(u32, u32)>,
}

impl SegmentMap {
    pub(crate) fn pack(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(&self.document())?;
        // A digit that is another one would hide a page.
        text.extend(crc_fast::crc32_iscsi(&text).to_be_bytes());
        let mut packed = Vec::new();
        Compression::Zstd.pack(&mut text.as_slice(), &mut packed)?;
        Ok(packed)
    }

    pub(crate) fn unpack(segment: Segment, packed: &[u8]) -> Result<Self, Unusable> {
        let text = unpacked(Compression::Zstd, packed, LARGEST);
        let text = text.map_err(|source| Unusable::Unpack { source })?;
        let (text, sum) = text.split_last_chunk::<4>().ok_or(Unusable::Sum)?;
        if crc_fast::crc32_iscsi(text) != u32::from_be_bytes(*sum) {
            return Err(Unusable::Sum);
        }
        Self::parse(segment, text)
    }

    fn document(&self) -> Document {
        let (rest, abandoned) = match &self.continued {
            Continued::Nothing => (None, false),
            Continued::Rest(bytes) => (Some(STANDARD.encode(bytes)), false),
            Continued::Abandoned => (None, true),
        };
        let tail = self.tail.as_ref().map(|tail| (tail.at.0, STANDARD.encode(&tail.bytes)));
        let databases = self.touched.databases();
        let relations = self.touched.told().map(|told| {
            let Relation { of: Database { tablespace, database }, number } = told.relation;
            Pages { of: (tablespace, database, number), from: told.limit, runs: told.runs }
        });
        Document {
            format: FORMAT,
            segment: self.segment.to_string(),
            size: self.size.bytes().0,
            system: self.system.0,
            sum: self.sum,
            rest,
            abandoned,
            previous: self.previous.map(|lsn| lsn.0),
            last: self.last.map(|lsn| lsn.0),
            tail,
            everything: self.touched.is_everything(),
            databases: databases.map(|one| (one.tablespace, one.database)).collect(),
            relations: relations.collect(),
        }
    }

    fn parse(segment: Segment, text: &[u8]) -> Result<Self, Unusable> {
        let read: Document =
            serde_json::from_slice(text).map_err(|source| Unusable::Parse { source })?;
        if read.format != FORMAT {
            return Err(Unusable::Format);
        }
        if read.segment != segment.to_string() {
            return Err(Unusable::OfAnother);
        }
        let size = SegmentSize::new(Size(read.size)).map_err(|_| Unusable::Field("size"))?;
        let bytes = |name, text: &str| STANDARD.decode(text).map_err(|_| Unusable::Field(name));
        let continued = match (&read.rest, read.abandoned) {
            (None, false) => Continued::Nothing,
            (None, true) => Continued::Abandoned,
            (Some(rest), false) => Continued::Rest(bytes("rest", rest)?),
            (Some(_), true) => return Err(Unusable::Field("rest")),
        };
        let tail = match &read.tail {
            None => None,
            Some((at, text)) => Some(Tail { at: Lsn(*at), bytes: bytes("tail", text)? }),
        };
        Ok(Self {
            segment,
            size,
            system: SystemId(read.system),
            sum: read.sum,
            continued,
            previous: read.previous.map(Lsn),
            last: read.last.map(Lsn),
            tail,
            touched: read.touched(),
        })
    }
}

impl Document {
    fn touched(&self) -> Touched {
        let mut touched = Touched::default();
        if self.everything {
            touched.all();
        }
        for (tablespace, database) in &self.databases {
            touched.database(Database { tablespace: *tablespace, database: *database });
        }
        for Pages { of: (tablespace, database, number), from, runs } in &self.relations {
            let of = Database { tablespace: *tablespace, database: *database };
            let relation = Relation { of, number: *number };
            for run in runs {
                touched.pages(relation, *run);
            }
            if let Some(from) = from {
                touched.limit(relation, *from);
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockmap::Named;

    fn one() -> SegmentMap {
        let relation = |number| Relation { of: Database { tablespace: 1663, database: 5 }, number };
        let mut touched = Touched::default();
        touched.pages(relation(16385), (60, 10));
        touched.limit(relation(16386), 7);
        touched.database(Database { tablespace: 16384, database: 6 });
        SegmentMap {
            segment: Segment::parse("000000010000000000000005").unwrap(),
            size: SegmentSize::DEFAULT,
            system: SystemId(7_710_954_695_479_462_778),
            sum: 3,
            continued: Continued::Rest(vec![1, 2, 3]),
            previous: Some(Lsn(0x4FF_FF00)),
            last: Some(Lsn(0x5FF_FF00)),
            tail: Some(Tail { at: Lsn(0x5FF_FFF0), bytes: vec![4, 5] }),
            touched,
        }
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let one = one();
        assert_eq!(SegmentMap::unpack(one.segment, &one.pack().unwrap()).unwrap(), one);
        let other = Segment::parse("000000010000000000000006").unwrap();
        assert!(matches!(
            SegmentMap::unpack(other, &one.pack().unwrap()),
            Err(Unusable::OfAnother)
        ));
        let mut plain = unpacked(Compression::Zstd, &one.pack().unwrap(), LARGEST).unwrap();
        plain[20] ^= 1;
        let mut packed = Vec::new();
        Compression::Zstd.pack(&mut plain.as_slice(), &mut packed).unwrap();
        assert!(matches!(SegmentMap::unpack(one.segment, &packed), Err(Unusable::Sum)));
        let text = serde_json::to_string(&one.document()).unwrap();
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"size\":16777216", "\"size\":16777217"),
            ("\"abandoned\":false", "\"abandoned\":true"),
            ("AQID", "A"),
            ("\"everything\":false,", ""),
        ] {
            assert!(text.contains(from), "{text}");
            let changed = text.replacen(from, to, 1);
            SegmentMap::parse(one.segment, changed.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn fuzzed() {
        let one = one();
        let feed = |bytes: &[u8]| {
            let read = SegmentMap::parse(one.segment, bytes);
            if let Ok(read) = &read {
                let again = serde_json::to_vec(&read.document()).unwrap();
                let again = SegmentMap::parse(one.segment, &again).unwrap();
                let relation =
                    Relation { of: Database { tablespace: 1663, database: 5 }, number: 16385 };
                let named = |map: &SegmentMap| map.touched.named(relation, 0, 100);
                assert_eq!(named(&again), named(read));
                assert!(named(read) != Named::Only(vec![100]));
            }
            crate::fuzz::outcome(&read)
        };
        crate::fuzz::fuzz(2000, vec![serde_json::to_vec(&one.document()).unwrap()], feed);
    }
}
