//! What does the text before each frame say?
//!
//! ```text
//! MQ1,sequence,header bytes,chips,columns,rows,kind,layout,chip select,local time,exposure,counter,...,MQ1A,UTC,exposure,depth,
//! ```
//!
//! The thresholds in the middle differ in number between versions of the program, so the tail is found by its token.

use crate::clock::{Moment, moment};

/// First bytes of each frame.
pub(super) const MAGIC: &[u8] = b"MQ1,";
/// Token before the tail.
const TAIL: &str = "MQ1A";
/// Bytes that hold the fields up to the counter, whatever their widths.
pub(super) const FIELDS_BYTES: usize = 256;
/// A header is no longer: sixteen chips need four thousand bytes.
pub(super) const MOST_HEADER_BYTES: usize = 1 << 16;
/// No detector is wider or higher, in pixels.
const MOST_PIXELS: u64 = 1 << 16;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Big-endian numbers of so many bytes, row by row.
    Processed(usize),
    /// As the chips send them.
    Raw,
}

/// The fields that are used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FrameHeader {
    pub(super) n_bytes: usize,
    pub(super) n_chips: u64,
    /// As written, of which a raw recording with 24 bits holds half.
    pub(super) n_cols: u64,
    pub(super) n_rows: u64,
    pub(super) kind: Kind,
    /// `2x2G`.
    pub(super) layout: String,
    pub(super) stamp: Option<Moment>,
    /// Milliseconds.
    pub(super) exposure_ms: Option<f64>,
    /// Bits of a counter, from the tail.
    pub(super) depth: Option<u64>,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`, which may end before it does.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some(n_bytes) = field(bytes, 2).and_then(number) else {
            return Err("the third field of the header is no length".to_owned());
        };
        let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX);
        let fields_end = field_end(bytes, 7).unwrap_or(usize::MAX);
        if n_bytes > MOST_HEADER_BYTES || n_bytes < fields_end {
            return Err(format!(
                "the header is said to have {n_bytes} bytes, which is not between the {FIELDS_BYTES} of its fields and {MOST_HEADER_BYTES}"
            ));
        }
        let text = text(&bytes[..bytes.len().min(n_bytes)]);
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let at = |idx: usize| fields.get(idx).copied().unwrap_or("");
        let count = |idx: usize, what: &str| {
            number(at(idx).as_bytes()).ok_or_else(|| format!("{what} is {:?}, no number", at(idx)))
        };
        let side = |idx: usize, what: &str| match count(idx, what)? {
            n if (1..=MOST_PIXELS).contains(&n) => Ok(n),
            n => Err(format!("{what} is {n}, not between 1 and {MOST_PIXELS}")),
        };
        let kind = match at(6) {
            "U08" | "U8" => Kind::Processed(1),
            "U16" => Kind::Processed(2),
            "U32" => Kind::Processed(4),
            "R64" => Kind::Raw,
            other => {
                return Err(format!(
                    "pixels are of kind {other:?}; U08, U16, U32 and R64 are read"
                ));
            }
        };
        let tail = fields.iter().rposition(|&name| name == TAIL);
        let of_tail = |idx: usize| tail.map_or("", |tail| at(tail + idx));
        let exposure_ms = milliseconds(of_tail(2))
            .or_else(|| at(10).parse().ok().map(|seconds: f64| seconds * 1e3))
            .filter(|ms| ms.is_finite() && *ms > 0.0);
        Ok(Self {
            n_bytes,
            n_chips: count(3, "the number of chips")?,
            n_cols: side(4, "the width")?,
            n_rows: side(5, "the height")?,
            kind,
            layout: at(7).to_owned(),
            stamp: moment(of_tail(1)).or_else(|| moment(at(9))),
            exposure_ms,
            depth: number(of_tail(3).as_bytes()),
        })
    }
}

/// The number that the camera gave the frame.
pub(super) fn sequence(bytes: &[u8]) -> Option<u64> {
    number(field(bytes, 1)?)
}

/// Which counter (threshold) of the chip the frame is from.
pub(super) fn counter(bytes: &[u8]) -> Option<u64> {
    number(field(bytes, 11)?)
}

/// The fields from header length to sensor layout, which are the same in all frames of a file.
pub(super) fn format_fields(bytes: &[u8]) -> Option<&[u8]> {
    let start = field_end(bytes, 1)?;
    let end = field_end(bytes, 7)?;
    bytes.get(start..end)
}

/// Header up to the padding.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Offset of the comma after a field, among the first bytes of a header.
fn field_end(bytes: &[u8], idx: usize) -> Option<usize> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    bytes
        .iter()
        .take(FIELDS_BYTES)
        .enumerate()
        .filter(|(_, byte)| **byte == b',')
        .nth(idx)
        .map(|(at, _)| at)
}

fn field(bytes: &[u8], idx: usize) -> Option<&[u8]> {
    let start = field_end(bytes, idx.checked_sub(1)?)? + 1;
    bytes.get(start..field_end(bytes, idx)?)
}

/// Decimal digits with blanks around them.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.trim_ascii();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !valid {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A duration with its unit: `1000000ns`.
fn milliseconds(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (value, unit) = text.split_at(unit);
    let factor = match unit {
        "ns" => 1e-6,
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    Some(value.trim().parse::<f64>().ok()? * factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn headers_with_and_without_tail_are_read() {
        let new = b"MQ1,000042,00384,01,0256,0128,R64,   1x1,01,2021-04-15 15:03:32.852759,0.001000,1,0,0,,MQ1A,2021-04-15T14:03:32.852759401Z,2500000ns,12,\0\0";
        let header = FrameHeader::parse(new).unwrap();
        assert_eq!(header.n_bytes, 384);
        assert_eq!((header.n_rows, header.n_cols), (128, 256));
        assert_eq!(header.exposure_ms, Some(2.5));
        assert_eq!(header.depth, Some(12));
        assert_eq!(header.stamp.unwrap().ns, 1_618_495_412_852_759_401);
        assert_eq!((sequence(new), counter(new)), (Some(42), Some(1)));
        assert_eq!(
            format_fields(new).unwrap(),
            b",00384,01,0256,0128,R64,   1x1"
        );
        let old = b"MQ1,7,384,01,0256,0256,U16,2x2,01,2015-04-15 15:03:32.5,0.0200,0,0,0,12.0\0";
        let header = FrameHeader::parse(old).unwrap();
        assert_eq!(header.kind, Kind::Processed(2));
        assert_eq!(header.exposure_ms, Some(20.0));
        assert_eq!(header.depth, None);
        assert!(!header.stamp.unwrap().is_utc);
    }

    #[test]
    fn senseless_headers_are_refused() {
        for text in [
            "MQ1,1,5,01,0256,0256,U16,1x1,",
            "MQ1,1,9999999,01,0256,0256,U16,1x1,",
            "MQ1,1,384,01,0000,0256,U16,1x1,",
            "MQ1,1,384,01,0256,9999999,U16,1x1,",
            "MQ1,1,384,01,0256,0256,F32,1x1,",
            "MQ1,1,-84,01,0256,0256,U16,1x1,",
            "MQ1,1",
        ] {
            assert!(FrameHeader::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
