//! How do the blocks of bitshuffle come apart?
//!
//! Detector counts are small numbers in wide types, so most of their bits are always zero. Bitshuffle puts
//! the same bit of all samples of a block side by side, and a fast codec then finds long runs:
//!
//! ```text
//! chunk    u64 BE decoded bytes | u32 BE block bytes | block | block | ... | last samples, as they are
//! block    u32 BE stored bytes | LZ4 block or Zstandard frame
//! decoded  plane(byte 0, bit 0) | plane(byte 0, bit 1) | ... | plane(byte k, bit 7)
//! plane    n/8 bytes; bit i % 8 of byte i / 8 is that bit of sample i
//! ```
//!
//! Without a codec there is no header, and the blocks follow each other. Every block holds
//! `block bytes / sample bytes` samples, the last one the largest multiple of eight that is left; fewer than
//! eight samples follow untouched. HDF5 knows this as filter 32008; the same frame around plain LZ4 blocks is
//! filter 32004.
//!
//! Reference: K. Masui et al., Astronomy and Computing 12 (2015) 181, doi:10.1016/j.ascom.2015.07.002.

use super::lz4_block;

/// Bytes of a block where the file leaves the size to the format.
const DEFAULT_BLOCK_BYTES: usize = 8192;

/// Samples come apart by eights.
const GROUP: usize = 8;

/// Samples whose bits fill the words of one transpose.
const TILE: usize = 64;

/// Transposes side by side, which the compiler makes into vector instructions: two words fill a register of
/// every x86-64 and AArch64 processor.
const WIDE: usize = 2;

/// What is around the planes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockCodec {
    /// Nothing: the chunk has no header either.
    Plain,
    /// Blocks of LZ4.
    Lz4,
    /// Frames of Zstandard.
    Zstd,
}

/// Decodes a chunk of filter 32008 into a buffer of its exact size.
///
/// `block_bytes` is what the filter's parameters say, 0 for the format's own size; where there is a codec,
/// the chunk's header counts instead.
///
/// # Errors
///
/// In words, where sizes contradict each other or a block does not decode to its size.
pub(crate) fn decode(
    stored: &[u8],
    codec: BlockCodec,
    sample_bytes: usize,
    block_bytes: usize,
    out: &mut [u8],
) -> Result<(), String> {
    if sample_bytes == 0 || !out.len().is_multiple_of(sample_bytes) {
        return Err(format!(
            "{} bytes are no whole samples of {sample_bytes} bytes",
            out.len()
        ));
    }
    let (mut rest, block_bytes) = match codec {
        BlockCodec::Plain => (stored, block_bytes),
        BlockCodec::Lz4 | BlockCodec::Zstd => frame(stored, out.len())?,
    };
    let block_bytes = match block_bytes {
        0 => (DEFAULT_BLOCK_BYTES / sample_bytes / GROUP * GROUP).max(GROUP) * sample_bytes,
        n => n,
    };
    let group_bytes = GROUP * sample_bytes;
    if !block_bytes.is_multiple_of(group_bytes) {
        return Err(format!(
            "blocks of {block_bytes} bytes do not hold samples by eights"
        ));
    }
    let n_shuffled = out.len() / group_bytes * group_bytes;
    let (shuffled, last) = out.split_at_mut(n_shuffled);
    let mut planes = vec![0; block_bytes.min(n_shuffled)];
    let mut decoder = Decoder::new(codec)?;
    for block in shuffled.chunks_mut(block_bytes) {
        if let Some(decoder) = &mut decoder {
            let (head, tail) = block_of(rest)?;
            let planes = &mut planes[..block.len()];
            decoder.decode(head, planes)?;
            unshuffle(planes, sample_bytes, block);
            rest = tail;
        } else {
            let (head, tail) = split(rest, block.len())?;
            unshuffle(head, sample_bytes, block);
            rest = tail;
        }
    }
    if rest.len() != last.len() {
        return Err(format!(
            "{} bytes follow the last block, {} should",
            rest.len(),
            last.len()
        ));
    }
    last.copy_from_slice(rest);
    Ok(())
}

/// Decodes a chunk of filter 32004, LZ4 blocks without a shuffle, into a buffer of its exact size.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn decode_lz4(stored: &[u8], out: &mut [u8]) -> Result<(), String> {
    let (mut rest, block_bytes) = frame(stored, out.len())?;
    if out.is_empty() {
        return Ok(());
    }
    if block_bytes == 0 {
        return Err("blocks of 0 bytes".to_owned());
    }
    for block in out.chunks_mut(block_bytes) {
        let (head, tail) = block_of(rest)?;
        // A block that would not shrink is stored as it is.
        if head.len() == block.len() {
            block.copy_from_slice(head);
        } else {
            Decoder::Lz4.decode(head, block)?;
        }
        rest = tail;
    }
    Ok(())
}

