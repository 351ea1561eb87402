//! Where are the pages of a TIFF file, and how are they stored?
//!
//! ```text
//! II 42 | offset of the first directory      a directory: count | (tag, type, count, value or its offset) ... | next directory
//! ```
//!
//! BigTIFF has 43 instead of 42 and 64-bit offsets and counts.

use std::collections::HashSet;

use halotau::series::SampleType;

use super::{FORMAT, sample_type};
use crate::error::{Error, Result};
use crate::formats::fields::Fields;
use crate::positioned::PositionedFile;

/// Entries of a directory; the format has some hundred tags.
const MOST_ENTRIES: u64 = 4096;
/// Bytes of a description that are read. ImageJ and tifffile put the axes into the first hundreds.
const MOST_DESCRIPTION: u64 = 1 << 16;
/// No method that is read compresses more: deflate reaches 1032.
const MOST_COMPRESSED: u64 = 2000;

const NEW_SUBFILE_TYPE: u16 = 254;
const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const BITS_PER_SAMPLE: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const DESCRIPTION: u16 = 270;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES_PER_PIXEL: u16 = 277;
const STRIP_BYTE_COUNTS: u16 = 279;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;
const SAMPLE_FORMAT: u16 = 339;

/// A page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Where its directory is.
    directory: u64,
    pub(super) n_rows: u32,
    pub(super) n_cols: u32,
    pub(super) sample_type: SampleType,
    /// Bytes of the pixels, uncompressed.
    pub(super) frame_bytes: u64,
    /// Where the pixels begin, if they are stored one after another without compression.
    pub(super) data: Option<u64>,
}

/// The pages of a file, in order.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) big_endian: bool,
    is_big: bool,
    pub(super) pages: Vec<Page>,
    /// Description of the first page.
    pub(super) description: String,
    /// Why the chain ends before its end, if it does.
    pub(super) end: Option<String>,
}

impl Chain {
    /// Whether the most significant byte comes first, and whether offsets have 64 bits; `None` where this is no TIFF.
    pub(super) fn order(start: &[u8]) -> Option<(bool, bool)> {
        let big_endian = match start.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let fields = Fields::ordered(start, big_endian);
        match fields.u16(2)? {
            42 => Some((big_endian, false)),
            43 if fields.u16(4)? == 8 && fields.u16(6)? == 0 => Some((big_endian, true)),
            _ => None,
        }
    }

    pub(super) fn read(file: &PositionedFile) -> Result<Self> {
        let bad = |problem: String| Error::BadContainer {
            path: file.path().to_owned(),
            format: FORMAT.name,
            problem,
        };
        let start = file.start(16)?;
        let (big_endian, is_big) =
            Self::order(&start).ok_or_else(|| bad("it ends inside its header".to_owned()))?;
        let mut chain = Self {
            big_endian,
            is_big,
            pages: Vec::new(),
            description: String::new(),
            end: None,
        };
        let fields = Fields::ordered(&start, big_endian);
        let mut next = if is_big {
            fields.u64(8)
        } else {
            fields.u32(4).map(u64::from)
        }
        .ok_or_else(|| bad("it ends inside its header".to_owned()))?;
        let mut known = HashSet::new();
        let mut first: Option<Page> = None;
        while next != 0 {
            if !known.insert(next) {
                return Err(bad(format!(
                    "its pages form a circle: after {} comes one that was there before",
                    known.len()
                )));
            }
            let number = known.len() - 1;
            let directory = match Directory::read(file, &chain, next)? {
                Ok(directory) => directory,
                Err(problem) if number == 0 => return Err(bad(problem)),
                Err(problem) => {
                    chain.end = Some(format!("page {number}: {problem}"));
                    break;
                }
            };
            if number == 0 {
                chain.description = directory.description(file)?;
            }
            if directory.is_reduced(file)? {
                next = directory.next;
                continue;
            }
            let page = match directory.page(file, next)? {
                Ok(page) => page,
                Err(problem) if chain.pages.is_empty() => return Err(bad(problem)),
                Err(problem) => {
                    chain.end = Some(format!("page {number}: {problem}"));
                    break;
                }
            };
            let first = first.get_or_insert(page);
            if (first.n_rows, first.n_cols, first.sample_type)
                != (page.n_rows, page.n_cols, page.sample_type)
            {
                return Err(bad(format!(
                    "page {number} has {} x {} pixels of {}, the first {} x {} of {}; frames must agree",
                    page.n_rows,
                    page.n_cols,
                    page.sample_type,
                    first.n_rows,
                    first.n_cols,
                    first.sample_type
                )));
            }
            chain.pages.push(page);
            next = directory.next;
        }
        Ok(chain)
    }

