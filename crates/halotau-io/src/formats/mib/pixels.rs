//! How do stored bytes become counts?
//!
//! Processed pixels are big-endian numbers, row by row. Raw ones come as the chips send them, in big-endian words of 64 bits whose
//! first pixel is in the lowest bits:
//!
//! ```text
//! 1 bit     pixel k of a word = bit k                            64 pixels
//! 6 bits    pixel k of a word = bits 8k .. 8k+8                   8 pixels
//! 12 bits   pixel k of a word = bits 16k .. 16k+16                4 pixels
//! 24 bits   two frames of 12 bits: (first << 12) + second
//! ```
//!
//! Four chips are sent side by side, and the lower two are mounted upside down:
//!
//! ```text
//!               b3           b2
//! b0 b1 b2 b3 → b1 turned    b0 turned          (turned by 180°)
//! ```

use halotau::series::{SampleType, Samples};

use super::header::{FrameHeader, Kind};
use crate::sample_bytes::copy_at;

/// Bits of a counter in a raw recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    Six,
    Twelve,
    TwentyFour,
}

impl Depth {
    fn of(bits: u64) -> Option<Self> {
        Some(match bits {
            1 => Self::One,
            6 => Self::Six,
            12 => Self::Twelve,
            24 => Self::TwentyFour,
            _ => return None,
        })
    }

    /// Pixels in a word of 64 bits.
    fn per_word(self) -> usize {
        match self {
            Self::One => 64,
            Self::Six => 8,
            Self::Twelve | Self::TwentyFour => 4,
        }
    }
}

/// How a frame is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Storage {
    Processed,
    Raw {
        depth: Depth,
        /// Four chips, to be put in two rows.
        quad: bool,
    },
}

/// Size and storage of the frames of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    pub(super) sample_type: SampleType,
    /// Stored bytes of a frame.
    pub(super) n_bytes: usize,
    storage: Storage,
}

impl Pixels {
    /// From a header; `depth` is that of the sidecar, for headers without a tail.
    pub(super) fn of(header: &FrameHeader, depth: Option<u64>) -> Result<Self, String> {
        // Both are at most 65536, so that their products with small numbers are counted in 64 bits.
        let (rows, cols) = (header.n_rows as usize, header.n_cols as usize);
        let n_bytes = match header.kind {
            Kind::Raw => return Self::raw(header, depth),
            Kind::Processed(n_bytes) => n_bytes,
        };
        let sample_type = match n_bytes {
            1 => SampleType::U8,
            2 => SampleType::U16,
            _ => SampleType::U32,
        };
        Ok(Self {
            n_rows: rows,
            n_cols: cols,
            sample_type,
            n_bytes: checked(rows, cols, n_bytes)?,
            storage: Storage::Processed,
        })
    }

    fn raw(header: &FrameHeader, depth: Option<u64>) -> Result<Self, String> {
        let Some(bits) = header.depth.or(depth) else {
            return Err(
                "the depth of the raw counters is stated neither after MQ1A nor in a .hdr file"
                    .to_owned(),
            );
        };
        let Some(depth) = Depth::of(bits) else {
            return Err(format!(
                "raw counters of {bits} bits; 1, 6, 12 and 24 are read"
            ));
        };
        let (rows, mut cols) = (header.n_rows as usize, header.n_cols as usize);
        if depth == Depth::TwentyFour {
            if !cols.is_multiple_of(2) {
                return Err(format!(
                    "the {cols} columns of a raw frame of 24 bits are not even"
                ));
            }
            cols /= 2;
        }
        let two_rows = header.layout.starts_with("2x2");
        let quad = match header.n_chips {
            1 => false,
            4 if two_rows => true,
            n if two_rows => {
                return Err(format!(
                    "raw frames of {n} of the 4 chips of a {} sensor are not read; record them processed",
                    header.layout
                ));
            }
            _ => false,
        };
        if quad && (!cols.is_multiple_of(4) || rows > cols / 4) {
            return Err(format!(
                "a raw frame of four chips has four blocks side by side, which {rows} rows and {cols} columns do not"
            ));
        }
        let stored = checked(rows, cols, 1)?;
        if !stored.is_multiple_of(depth.per_word()) {
            return Err(format!(
                "{rows} x {cols} raw pixels are no whole number of 64-bit words"
            ));
        }
        let n_bytes = match depth {
            Depth::One => stored / 8,
            Depth::Six => stored,
            Depth::Twelve => checked(rows, cols, 2)?,
            Depth::TwentyFour => checked(rows, cols, 4)?,
        };
        let (n_rows, n_cols) = if quad {
            (2 * rows, cols / 2)
        } else {
            (rows, cols)
        };
        Ok(Self {
            n_rows,
            n_cols,
            sample_type: match depth {
                Depth::One | Depth::Six => SampleType::U8,
                Depth::Twelve => SampleType::U16,
                Depth::TwentyFour => SampleType::U32,
            },
            n_bytes,
            storage: Storage::Raw { depth, quad },
        })
    }