/// The part of a chunk behind its header, and the bytes of a block.
fn frame(stored: &[u8], n_bytes: usize) -> Result<(&[u8], usize), String> {
    let (header, rest) = split(stored, 12)?;
    let mut words = header.chunks_exact(4).map(big_endian);
    let mut word = || words.next().unwrap_or(0);
    let total = u64::from(word()) << 32 | u64::from(word());
    if total != n_bytes as u64 {
        return Err(format!(
            "the chunk says that it holds {total} bytes, its shape {n_bytes}"
        ));
    }
    Ok((rest, word() as usize))
}

/// The stored bytes of the next block, and the rest.
fn block_of(stored: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (len, rest) = split(stored, 4)?;
    split(rest, big_endian(len) as usize)
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), String> {
    bytes
        .split_at_checked(at)
        .ok_or_else(|| format!("{at} bytes are needed and {} are left", bytes.len()))
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b))
}

/// The codec of the blocks of one chunk; that of Zstandard keeps its tables from block to block.
enum Decoder {
    Lz4,
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
}

impl Decoder {
    fn new(codec: BlockCodec) -> Result<Option<Self>, String> {
        Ok(match codec {
            BlockCodec::Plain => None,
            BlockCodec::Lz4 => Some(Self::Lz4),
            BlockCodec::Zstd => {
                let decoder = zstd::bulk::Decompressor::new().map_err(|e| e.to_string())?;
                Some(Self::Zstd(Box::new(decoder)))
            }
        })
    }

    fn decode(&mut self, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        let n_bytes = match self {
            Self::Lz4 => return Ok(lz4_block::decode(stored, out)?),
            Self::Zstd(decoder) => decoder
                .decompress_to_buffer(stored, out)
                .map_err(|e| format!("a Zstandard block does not decode: {e}"))?,
        };
        if n_bytes != out.len() {
            return Err(format!(
                "a block decodes to {n_bytes} bytes, not {}",
                out.len()
            ));
        }
        Ok(())
    }
}

/// Puts the bits of a block's samples together. Both have the same length, a multiple of eight samples.
fn unshuffle(planes: &[u8], sample_bytes: usize, out: &mut [u8]) {
    match sample_bytes {
        1 => unshuffle_tiles::<1>(planes, out),
        2 => unshuffle_tiles::<2>(planes, out),
        4 => unshuffle_tiles::<4>(planes, out),
        8 => unshuffle_tiles::<8>(planes, out),
        _ => unshuffle_bits(planes, sample_bytes, 0, out),
    }
}

/// The definition, bit by bit, from a sample on.
fn unshuffle_bits(planes: &[u8], sample_bytes: usize, first: usize, out: &mut [u8]) {
    let n_plane = planes.len() / sample_bytes / 8;
    for (sample, bytes) in out.chunks_exact_mut(sample_bytes).enumerate().skip(first) {
        for (byte, out) in bytes.iter_mut().enumerate() {
            *out = (0..8).fold(0, |value, bit| {
                let plane = &planes[(8 * byte + bit) * n_plane..];
                value | (plane[sample / 8] >> (sample % 8) & 1) << bit
            });
        }
    }
}

/// The same, [`WIDE`] times 64 samples at a time.
///
/// Of each plane, eight bytes make a word; the eight words of one byte of the samples are 64 x 8 bits. Their
/// transpose holds in word `g` that byte of the samples `8 g` to `8 g + 7`.
fn unshuffle_tiles<const N: usize>(planes: &[u8], out: &mut [u8]) {
    let n_plane = planes.len() / N / 8;
    let (samples, _) = out.as_chunks_mut::<N>();
    let (tiles, _) = samples.as_chunks_mut::<{ WIDE * TILE }>();
    let n_tiles = tiles.len();
    for (tile, samples) in tiles.iter_mut().enumerate() {
        let mut bytes = [[0_u8; WIDE * TILE]; N];
        for (byte, bytes) in bytes.iter_mut().enumerate() {
            let mut words = [[0; WIDE]; 8];
            for (bit, words) in words.iter_mut().enumerate() {
                let at = (8 * byte + bit) * n_plane + 8 * WIDE * tile;
                let (chunks, _) = planes[at..at + 8 * WIDE].as_chunks::<8>();
                for (word, chunk) in words.iter_mut().zip(chunks) {
                    *word = u64::from_le_bytes(*chunk);
                }
            }
            transpose(&mut words);
            let (lanes, _) = bytes.as_chunks_mut::<8>();
            for (group, words) in words.iter().enumerate() {
                for (wide, word) in words.iter().enumerate() {
                    lanes[8 * wide + group] = word.to_le_bytes();
                }
            }
        }
        for (sample, out) in samples.iter_mut().enumerate() {
            *out = std::array::from_fn(|byte| bytes[byte][sample]);
        }
    }
    unshuffle_bits(planes, N, n_tiles * WIDE * TILE, out);
}

