//! Packs a stream in chunks that are independent of each other, so that several processors can
//! share one stream and each chunk can be unpacked alone.
//!
//! Never makes what an ordinary program would not read: a gzip stream is one member, an LZ4 stream
//! is one frame.

use crate::compression::Compression;
use crc_fast::CrcAlgorithm::Crc32IsoHdlc;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use std::io;

/// How the archives of a backup are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    Plain,
    /// Every barman reads it.
    #[default]
    Gzip,
    /// barman reads it from 3.18 on.
    Lz4,
    /// No barman reads it.
    Zstd,
}

/// What an LZ4 stream may hold in one block.
const LZ4_BLOCK: usize = 4 << 20;
const LZ4_STORED: u32 = 1 << 31;
/// Magic number, independent blocks of at most 4 MiB without checksums, and the header's own sum.
const LZ4_OPENING: &[u8] = &[0x04, 0x22, 0x4D, 0x18, 0x60, 0x70, 0x73];
/// Magic number, deflate, no name, no time, fastest, of an unknown system.
const GZIP_OPENING: &[u8] = &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255];
/// A last block without content.
const DEFLATE_END: &[u8] = &[3, 0];

impl Packing {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Gzip, Self::Lz4, Self::Zstd];

    pub fn compression(self) -> Compression {
        match self {
            Self::Plain => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }

    pub fn of(compression: Compression) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.compression() == compression)
    }

    /// What a stream begins with.
    pub fn opening(self) -> &'static [u8] {
        match self {
            Self::Plain | Self::Zstd => &[],
            Self::Gzip => GZIP_OPENING,
            Self::Lz4 => LZ4_OPENING,
        }
    }
}

/// What the end of a stream says about all of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Closing {
    sum: u32,
    length: u64,
}

/// The sum of one chunk that [`Closing`] needs; zero where none is.
pub(super) type ChunkSum = u32;

impl Closing {
    /// Adds the next chunk of the stream.
    pub(super) fn add(&mut self, sum: ChunkSum, length: usize) {
        let length = length as u64;
        let whole = crc_fast::checksum_combine(Crc32IsoHdlc, self.sum.into(), sum.into(), length);
        self.sum = u32::try_from(whole & u64::from(u32::MAX)).unwrap_or_default();
        self.length += length;
    }

    pub(super) fn bytes(self, packing: Packing) -> Vec<u8> {
        match packing {
            Packing::Plain | Packing::Zstd => Vec::new(),
            Packing::Lz4 => vec![0; 4],
            Packing::Gzip => {
                // The format holds the length modulo 2^32.
                let length = u32::try_from(self.length & u64::from(u32::MAX)).unwrap_or_default();
                [DEFLATE_END, &self.sum.to_le_bytes(), &length.to_le_bytes()].concat()
            }
        }
    }
}

/// Packs chunks, one after the other, and keeps its tables for the next.
pub struct Packer {
    packing: Packing,
    deflate: Compress,
    zstd: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
}

impl Packer {
    pub fn new(packing: Packing) -> io::Result<Self> {
        Ok(Self {
            packing,
            deflate: Compress::new(flate2::Compression::fast(), false),
            zstd: zstd::bulk::Compressor::new(1)?,
            scratch: Vec::new(),
        })
    }

    /// The packed chunk, which takes no more memory than it needs. What it was made of may be gone.
    pub fn pack(&mut self, plain: &mut Vec<u8>) -> io::Result<(Vec<u8>, ChunkSum)> {
        self.scratch.clear();
        let mut sum = 0;
        match self.packing {
            Packing::Plain => return Ok((std::mem::take(plain), sum)),
            Packing::Gzip => {
                sum = crc_fast::crc32_iso_hdlc(plain);
                self.deflate(plain)?;
            }
            Packing::Lz4 => {
                for block in plain.chunks(LZ4_BLOCK) {
                    lz4_block(block, &mut self.scratch)?;
                }
            }
            Packing::Zstd => {
                self.scratch.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                self.zstd.compress_to_buffer(plain.as_slice(), &mut self.scratch)?;
            }
        }
        Ok((self.scratch.as_slice().to_vec(), sum))
    }