    /// Whether several chips of a raw recording are taken as they are stored, side by side.
    pub(super) fn is_raw_row(&self, n_chips: u64) -> bool {
        n_chips > 1 && matches!(self.storage, Storage::Raw { quad: false, .. })
    }

    /// Decodes a frame into `samples` from index `at` on. `stored` is memory to be used again.
    pub(super) fn decode(
        &self,
        bytes: &[u8],
        samples: &mut Samples,
        at: usize,
        stored: &mut Samples,
    ) {
        let len = self.n_rows * self.n_cols;
        let Storage::Raw { depth, quad } = self.storage else {
            copy_at(samples, at, bytes, true);
            return;
        };
        macro_rules! decode {
            ($variant:ident, $unpack:expr) => {
                if let Samples::$variant(samples) = samples {
                    let pattern = &mut samples[at..at + len];
                    if !quad {
                        $unpack(bytes, pattern);
                        return;
                    }
                    if !matches!(stored, Samples::$variant(_)) {
                        *stored = Samples::$variant(Vec::new());
                    }
                    if let Samples::$variant(stored) = stored {
                        stored.resize(len, 0);
                        $unpack(bytes, stored);
                        place_quad(stored, pattern, self.n_cols / 2);
                    }
                }
            };
        }
        match depth {
            Depth::One => decode!(U8, unpack_1),
            Depth::Six => decode!(U8, unpack_6),
            Depth::Twelve => decode!(U16, unpack_12),
            Depth::TwentyFour => decode!(U32, unpack_24),
        }
    }
}

fn checked(rows: usize, cols: usize, n_bytes: usize) -> Result<usize, String> {
    rows.checked_mul(cols)
        .and_then(|n| n.checked_mul(n_bytes))
        .filter(|&n| isize::try_from(n).is_ok())
        .ok_or_else(|| format!("{rows} x {cols} pixels are more than memory can hold"))
}

/// One byte of eight pixels becomes eight bytes: each keeps one of the bits, and a carry into its highest bit says whether it is set.
fn unpack_1(bytes: &[u8], pixels: &mut [u8]) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const BITS: u64 = 0x8040_2010_0804_0201;
    let (words, _) = bytes.as_chunks::<8>();
    let (groups, _) = pixels.as_chunks_mut::<64>();
    for (group, word) in groups.iter_mut().zip(words) {
        let (eights, _) = group.as_chunks_mut::<8>();
        for (eight, byte) in eights.iter_mut().zip(word.iter().rev()) {
            let one_bit_each = (u64::from(*byte) * ONES) & BITS;
            *eight = (((one_bit_each + 0x7f * ONES) >> 7) & ONES).to_le_bytes();
        }
    }
}

fn unpack_6(bytes: &[u8], pixels: &mut [u8]) {
    let (words, _) = bytes.as_chunks::<8>();
    let (groups, _) = pixels.as_chunks_mut::<8>();
    for (group, word) in groups.iter_mut().zip(words) {
        *group = u64::from_be_bytes(*word).to_le_bytes();
    }
}

fn unpack_12(bytes: &[u8], pixels: &mut [u16]) {
    let (words, _) = bytes.as_chunks::<8>();
    let (groups, _) = pixels.as_chunks_mut::<4>();
    for (group, word) in groups.iter_mut().zip(words) {
        *group = four(word);
    }
}

