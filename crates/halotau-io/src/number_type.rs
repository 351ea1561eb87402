//! How do the number types that programs write become the seven that are read?
//!
//! ```text
//! i8 ─▶ i16     f16 ─▶ f32     bool ─▶ u8     i64 ─▶ i32     u64 ─▶ u32
//! ```
//!
//! The first three hold every value. The last two do where counts are counts: NumPy makes 64-bit integers of
//! any sum, whatever their size. A value that does not fit is an error that names it, never another number.

use halotau::series::SampleType;

/// A number type in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberType {
    /// One of the seven.
    Sample(SampleType),
    I8,
    I64,
    U64,
    F16,
    /// A byte that is 0 or not.
    Bool,
}

/// A value of 64 bits that 32 do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    /// Its index among the samples that were converted.
    pub(crate) idx: usize,
    /// The value.
    pub(crate) value: i128,
}

impl NumberType {
    /// The type of the samples that come out.
    pub(crate) fn sample_type(self) -> SampleType {
        match self {
            Self::Sample(sample_type) => sample_type,
            Self::I8 => SampleType::I16,
            Self::I64 => SampleType::I32,
            Self::U64 => SampleType::U32,
            Self::F16 => SampleType::F32,
            Self::Bool => SampleType::U8,
        }
    }

    /// Bytes of a number in the file.
    pub(crate) fn n_bytes(self) -> usize {
        match self {
            Self::Sample(sample_type) => sample_type.n_bytes(),
            Self::I8 | Self::Bool => 1,
            Self::F16 => 2,
            Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether the bytes of the file are those of the samples.
    pub(crate) fn is_sample(self) -> bool {
        matches!(self, Self::Sample(_))
    }

    /// The type that a NumPy type string names without its byte order, such as `u2`.
    pub(crate) fn from_numpy(name: &str) -> Option<Self> {
        Some(match name {
            "u1" => Self::Sample(SampleType::U8),
            "u2" => Self::Sample(SampleType::U16),
            "u4" => Self::Sample(SampleType::U32),
            "i2" => Self::Sample(SampleType::I16),
            "i4" => Self::Sample(SampleType::I32),
            "f4" => Self::Sample(SampleType::F32),
            "f8" => Self::Sample(SampleType::F64),
            "i1" => Self::I8,
            "i8" => Self::I64,
            "u8" => Self::U64,
            "f2" => Self::F16,
            "b1" => Self::Bool,
            _ => return None,
        })
    }

    /// The little-endian bytes of samples, from those of a file. Bytes of one of the seven types are not for this.
    pub(crate) fn convert(self, bytes: &[u8], big_endian: bool) -> Result<Vec<u8>, TooLarge> {
        let too_large = |idx: usize, value: i128| TooLarge { idx, value };
        let mut out =
            Vec::with_capacity(bytes.len() / self.n_bytes() * self.sample_type().n_bytes());
        match self {
            Self::Sample(_) => out.extend_from_slice(bytes),
            Self::Bool => out.extend(bytes.iter().map(|&byte| u8::from(byte != 0))),
            Self::I8 => {
                for &byte in bytes {
                    out.extend(i16::from(byte as i8).to_le_bytes());
                }
            }
            Self::F16 => {
                for word in bytes.as_chunks::<2>().0 {
                    let half = ordered(*word, big_endian, u16::from_le_bytes);
                    out.extend(f32_of_half(half).to_le_bytes());
                }
            }
            Self::I64 => {
                for (idx, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
                    let value = ordered(*word, big_endian, i64::from_le_bytes);
                    let narrow = i32::try_from(value).map_err(|_| too_large(idx, value.into()))?;
                    out.extend(narrow.to_le_bytes());
                }
            }
            Self::U64 => {
                for (idx, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
                    let value = ordered(*word, big_endian, u64::from_le_bytes);
                    let narrow = u32::try_from(value).map_err(|_| too_large(idx, value.into()))?;
                    out.extend(narrow.to_le_bytes());
                }
            }
        }
        Ok(out)
    }
}

fn ordered<T, const N: usize>(mut word: [u8; N], big_endian: bool, read: fn([u8; N]) -> T) -> T {
    if big_endian {
        word.reverse();
    }
    read(word)
}

/// A number of one sign bit, five of the exponent and ten of the fraction, exactly.
fn f32_of_half(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = half >> 10 & 0x1f;
    let fraction = f32::from(half & 0x3ff);
    match exponent {
        0 => sign * fraction * 2_f32.powi(-24),
        31 if half & 0x3ff == 0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2_f32.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_becomes_one_of_the_seven() {
        let shorts = [0_i16, -128, 127, -1].map(i16::to_le_bytes).concat();
        let bytes = [0, 0x80, 0x7f, 0xff];
        assert_eq!(NumberType::I8.convert(&bytes, false), Ok(shorts));
        assert_eq!(
            NumberType::Bool.convert(&bytes, false),
            Ok(vec![0, 1, 1, 1])
        );
        // One, the largest, the smallest, minus two, infinity.
        let halves = [0x3c00_u16, 0x7bff, 1, 0xc000, 0x7c00];
        let floats = [1.0, 65504.0, 2_f32.powi(-24), -2.0, f32::INFINITY];
        for big_endian in [false, true] {
            let bytes: Vec<u8> = halves
                .iter()
                .flat_map(|h| {
                    if big_endian {
                        h.to_be_bytes()
                    } else {
                        h.to_le_bytes()
                    }
                })
                .collect();
            let expected = floats.map(f32::to_le_bytes).concat();
            assert_eq!(NumberType::F16.convert(&bytes, big_endian), Ok(expected));
        }
        let longs = [5_i64, -7, i64::from(i32::MIN)]
            .map(i64::to_be_bytes)
            .concat();
        let expected = [5_i32, -7, i32::MIN].map(i32::to_le_bytes).concat();
        assert_eq!(NumberType::I64.convert(&longs, true), Ok(expected));
        let longs = [5_u64, u64::from(u32::MAX), 1 << 32]
            .map(u64::to_le_bytes)
            .concat();
        assert_eq!(
            NumberType::U64.convert(&longs, false),
            Err(TooLarge {
                idx: 2,
                value: 1 << 32
            })
        );
        assert_eq!(
            NumberType::U64
                .convert(&longs[..16], false)
                .map(|b| b.len()),
            Ok(8)
        );
    }
}