    fn deflate(&mut self, plain: &[u8]) -> io::Result<()> {
        self.deflate.reset();
        // What does not shrink grows by a bit in eight at this level.
        self.scratch.reserve(plain.len() + plain.len() / 8 + 1024);
        loop {
            let read = usize::try_from(self.deflate.total_in()).map_err(io::Error::other)?;
            let rest = plain.get(read..).unwrap_or_default();
            let flush = FlushCompress::Sync;
            self.deflate.compress_vec(rest, &mut self.scratch, flush).map_err(io::Error::other)?;
            let all_read = self.deflate.total_in() == plain.len() as u64;
            if all_read && self.scratch.len() < self.scratch.capacity() {
                return Ok(());
            }
            self.scratch.reserve(1 << 16);
        }
    }
}

/// The length of a block and the block, stored as it is when it does not shrink.
fn lz4_block(plain: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    let start = packed.len() + 4;
    packed.resize(start + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
    let space = packed.get_mut(start..).unwrap_or_default();
    let length = lz4_flex::block::compress_into(plain, space).map_err(io::Error::other)?;
    packed.truncate(start + length);
    let mut word = u32::try_from(length).map_err(io::Error::other)?;
    if length >= plain.len() {
        packed.truncate(start);
        packed.extend_from_slice(plain);
        word = LZ4_STORED | u32::try_from(plain.len()).map_err(io::Error::other)?;
    }
    if let Some(place) = packed.get_mut(start - 4..start) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Ok(())
}

/// Unpacks chunks, one after the other.
pub struct Unpacker {
    deflate: Decompress,
    zstd: zstd::bulk::Decompressor<'static>,
}

impl Unpacker {
    pub fn new() -> io::Result<Self> {
        Ok(Self { deflate: Decompress::new(false), zstd: zstd::bulk::Decompressor::new()? })
    }

    /// Fills `plain` with a chunk that has to have this length.
    pub fn unpack(&mut self, packing: Packing, packed: &[u8], plain: &mut [u8]) -> io::Result<()> {
        let length = match packing {
            Packing::Plain => {
                if packed.len() == plain.len() {
                    plain.copy_from_slice(packed);
                }
                packed.len()
            }
            Packing::Gzip => self.inflate(packed, plain)?,
            Packing::Lz4 => lz4_unblock(packed, plain)?,
            Packing::Zstd => self.zstd.decompress_to_buffer(packed, plain)?,
        };
        if length == plain.len() { Ok(()) } else { Err(damaged()) }
    }

    fn inflate(&mut self, packed: &[u8], plain: &mut [u8]) -> io::Result<usize> {
        self.deflate.reset(false);
        loop {
            let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
            let from = usize::try_from(read).map_err(io::Error::other)?;
            let to = usize::try_from(written).map_err(io::Error::other)?;
            let rest = packed.get(from..).unwrap_or_default();
            let space = plain.get_mut(to..).unwrap_or_default();
            if space.is_empty() {
                return Ok(to);
            }
            let flush = FlushDecompress::Sync;
            self.deflate.decompress(rest, space, flush).map_err(io::Error::other)?;
            if (read, written) == (self.deflate.total_in(), self.deflate.total_out()) {
                return Ok(to);
            }
        }
    }
}

fn lz4_unblock(mut packed: &[u8], plain: &mut [u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some((word, rest)) = packed.split_first_chunk::<4>() {
        let word = u32::from_le_bytes(*word);
        let length = usize::try_from(word & !LZ4_STORED).map_err(io::Error::other)?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let space = plain.get_mut(written..).unwrap_or_default();
        written += if word & LZ4_STORED == 0 {
            lz4_flex::block::decompress_into(block, space).map_err(io::Error::other)?
        } else {
            space.get_mut(..length).ok_or_else(damaged)?.copy_from_slice(block);
            length
        };
        packed = rest;
    }
    Ok(written)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the chunk is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream of these chunks, and where each chunk lies in it.
    fn stream(packing: Packing, chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
        let (mut stream, mut places) = (packing.opening().to_vec(), Vec::new());
        let mut closing = Closing::default();
        let mut packer = Packer::new(packing).unwrap();
        for chunk in chunks {
            let (packed, sum) = packer.pack(&mut chunk.clone()).unwrap();
            closing.add(sum, chunk.len());
            places.push(stream.len()..stream.len() + packed.len());
            stream.extend(packed);
        }
        stream.extend(closing.bytes(packing));
        (stream, places)
    }

    fn check(packing: Packing, chunks: &[Vec<u8>]) {
        let (stream, places) = stream(packing, chunks);
        let mut whole = Vec::new();
        let mut reader: Box<dyn io::Read> = match packing {
            // The strict reader: one member and nothing after it.
            Packing::Gzip => Box::new(flate2::bufread::GzDecoder::new(stream.as_slice())),
            Packing::Plain | Packing::Lz4 | Packing::Zstd => {
                packing.compression().reader(stream.as_slice()).unwrap()
            }
        };
        io::Read::read_to_end(&mut reader, &mut whole).unwrap();
        assert!(whole == chunks.concat(), "{packing:?}");
        let mut unpacker = Unpacker::new().unwrap();
        for (place, chunk) in places.into_iter().zip(chunks).rev() {
            let mut plain = vec![0; chunk.len()];
            unpacker.unpack(packing, &stream[place], &mut plain).unwrap();
            assert!(&plain == chunk, "{packing:?}");
        }
    }

    #[test]
    fn large_chunks_of_every_kind_read_back() {
        let zeros = vec![0; 9 << 20];
        let counted: Vec<u8> = (0..1_200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut state = 7_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        let noise: Vec<u8> = (0..5 << 20).map(|_| noise()).collect();
        for packing in Packing::ALL {
            check(packing, &[zeros.clone(), counted.clone(), noise.clone(), vec![1]]);
        }
    }

    #[test]
    fn a_damaged_chunk_is_refused_or_unpacks_to_its_length() {
        let chunk: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut unpacker = Unpacker::new().unwrap();
        for packing in Packing::ALL {
            let (packed, _) = Packer::new(packing).unwrap().pack(&mut chunk.clone()).unwrap();
            let mut plain = vec![0; chunk.len()];
            let cut = &packed[..packed.len() / 2];
            assert!(unpacker.unpack(packing, cut, &mut plain).is_err(), "{packing:?}");
            let mut short = vec![0; chunk.len() + 1];
            assert!(unpacker.unpack(packing, &packed, &mut short).is_err(), "{packing:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_read_back(chunks in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 1..5000), 1..6)) {
            for packing in Packing::ALL {
                check(packing, &chunks);
            }
        }

        #[test]
        fn nothing_unpacks_into_a_crash(packed: Vec<u8>, length in 0..10_000_usize) {
            for packing in Packing::ALL {
                let mut plain = vec![0; length];
                let _either = Unpacker::new().unwrap().unpack(packing, &packed, &mut plain);
            }
        }
    }

    #[test]
    fn fuzzed() {
        const ALL: [Packing; 4] = [Packing::Plain, Packing::Gzip, Packing::Lz4, Packing::Zstd];
        let plain: Vec<u8> = (0..5000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let packed = |(number, one): (u8, Packing)| {
            let packed = Packer::new(one).unwrap().pack(&mut plain.clone()).unwrap().0;
            [vec![number], packed].concat()
        };
        let samples = (0..).zip(ALL).map(packed).collect();
        let unpacker = std::cell::RefCell::new(Unpacker::new().unwrap());
        let feed = |bytes: &[u8]| {
            let Some((number, packed)) = bytes.split_first() else { return String::new() };
            let packing = ALL[usize::from(*number) % ALL.len()];
            let mut buffer = vec![0; plain.len()];
            let mut unpacker = unpacker.borrow_mut();
            let unpacked = unpacker.unpack(packing, packed, &mut buffer);
            if packing == Packing::Plain {
                assert_eq!(unpacked.is_ok(), packed.len() == plain.len());
            }
            // A chunk that was broken must not spoil the next one.
            let whole = Packer::new(packing).unwrap().pack(&mut plain.clone()).unwrap().0;
            unpacker.unpack(packing, &whole, &mut buffer).unwrap();
            assert!(buffer == plain, "what comes after a damaged chunk differs");
            format!("{packing:?}: {}", crate::fuzz::outcome(&unpacked))
        };
        crate::fuzz::fuzz(1000, samples, feed);
    }
}