    /// The first bytes of the file with one of its pages as the first.
    pub(super) fn header_for(&self, start: &[u8], page: &Page) -> Vec<u8> {
        let ordered = |little: &[u8]| -> Vec<u8> {
            let mut bytes = little.to_vec();
            if self.big_endian {
                bytes.reverse();
            }
            bytes
        };
        let (at, offset) = if self.is_big {
            (8, ordered(&page.directory.to_le_bytes()))
        } else {
            // A directory of a small TIFF lies below 4 GB.
            (4, ordered(&(page.directory as u32).to_le_bytes()))
        };
        let mut header = start.get(..at).unwrap_or_default().to_vec();
        header.extend(offset);
        header
    }
}

/// The directory of a page.
struct Directory {
    entries: Vec<Entry>,
    next: u64,
}

/// A tag of a directory.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// The value, or the offset of the values, in its bytes.
    value: Vec<u8>,
    big_endian: bool,
}

impl Directory {
    /// Reads a directory; the inner error says in words what is wrong with it.
    fn read(file: &PositionedFile, chain: &Chain, at: u64) -> Result<Result<Self, String>> {
        let (count_bytes, entry_bytes, offset_bytes) =
            if chain.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let inside = |end: Option<u64>| end.is_some_and(|end| end <= file.len());
        let beyond = || format!("its directory at byte {at} reaches beyond the end of the file");
        if !inside(at.checked_add(count_bytes)) {
            return Ok(Err(beyond()));
        }
        let mut bytes = vec![0; count_bytes as usize];
        file.read_exact_at(&mut bytes, at)?;
        let fields = Fields::ordered(&bytes, chain.big_endian);
        let n_entries = match count_bytes {
            8 => fields.u64(0),
            _ => fields.u16(0).map(u64::from),
        }
        .unwrap_or(0);
        if n_entries > MOST_ENTRIES {
            return Ok(Err(format!("its directory has {n_entries} entries")));
        }
        let n_bytes = n_entries * entry_bytes + offset_bytes;
        let start = at + count_bytes;
        if !inside(start.checked_add(n_bytes)) {
            return Ok(Err(beyond()));
        }
        let mut bytes = vec![0; n_bytes as usize];
        file.read_exact_at(&mut bytes, start)?;
        let entries = bytes
            .chunks_exact(entry_bytes as usize)
            .take(n_entries as usize)
            .filter_map(|entry| {
                let fields = Fields::ordered(entry, chain.big_endian);
                let count = if chain.is_big {
                    fields.u64(4)
                } else {
                    fields.u32(4).map(u64::from)
                };
                Some(Entry {
                    tag: fields.u16(0)?,
                    kind: fields.u16(2)?,
                    count: count?,
                    value: entry[entry.len() - offset_bytes as usize..].to_vec(),
                    big_endian: chain.big_endian,
                })
            })
            .collect();
        let fields = Fields::ordered(&bytes, chain.big_endian);
        let at = (n_entries * entry_bytes) as usize;
        let next = if chain.is_big {
            fields.u64(at)
        } else {
            fields.u32(at).map(u64::from)
        };
        Ok(Ok(Self {
            entries,
            next: next.unwrap_or(0),
        }))
    }

    /// The whole numbers of a tag, `None` where it is not there or cannot be read.
    fn numbers(&self, file: &PositionedFile, tag: u16) -> Result<Option<Vec<u64>>> {
        match self.entries.iter().find(|entry| entry.tag == tag) {
            Some(entry) => entry.numbers(file),
            None => Ok(None),
        }
    }

    /// The one number of a tag, or the first of several that agree.
    fn number(&self, file: &PositionedFile, tag: u16) -> Result<Option<u64>> {
        let numbers = self.numbers(file, tag)?.unwrap_or_default();
        let first = numbers.first().copied();
        Ok(first.filter(|first| numbers.iter().all(|number| number == first)))
    }

    /// Whether this is a smaller copy of another page, or a mask.
    fn is_reduced(&self, file: &PositionedFile) -> Result<bool> {
        Ok(self.number(file, NEW_SUBFILE_TYPE)?.unwrap_or(0) & 0b101 != 0)
    }

    fn description(&self, file: &PositionedFile) -> Result<String> {
        let entry = self.entries.iter().find(|entry| entry.tag == DESCRIPTION);
        let bytes = match entry {
            Some(entry) => entry.bytes(file, 1, MOST_DESCRIPTION)?,
            None => None,
        };
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Ok(text.trim_end_matches('\0').to_owned())
    }

