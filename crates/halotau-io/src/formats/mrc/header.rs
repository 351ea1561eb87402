//! What does the header of an MRC file say?
//!
//! ```text
//! 0 nx · 4 ny · 8 nz · 12 mode · 76 lowest · 80 highest · 92 bytes of the extended header · 152 "IMOD" · 156 its flags · 208 "MAP "
//! · 212 order of bytes | extended header from 1024 on | frames
//! ```
//!
//! Counts of frames in the header are not to be trusted (some programs write 32766); the length of the file decides.

use std::path::Path;

use halotau::series::{SampleType, Samples};

use crate::error::{Error, Result};
use crate::number_type::NumberType;
use crate::positioned::PositionedFile;
use crate::sample_bytes::copy_at;
use crate::stream::strided::StridedFile;

/// Bytes before the extended header.
pub(crate) const HEADER_BYTES: usize = 1024;
/// "IMOD" in the byte order of the file, at 152.
const IMOD: i32 = 1_146_047_817;

/// What is read of a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MrcHeader {
    pub(crate) n_cols: u64,
    pub(crate) n_rows: u64,
    /// Frames that the header states.
    pub(crate) n_frames: i32,
    pub(crate) pixel: Pixel,
    big_endian: bool,
    /// Byte at which the frames start.
    pub(crate) start: u64,
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixel {
    Number(NumberType),
    /// Two pixels a byte, the first in the low half; rows begin at whole bytes.
    U4,
}

impl Pixel {
    /// What pixels are read as.
    pub(crate) fn sample_type(self) -> SampleType {
        match self {
            Self::Number(number) => number.sample_type(),
            Self::U4 => SampleType::U8,
        }
    }
}

/// Whether the first bytes and the length of a file are those of an MRC file.
pub(super) fn is_mrc(path: &Path, start: &[u8], len: u64) -> bool {
    if start.get(208..211) == Some(b"MAP") {
        return true;
    }
    // Older files have no signature; then the ending, and a header that fits the file's length, must do.
    let named = path.extension().is_some_and(|ending| {
        ["mrc", "mrcs"]
            .iter()
            .any(|&e| ending.eq_ignore_ascii_case(e))
    });
    named
        && MrcHeader::parse(start, true).is_ok_and(|header| {
            header
                .frame_bytes()
                .is_some_and(|n| header.start + n <= len)
        })
}

impl MrcHeader {
    /// Reads the first 1024 bytes. `from_de` says that the server of Direct Electron wrote the file, whose bytes are unsigned.
    pub(crate) fn parse(start: &[u8], from_de: bool) -> Result<Self, String> {
        let Some(start) = start.first_chunk::<HEADER_BYTES>() else {
            return Err(format!(
                "the header has {HEADER_BYTES} bytes, the file {}",
                start.len()
            ));
        };
        let bytes_at = |at: usize| [start[at], start[at + 1], start[at + 2], start[at + 3]];
        // Some programs leave the stamp empty; then the mode, a small number, tells.
        let big_endian = match start[212] {
            0x44 => false,
            0x11 => true,
            _ => u32::from_le_bytes(bytes_at(12)) > u32::from_be_bytes(bytes_at(12)),
        };
        let i32_at = |at: usize| {
            if big_endian {
                i32::from_be_bytes(bytes_at(at))
            } else {
                i32::from_le_bytes(bytes_at(at))
            }
        };
        let f32_at = |at: usize| f32::from_bits(i32_at(at).cast_unsigned());
        let pixel = match i32_at(12) {
            0 => {
                let imod_says_unsigned = i32_at(152) == IMOD && i32_at(156) & 1 == 0;
                let unsigned = from_de || imod_says_unsigned || f32_at(80) > 127.0;
                Pixel::Number(if unsigned {
                    NumberType::Sample(SampleType::U8)
                } else {
                    NumberType::I8
                })
            }
            1 => Pixel::Number(NumberType::Sample(SampleType::I16)),
            2 => Pixel::Number(NumberType::Sample(SampleType::F32)),
            6 => Pixel::Number(NumberType::Sample(SampleType::U16)),
            12 => Pixel::Number(NumberType::F16),
            101 => Pixel::U4,
            3 | 4 => return Err("it holds complex numbers, not counts".to_owned()),
            mode => {
                return Err(format!(
                    "mode {mode} is not read; 0, 1, 2, 6, 12 and 101 are"
                ));
            }
        };
        let (cols, rows) = (i32_at(0), i32_at(4));
        let (Ok(n_cols), Ok(n_rows)) = (u64::try_from(cols), u64::try_from(rows)) else {
            return Err(format!("it states frames of {rows} x {cols} pixels"));
        };
        if n_cols == 0 || n_rows == 0 {
            return Err(format!("it states frames of {rows} x {cols} pixels"));
        }
        let Ok(extended) = u64::try_from(i32_at(92)) else {
            return Err(format!("its extended header has {} bytes", i32_at(92)));
        };
        Ok(Self {
            n_cols,
            n_rows,
            n_frames: i32_at(8),
            pixel,
            big_endian,
            start: HEADER_BYTES as u64 + extended,
        })
    }

    /// Reads the header of a file.
    pub(crate) fn read(file: &PositionedFile, from_de: bool) -> Result<Self> {
        let bad = |problem: String| Error::BadContainer {
            path: file.path().to_owned(),
            format: super::FORMAT.name,
            problem,
        };
        let header = Self::parse(&file.start(HEADER_BYTES)?, from_de).map_err(bad)?;
        let frame_bytes = header
            .frame_bytes()
            .filter(|n| n.checked_add(header.start) <= Some(file.len()));
        if frame_bytes.is_none() {
            return Err(bad(format!(
                "a frame of {} x {} pixels from byte {} on does not fit into {} bytes",
                header.n_rows,
                header.n_cols,
                header.start,
                file.len()
            )));
        }
        Ok(header)
    }

    /// Bytes of one row.
    fn row_bytes(&self) -> u64 {
        match self.pixel {
            Pixel::Number(number) => self.n_cols * number.n_bytes() as u64,
            Pixel::U4 => self.n_cols.div_ceil(2),
        }
    }

    /// Bytes of one frame, `None` where that is beyond counting.
    pub(crate) fn frame_bytes(&self) -> Option<u64> {
        self.row_bytes().checked_mul(self.n_rows)
    }

    /// All whole frames of the file that the header was read from.
    pub(crate) fn frames(&self, file: PositionedFile) -> StridedFile {
        StridedFile::new(file, self.start, self.frame_bytes().unwrap_or(u64::MAX))
    }

    /// Decodes one frame into samples from an index on.
    pub(crate) fn decode(&self, frame: &[u8], samples: &mut Samples, at: usize) {
        match (self.pixel, samples) {
            (Pixel::Number(number), samples) if !number.is_sample() => {
                // Only 64-bit integers can be too large, and there is no mode of such.
                let bytes = number.convert(frame, self.big_endian).unwrap_or_default();
                copy_at(samples, at, &bytes, false);
            }
            (Pixel::U4, Samples::U8(samples)) => {
                let rows = samples[at..].chunks_exact_mut(self.n_cols as usize);
                let stored = frame.chunks_exact(self.row_bytes() as usize);
                for (row, bytes) in rows.zip(stored) {
                    for (pair, byte) in row.chunks_mut(2).zip(bytes) {
                        for (sample, half) in pair.iter_mut().zip([byte & 15, byte >> 4]) {
                            *sample = half;
                        }
                    }
                }
            }
            (_, samples) => copy_at(samples, at, frame, self.big_endian),
        }
    }
}