/// Transposes, for each column of words, first the bits inside each of their bytes, then the bytes, in six
/// rounds of exchanges: bit `i` of byte `g` in word `b` goes to bit `b` of byte `i` in word `g`.
fn transpose(words: &mut [[u64; WIDE]; 8]) {
    const ROUNDS: [(usize, usize, u64); 6] = [
        (4, 4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 2, 0x3333_3333_3333_3333),
        (1, 1, 0x5555_5555_5555_5555),
        (4, 32, 0x0000_0000_ffff_ffff),
        (2, 16, 0x0000_ffff_0000_ffff),
        (1, 8, 0x00ff_00ff_00ff_00ff),
    ];
    for (step, shift, mask) in ROUNDS {
        for low in (0..8).filter(|word| word & step == 0) {
            let (before, after) = words.split_at_mut(low + step);
            for (low, high) in before[low].iter_mut().zip(&mut after[0]) {
                let exchanged = (*low >> shift ^ *high) & mask;
                *high ^= exchanged;
                *low ^= exchanged << shift;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// Bytes without a pattern that a wrong order could hide behind.
    fn noise(n: usize) -> Vec<u8> {
        (0..n as u32)
            .map(|idx| (idx.wrapping_mul(2_654_435_761).rotate_left(9) >> 3) as u8)
            .collect()
    }

    fn shuffle_bits(samples: &[u8], sample_bytes: usize) -> Vec<u8> {
        let n_plane = samples.len() / sample_bytes / 8;
        let mut planes = vec![0; samples.len()];
        for (sample, bytes) in samples.chunks_exact(sample_bytes).enumerate() {
            for (byte, value) in bytes.iter().enumerate() {
                for bit in 0..8 {
                    planes[(8 * byte + bit) * n_plane + sample / 8] |=
                        (value >> bit & 1) << (sample % 8);
                }
            }
        }
        planes
    }

    #[test]
    fn tiles_are_the_bits() {
        for sample_bytes in [1, 2, 3, 4, 8] {
            for n_samples in [0, 8, 56, 64, 72, 128, 136, 2048 + 24] {
                let samples = noise(n_samples * sample_bytes);
                let planes = shuffle_bits(&samples, sample_bytes);
                let mut plain = vec![0; samples.len()];
                unshuffle_bits(&planes, sample_bytes, 0, &mut plain);
                let mut fast = vec![0; samples.len()];
                unshuffle(&planes, sample_bytes, &mut fast);
                assert_eq!(plain, samples, "{sample_bytes} {n_samples}");
                assert_eq!(fast, samples, "{sample_bytes} {n_samples}");
            }
        }
    }

    /// A chunk as the filter writes it.
    fn encode(samples: &[u8], codec: BlockCodec, sample_bytes: usize, block: usize) -> Vec<u8> {
        let group = 8 * sample_bytes;
        let (shuffled, last) = samples.split_at(samples.len() / group * group);
        let mut stored = Vec::new();
        if codec != BlockCodec::Plain {
            stored.extend((samples.len() as u64).to_be_bytes());
            stored.extend((block as u32).to_be_bytes());
        }
        for block in shuffled.chunks(block) {
            let planes = shuffle_bits(block, sample_bytes);
            let packed = match codec {
                BlockCodec::Plain => {
                    stored.extend(planes);
                    continue;
                }
                BlockCodec::Lz4 => lz4_flex::block::compress(&planes),
                BlockCodec::Zstd => zstd::bulk::compress(&planes, 1).unwrap(),
            };
            stored.extend((packed.len() as u32).to_be_bytes());
            stored.extend(packed);
        }
        stored.extend(last);
        stored
    }

    #[test]
    fn chunks_come_back_and_damaged_ones_are_errors() {
        for codec in [BlockCodec::Plain, BlockCodec::Lz4, BlockCodec::Zstd] {
            for (sample_bytes, n_samples, block) in [(2, 1001, 512), (4, 36, 4096), (1, 7, 64)] {
                let samples = noise(n_samples * sample_bytes);
                let stored = encode(&samples, codec, sample_bytes, block);
                let mut out = vec![0; samples.len()];
                decode(&stored, codec, sample_bytes, block, &mut out).unwrap();
                assert_eq!(out, samples, "{codec:?} {sample_bytes}");
                for len in 0..stored.len() {
                    assert!(decode(&stored[..len], codec, sample_bytes, block, &mut out).is_err());
                }
                let mut longer = vec![0; out.len() + 8 * sample_bytes];
                assert!(decode(&stored, codec, sample_bytes, block, &mut longer).is_err());
                for bit in 0..stored.len() * 8 {
                    let mut damaged = stored.clone();
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    // Without a checksum a flip in the counts cannot be seen; none may end the program.
                    let _ = decode(&damaged, codec, sample_bytes, block, &mut out);
                }
            }
        }
        let samples = noise(1000);
        let mut stored = 1000_u64.to_be_bytes().to_vec();
        stored.extend(400_u32.to_be_bytes());
        for block in samples.chunks(400) {
            let packed = lz4_flex::block::compress(block);
            let packed = if packed.len() < block.len() {
                &packed
            } else {
                block
            };
            stored.extend((packed.len() as u32).to_be_bytes());
            stored.extend(packed);
        }
        let mut out = vec![0; 1000];
        decode_lz4(&stored, &mut out).unwrap();
        assert_eq!(out, samples);
        assert!(decode_lz4(&stored[..stored.len() - 1], &mut out).is_err());
    }
}