    /// What the directory says of its page; the inner error says in words why it is not read.
    fn page(&self, file: &PositionedFile, directory: u64) -> Result<Result<Page, String>> {
        let (Some(n_cols), Some(n_rows)) = (
            self.number(file, IMAGE_WIDTH)?,
            self.number(file, IMAGE_LENGTH)?,
        ) else {
            return Ok(Err("it does not state its width and length".to_owned()));
        };
        if self.number(file, SAMPLES_PER_PIXEL)?.unwrap_or(1) != 1 {
            return Ok(Err(
                "its pixels have several colors; patterns have one value a pixel".to_owned(),
            ));
        }
        let bits = self.number(file, BITS_PER_SAMPLE)?.unwrap_or(1);
        let format = self.number(file, SAMPLE_FORMAT)?.unwrap_or(1);
        let Some(sample_type) = sample_type(bits, format) else {
            return Err(Error::SampleType {
                what: file.path().display().to_string(),
                found: format!(
                    "of {bits} bits, format {format} (1 unsigned, 2 signed, 3 floating point)"
                ),
            });
        };
        let compression = self.number(file, COMPRESSION)?.unwrap_or(1);
        let is_plain = compression == 1;
        if !matches!(compression, 1 | 5 | 8 | 32773 | 32946) {
            return Ok(Err(format!(
                "compression {compression} is not read; none, LZW, deflate and PackBits are"
            )));
        }
        if !is_plain && self.number(file, PHOTOMETRIC)? == Some(0) {
            return Ok(Err(
                "it is compressed and stored white on black; save it with black as zero".to_owned(),
            ));
        }
        let n_samples = n_rows.checked_mul(n_cols).filter(|&n| n > 0);
        let sizes = u32::try_from(n_rows)
            .ok()
            .zip(u32::try_from(n_cols).ok())
            .zip(n_samples.and_then(|n| n.checked_mul(sample_type.n_bytes() as u64)));
        let Some(((n_rows, n_cols), frame_bytes)) = sizes else {
            return Ok(Err(format!("it states {n_rows} x {n_cols} pixels")));
        };
        let is_tiled = self.entries.iter().any(|entry| entry.tag == TILE_OFFSETS);
        let (offsets, counts) = if is_tiled {
            (TILE_OFFSETS, TILE_BYTE_COUNTS)
        } else {
            (STRIP_OFFSETS, STRIP_BYTE_COUNTS)
        };
        let offsets = self.numbers(file, offsets)?.unwrap_or_default();
        let counts = self.numbers(file, counts)?;
        // Some programs leave out the length of a single strip.
        let counts = counts.unwrap_or_else(|| vec![frame_bytes]);
        if offsets.is_empty() || offsets.len() != counts.len() {
            return Ok(Err(format!(
                "it has {} offsets and {} lengths of strips",
                offsets.len(),
                counts.len()
            )));
        }
        let follow = offsets
            .windows(2)
            .zip(&counts)
            .all(|(pair, &count)| pair[0].checked_add(count) == Some(pair[1]));
        let data = (is_plain && !is_tiled && follow).then_some(offsets[0]);
        let stored = match data {
            // Where frames follow each other, the lengths of strips are sometimes those of all of them.
            Some(start) => start.checked_add(frame_bytes),
            None => offsets
                .iter()
                .zip(&counts)
                .try_fold(0, |end: u64, (start, count)| {
                    Some(end.max(start.checked_add(*count)?))
                }),
        };
        if stored.is_none_or(|end| end > file.len()) {
            return Ok(Err("its pixels reach beyond the end of the file".to_owned()));
        }
        let n_stored = counts
            .iter()
            .fold(0_u64, |n, &count| n.saturating_add(count));
        if data.is_none() && frame_bytes > n_stored.saturating_mul(MOST_COMPRESSED) {
            return Ok(Err(format!(
                "{n_stored} bytes are said to hold {n_rows} x {n_cols} pixels"
            )));
        }
        Ok(Ok(Page {
            directory,
            n_rows,
            n_cols,
            sample_type,
            frame_bytes,
            data,
        }))
    }
}

impl Entry {
    /// The bytes of the values, each of `width`; at most so many.
    fn bytes(&self, file: &PositionedFile, width: u64, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(n_bytes) = self.count.checked_mul(width) else {
            return Ok(None);
        };
        if n_bytes <= self.value.len() as u64 {
            return Ok(Some(self.value[..n_bytes as usize].to_vec()));
        }
        let fields = Fields::ordered(&self.value, self.big_endian);
        let at = match self.value.len() {
            8 => fields.u64(0),
            _ => fields.u32(0).map(u64::from),
        };
        let n_bytes = n_bytes.min(most);
        let Some(at) = at.filter(|at| at.checked_add(n_bytes).is_some_and(|end| end <= file.len()))
        else {
            return Ok(None);
        };
        // Inside the file, as was just compared.
        let mut bytes = vec![0; n_bytes as usize];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Some(bytes))
    }

    fn numbers(&self, file: &PositionedFile) -> Result<Option<Vec<u64>>> {
        let width = match self.kind {
            1 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => return Ok(None),
        };
        let Some(bytes) = self.bytes(file, width as u64, u64::MAX)? else {
            return Ok(None);
        };
        let fields = Fields::ordered(&bytes, self.big_endian);
        let number = |idx: usize| match width {
            1 => bytes.get(idx).map(|&byte| byte.into()),
            2 => fields.u16(idx * 2).map(u64::from),
            4 => fields.u32(idx * 4).map(u64::from),
            _ => fields.u64(idx * 8),
        };
        Ok((0..bytes.len() / width).map(number).collect())
    }
}