fn unpack_24(bytes: &[u8], pixels: &mut [u32]) {
    let (high, low) = bytes.split_at(bytes.len() / 2);
    let (high, _) = high.as_chunks::<8>();
    let (low, _) = low.as_chunks::<8>();
    let (groups, _) = pixels.as_chunks_mut::<4>();
    for ((group, high), low) in groups.iter_mut().zip(high).zip(low) {
        let (high, low) = (four(high), four(low));
        for ((pixel, high), low) in group.iter_mut().zip(high).zip(low) {
            *pixel = (u32::from(high) << 12) + u32::from(low);
        }
    }
}

/// The four pixels of a word.
fn four(word: &[u8; 8]) -> [u16; 4] {
    let word = u64::from_be_bytes(*word);
    [
        word as u16,
        (word >> 16) as u16,
        (word >> 32) as u16,
        (word >> 48) as u16,
    ]
}

/// Puts four blocks of `n` columns side by side into two rows of two, the lower ones turned by 180°.
fn place_quad<T: Copy>(stored: &[T], pattern: &mut [T], n: usize) {
    let (upper, lower) = pattern.split_at_mut(stored.len() / 2);
    let upper = upper.chunks_exact_mut(2 * n);
    let lower = lower.chunks_exact_mut(2 * n).rev();
    for ((row, upper), lower) in stored.chunks_exact(4 * n).zip(upper).zip(lower) {
        upper[..n].copy_from_slice(&row[3 * n..]);
        upper[n..].copy_from_slice(&row[2 * n..3 * n]);
        let turned = lower[..n].iter_mut().zip(row[n..2 * n].iter().rev());
        turned.for_each(|(to, from)| *to = *from);
        let turned = lower[n..].iter_mut().zip(row[..n].iter().rev());
        turned.for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout in the head of this module, pixel by pixel.
    fn plain(bytes: &[u8], bits: usize) -> Vec<u32> {
        let stored_bits = [(1, 1), (6, 8), (12, 16)];
        let width = stored_bits
            .iter()
            .find(|(b, _)| *b == bits)
            .map_or(1, |(_, w)| *w);
        (0..bytes.len() * 8 / width)
            .map(|pixel| {
                let (word, k) = (pixel * width / 64, pixel % (64 / width));
                let word = bytes[word * 8..word * 8 + 8]
                    .iter()
                    .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
                (word >> (k * width)) as u32 & ((1 << width) - 1)
            })
            .collect()
    }

    #[test]
    fn fast_and_plain_decoders_agree() {
        let bytes: Vec<u8> = (0..4096_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut pixels = vec![7_u8; bytes.len() * 8];
        unpack_1(&bytes, &mut pixels);
        assert!(pixels.iter().map(|&p| u32::from(p)).eq(plain(&bytes, 1)));
        let mut pixels = vec![0_u8; bytes.len()];
        unpack_6(&bytes, &mut pixels);
        assert!(pixels.iter().map(|&p| u32::from(p)).eq(plain(&bytes, 6)));
        let mut pixels = vec![0_u16; bytes.len() / 2];
        unpack_12(&bytes, &mut pixels);
        assert!(pixels.iter().map(|&p| u32::from(p)).eq(plain(&bytes, 12)));
        let mut pixels = vec![0_u32; bytes.len() / 4];
        unpack_24(&bytes, &mut pixels);
        let (high, low) = bytes.split_at(bytes.len() / 2);
        let sums = plain(high, 12)
            .into_iter()
            .zip(plain(low, 12))
            .map(|(h, l)| (h << 12) + l);
        assert!(pixels.iter().copied().eq(sums));
    }

    #[test]
    fn four_blocks_become_two_rows() {
        // Blocks of one row and two columns.
        let mut pattern = [0; 8];
        place_quad(&[1, 2, 3, 4, 5, 6, 7, 8], &mut pattern, 2);
        assert_eq!(pattern, [7, 8, 5, 6, 4, 3, 2, 1]);
    }
}
