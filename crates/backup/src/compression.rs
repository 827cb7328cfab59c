//! Packs and unpacks what is stored, by the suffix that barman gives it.
//!
//! Never unpacks more than is asked for: what a repository holds may be damaged or hostile.

use pgherd_core::units::Bytes;
use std::fmt;
use std::io::{self, Read, Write};

/// How an object is packed. barman 3.4, which Debian has, reads WAL only if it is plain, gzip or
/// bzip2; Zstandard, LZ4 and xz are read from barman 3.12 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Snappy,
    Xz,
    Zstd,
    Lz4,
}

/// In KiB: twice what the highest level of xz wants.
const XZ_MEMORY: u32 = 128 << 10;

impl Compression {
    pub const ALL: [Self; 7] =
        [Self::Gzip, Self::None, Self::Zstd, Self::Lz4, Self::Bzip2, Self::Snappy, Self::Xz];

    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Snappy => ".snappy",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Lz4 => ".lz4",
        }
    }

    /// The name without its suffix, and what the suffix says.
    pub fn of(name: &str) -> (&str, Self) {
        let mut packed = Self::ALL.into_iter().filter(|one| *one != Self::None);
        let found = packed.find_map(|one| Some((name.strip_suffix(one.suffix())?, one)));
        found.unwrap_or((name, Self::None))
    }

    /// What unpacks all that is read through it.
    pub fn reader<'a>(
        self,
        packed: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Self::Snappy => Box::new(snap::read::FrameDecoder::new(packed)),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, XZ_MEMORY)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(packed)?),
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        })
    }

    /// Packs what `plain` gives, quickly rather than small: the log is written once and seldom
    /// read.
    pub fn pack(self, plain: &mut dyn Read, packed: impl Write) -> io::Result<()> {
        match self {
            Self::None => copy(plain, packed).map(drop),
            Self::Gzip => {
                let level = flate2::Compression::fast();
                copy(plain, flate2::write::GzEncoder::new(packed, level))?.finish().map(drop)
            }
            Self::Bzip2 => {
                let level = bzip2::Compression::fast();
                copy(plain, bzip2::write::BzEncoder::new(packed, level))?.finish().map(drop)
            }
            Self::Snappy => copy(plain, snap::write::FrameEncoder::new(packed))?.flush(),
            Self::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(1);
                copy(plain, lzma_rust2::XzWriter::new(packed, options)?)?.finish().map(drop)
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(packed, 1)?;
                encoder.include_checksum(true)?;
                copy(plain, encoder)?.finish().map(drop)
            }
            Self::Lz4 => {
                let mut whole = lz4_flex::frame::FrameInfo::new();
                whole.content_checksum = true;
                let encoder = lz4_flex::frame::FrameEncoder::with_frame_info(whole, packed);
                copy(plain, encoder)?.finish().map(drop).map_err(io::Error::other)
            }
        }
    }
}

/// All of a small object.
pub fn unpacked(compression: Compression, packed: &[u8], limit: Bytes) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    compression.reader(packed)?.take(limit.0 + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > limit.0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than it may be"));
    }
    Ok(plain)
}

fn copy<W: Write>(plain: &mut dyn Read, mut packed: W) -> io::Result<W> {
    let mut chunk = vec![0; 1 << 17];
    loop {
        match plain.read(&mut chunk) {
            Ok(0) => return Ok(packed),
            Ok(length) => packed.write_all(chunk.get(..length).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Snappy => "snappy",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_read_back_as_written() {
        for one in Compression::ALL {
            assert_eq!(Compression::of(&format!("A.history{}", one.suffix())), ("A.history", one));
        }
        assert_eq!(Compression::of(".gz"), ("", Compression::Gzip));
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let plain: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for one in Compression::ALL {
            let mut packed = Vec::new();
            one.pack(&mut plain.as_slice(), &mut packed).unwrap();
            assert_eq!(packed.len() < plain.len(), one != Compression::None, "{one}");
            let mut unpacked = Vec::new();
            one.reader(packed.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{one}");
        }
    }

    #[test]
    fn fuzzed() {
        const LIMIT: usize = 1 << 20;
        let plain: Vec<u8> = (0..5000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let packed = |(number, one): (u8, Compression)| {
            let mut packed = vec![number];
            one.pack(&mut plain.as_slice(), &mut packed).unwrap();
            packed
        };
        let samples = (0..).zip(Compression::ALL).map(packed).collect();
        let feed = |bytes: &[u8]| {
            let Some((number, packed)) = bytes.split_first() else { return String::new() };
            let one = Compression::ALL[usize::from(*number) % Compression::ALL.len()];
            let plain = unpacked(one, packed, Bytes(LIMIT as u64));
            assert!(plain.as_ref().map_or(0, Vec::len) <= LIMIT);
            format!("{one}: {}", crate::fuzz::outcome(&plain))
        };
        crate::fuzz::fuzz(2000, samples, feed);
    }
}
