//! What is in the tag tree of a DigitalMicrograph file?
//!
//! ```text
//! version i32 · length (3: i32, 4: i64) · order of the data i32 (1: little-endian) | root group
//! group:  sorted u8 · open u8 · count N · tags
//! tag:    kind u8 (20 group, 21 data, 0 end) · name length u16 · name · version 4: length i64 · group or data
//! data:   %%%% · length of info N · info[...] N · bytes
//! ```
//!
//! N is i32 in version 3 and i64 in version 4. The structure is big-endian, the data are as the header says. Small values are
//! kept; of arrays (pixels) only the place is noted, so that a file of terabytes opens as fast as a small one.

use crate::error::{Error, Result};
use crate::positioned::PositionedFile;

/// Groups inside groups. DigitalMicrograph goes about ten deep.
const DEEPEST: usize = 64;
/// Tags of a file. Real files have some thousands; each costs about 100 bytes of memory.
const MOST_TAGS: usize = 500_000;
/// Arrays of 16-bit numbers are texts; none that is asked for is longer.
const LONGEST_TEXT: u64 = 1 << 16;
/// Bytes read at once: tags are small and lie next to each other.
const WINDOW_BYTES: u64 = 1 << 15;
/// Entries of the description of one value. A struct of a hundred fields has 203.
const MOST_INFO: u64 = 1024;
/// The name of the tag that holds the pixels of an image.
const PIXELS: &str = "Data";

/// A group of tags, in the order of the file. Tags without a name have their number for a name.
#[derive(Debug, Default)]
pub(crate) struct Group(Vec<(String, Tag)>);

/// A tag's content.
#[derive(Debug)]
pub(crate) enum Tag {
    Group(Group),
    Number(f64),
    Text(String),
    /// A struct of numbers, or a value of a kind that no reader needs.
    Other,
    Array(ArrayPlace),
}

/// Where an array lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArrayPlace {
    pub(crate) offset: u64,
    pub(crate) n_elements: u64,
    /// Bytes of one element.
    pub(crate) element_bytes: u64,
}

impl ArrayPlace {
    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_elements.saturating_mul(self.element_bytes)
    }
}

impl Group {
    /// The tag at a path such as `ImageData.Calibrations.Dimension.0.Scale`; names hold no dots where this is used.
    pub(crate) fn find(&self, path: &str) -> Option<&Tag> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let tag = &self.0.iter().find(|(known, _)| known == name)?.1;
        match (rest, tag) {
            (None, tag) => Some(tag),
            (Some(rest), Tag::Group(group)) => group.find(rest),
            _ => None,
        }
    }

    /// Puts a tag at a path, making the groups on the way. What is there already, stays.
    pub(crate) fn put<'a>(&mut self, mut path: impl Iterator<Item = &'a str>, tag: Tag) {
        let Some(mut name) = path.next() else { return };
        let mut group = self;
        for next in path {
            let known = group.0.iter().position(|(known, _)| known == name);
            let number = known.unwrap_or_else(|| {
                group.0.push((name.to_owned(), Tag::Group(Self::default())));
                group.0.len() - 1
            });
            let Tag::Group(inner) = &mut group.0[number].1 else {
                return;
            };
            group = inner;
            name = next;
        }
        if group.find(name).is_none() {
            group.0.push((name.to_owned(), tag));
        }
    }

    pub(crate) fn group(&self, path: &str) -> Option<&Self> {
        match self.find(path)? {
            Tag::Group(group) => Some(group),
            _ => None,
        }
    }

    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        match self.find(path)? {
            Tag::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number that is a count.
    pub(crate) fn count(&self, path: &str) -> Option<u64> {
        let number = self.number(path)?;
        // 2^53, beyond which floats are no longer counts.
        let whole = (0.0..9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
        whole.then_some(number as u64)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        match self.find(path)? {
            Tag::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, tag)| match tag {
            Tag::Group(group) => Some((name.as_str(), group)),
            _ => None,
        })
    }

    /// The counts that a group lists, in order.
    pub(crate) fn counts(&self) -> Option<Vec<u64>> {
        self.0.iter().map(|(name, _)| self.count(name)).collect()
    }
}

/// A file's tags.
#[derive(Debug)]
pub(crate) struct TagTree {
    pub(crate) root: Group,
    /// Order of the bytes of data.
    pub(crate) big_endian: bool,
    pub(crate) version: u32,
}

/// Whether the first bytes of a file are those of a DigitalMicrograph file.
pub(crate) fn is_dm(start: &[u8]) -> bool {
    let word = |at: usize| {
        let bytes = start.get(at..at + 4)?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    // The root group begins with two flags.
    let (order, flags) = match word(0) {
        Some(3) => (word(8), start.get(12..14)),
        Some(4) => (word(12), start.get(16..18)),
        _ => return false,
    };
    matches!(order, Some(0 | 1)) && flags.is_some_and(|flags| flags.iter().all(|&f| f <= 1))
}

impl TagTree {
    /// Reads all tags of a file.
    ///
    /// # Errors
    ///
    /// Where the tags contradict the format or the file's length, with the byte.
    pub(crate) fn read(file: &PositionedFile) -> Result<Self> {
        let mut reader = Reader {
            file,
            window: Vec::new(),
            window_start: 0,
            at: 0,
            version: 4,
            big_endian: false,
            n_tags: 0,
        };
        reader.version = reader.u32_be()?;
        if !matches!(reader.version, 3 | 4) {
            return Err(reader.bad(format!("version {} is not known", reader.version)));
        }
        reader.n()?;
        reader.big_endian = match reader.u32_be()? {
            0 => true,
            1 => false,
            other => return Err(reader.bad(format!("the order of bytes is {other}, not 0 or 1"))),
        };
        let root = reader.group(0)?;
        Ok(Self {
            root,
            big_endian: reader.big_endian,
            version: reader.version,
        })
    }
}

struct Reader<'a> {
    file: &'a PositionedFile,
    window: Vec<u8>,
    window_start: u64,
    at: u64,
    version: u32,
    big_endian: bool,
    n_tags: usize,
}

/// The type of a simple value: bytes and kind.
#[derive(Clone, Copy)]
struct Simple {
    n_bytes: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Signed,
    Unsigned,
    Float,
}

fn simple(code: u64) -> Option<Simple> {
    let (n_bytes, kind) = match code {
        2 => (2, Kind::Signed),
        3 => (4, Kind::Signed),
        4 => (2, Kind::Unsigned),
        5 => (4, Kind::Unsigned),
        6 => (4, Kind::Float),
        7 => (8, Kind::Float),
        8 | 10 => (1, Kind::Unsigned),
        9 => (1, Kind::Signed),
        11 => (8, Kind::Signed),
        12 => (8, Kind::Unsigned),
        _ => return None,
    };
    Some(Simple { n_bytes, kind })
}

impl Reader<'_> {
    fn bad(&self, problem: String) -> Error {
        Error::BadContainer {
            path: self.file.path().to_owned(),
            format: super::FORMAT.name,
            problem: format!("{problem} (at byte {})", self.at),
        }
    }

    /// The next bytes.
    fn take(&mut self, n_bytes: usize) -> Result<&[u8]> {
        let n = n_bytes as u64;
        let end = self.at.checked_add(n).filter(|&end| end <= self.file.len());
        let Some(end) = end else {
            return Err(self.bad(format!(
                "it should go on for {n_bytes} bytes, and the file has {}",
                self.file.len()
            )));
        };
        let window_end = self.window_start + self.window.len() as u64;
        if self.at < self.window_start || end > window_end {
            let len = n.max(WINDOW_BYTES).min(self.file.len() - self.at);
            self.window.resize(len as usize, 0);
            self.file.read_exact_at(&mut self.window, self.at)?;
            self.window_start = self.at;
        }
        let first = (self.at - self.window_start) as usize;
        self.at = end;
        Ok(&self.window[first..first + n_bytes])
    }

    fn skip(&mut self, n_bytes: u64) -> Result<()> {
        let end = self.at.checked_add(n_bytes);
        let Some(end) = end.filter(|&end| end <= self.file.len()) else {
            return Err(self.bad(format!(
                "the next value has {n_bytes} bytes, which the file of {} does not hold: it was cut short",
                self.file.len()
            )));
        };
        self.at = end;
        Ok(())
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16_be(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32_be(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A number of the structure: 4 bytes in version 3, 8 in version 4. None is negative.
    fn n(&mut self) -> Result<u64> {
        let n = if self.version == 3 {
            u64::from(self.u32_be()?)
        } else {
            u64::from(self.u32_be()?) << 32 | u64::from(self.u32_be()?)
        };
        let negative = if self.version == 3 {
            n > i32::MAX as u64
        } else {
            n > i64::MAX as u64
        };
        if negative {
            return Err(self.bad("a length is negative".to_owned()));
        }
        Ok(n)
    }

    /// The tags of a group. Recursion ends at [`DEEPEST`], and each tag takes bytes of the file.
    fn group(&mut self, depth: usize) -> Result<Group> {
        if depth > DEEPEST {
            return Err(self.bad(format!("groups lie more than {DEEPEST} deep")));
        }
        self.take(2)?;
        let n_tags = self.n()?;
        let mut tags = Vec::new();
        let mut number = 0_u64;
        while number < n_tags {
            let kind = self.u8()?;
            if kind == 0 {
                break;
            }
            let name_len = self.u16_be()?;
            let name = self.take(usize::from(name_len))?;
            // Latin-1: each byte is the character of its number.
            let mut name: String = name.iter().map(|&byte| char::from(byte)).collect();
            if name.is_empty() {
                name = number.to_string();
            }
            let len = if self.version == 4 { self.n()? } else { 0 };
            let start = self.at;
            self.n_tags += 1;
            if self.n_tags > MOST_TAGS {
                return Err(self.bad(format!("there are more than {MOST_TAGS} tags")));
            }
            let tag = match kind {
                20 => Tag::Group(self.group(depth + 1)?),
                21 => match self.data(&name)? {
                    Some(tag) => tag,
                    // Version 4 says how long a tag is, so that one that is not understood can be left out.
                    None if len > 0 => {
                        self.at = start;
                        self.skip(len)?;
                        Tag::Other
                    }
                    None => {
                        return Err(
                            self.bad(format!("the value of tag {name} is of an unknown type"))
                        );
                    }
                },
                other => return Err(self.bad(format!("tag {name} is of the unknown kind {other}"))),
            };
            tags.push((name, tag));
            number += 1;
        }
        Ok(Group(tags))
    }

    /// A value; `None` where its description is not understood.
    fn data(&mut self, name: &str) -> Result<Option<Tag>> {
        if self.take(4)? != b"%%%%" {
            return Err(self.bad("a value does not begin with %%%%".to_owned()));
        }
        let n_info = self.n()?;
        if n_info == 0 || n_info > MOST_INFO {
            return Err(self.bad(format!("a value is described by {n_info} numbers")));
        }
        let info: Vec<u64> = (0..n_info).map(|_| self.n()).collect::<Result<_>>()?;
        if let Some(simple) = simple(info[0]) {
            let big_endian = self.big_endian;
            let bytes = self.take(simple.n_bytes)?;
            return Ok(Some(Tag::Number(number(bytes, simple.kind, big_endian))));
        }
        // A text without array is one of its units after the other.
        if let [18, n_units] = info[..] {
            return self.text(n_units).map(Some);
        }
        let Some((n_bytes, [])) = value_bytes(&info) else {
            return Ok(None);
        };
        match info[..] {
            // Pixels may be 16-bit numbers, too; their tag has this name.
            [20, 4, n_units] if name != PIXELS => self.text(n_units).map(Some),
            [20, .., n_elements] => {
                let offset = self.at;
                self.skip(n_bytes)?;
                Ok(Some(Tag::Array(ArrayPlace {
                    offset,
                    n_elements,
                    element_bytes: n_bytes.checked_div(n_elements).unwrap_or(0),
                })))
            }
            _ => {
                self.skip(n_bytes)?;
                Ok(Some(Tag::Other))
            }
        }
    }

    /// A text in units of UTF-16.
    fn text(&mut self, n_units: u64) -> Result<Tag> {
        if n_units > LONGEST_TEXT {
            self.skip(n_units.saturating_mul(2))?;
            return Ok(Tag::Other);
        }
        let big_endian = self.big_endian;
        let bytes = self.take(2 * n_units as usize)?;
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| {
            if big_endian {
                u16::from_be_bytes(*unit)
            } else {
                u16::from_le_bytes(*unit)
            }
        });
        let text: String = char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        Ok(Tag::Text(text))
    }
}

/// Bytes of a value whose description begins `info`, and the rest of the description.
fn value_bytes(info: &[u64]) -> Option<(u64, &[u64])> {
    match *info {
        [15, _, n_fields, ref rest @ ..] => {
            let n_fields = usize::try_from(n_fields).ok()?;
            let (fields, rest) = rest.split_at_checked(n_fields.checked_mul(2)?)?;
            let mut n_bytes = 0;
            for field in fields.as_chunks::<2>().0 {
                n_bytes += simple(field[1])?.n_bytes as u64;
            }
            Some((n_bytes, rest))
        }
        [20, ref element @ ..] => {
            let (element_bytes, rest) = value_bytes(element)?;
            let (&n_elements, rest) = rest.split_first()?;
            Some((element_bytes.checked_mul(n_elements)?, rest))
        }
        [code, ref rest @ ..] => Some((simple(code)?.n_bytes as u64, rest)),
        [] => None,
    }
}

fn number(bytes: &[u8], kind: Kind, big_endian: bool) -> f64 {
    let mut word = [0; 8];
    let n = bytes.len();
    word[..n].copy_from_slice(bytes);
    if big_endian {
        word[..n].reverse();
    }
    let bits = u64::from_le_bytes(word);
    let unused = 64 - 8 * n as u32;
    match kind {
        Kind::Unsigned => bits as f64,
        Kind::Signed => ((bits << unused) as i64 >> unused) as f64,
        Kind::Float if n == 4 => f64::from(f32::from_bits(bits as u32)),
        Kind::Float => f64::from_bits(bits),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_descriptions() {
        assert_eq!(value_bytes(&[3]), Some((4, &[][..])));
        // A struct of f32 and i16; an array of five of them; an array of two arrays of three u16.
        assert_eq!(value_bytes(&[15, 0, 2, 0, 6, 0, 2]), Some((6, &[][..])));
        assert_eq!(
            value_bytes(&[20, 15, 0, 2, 0, 6, 0, 2, 5]),
            Some((30, &[][..]))
        );
        assert_eq!(value_bytes(&[20, 20, 4, 3, 2]), Some((12, &[][..])));
        assert_eq!(value_bytes(&[20, 4, u64::MAX]), None);
        assert_eq!(value_bytes(&[15, 0, u64::MAX, 0, 6]), None);
        assert_eq!(value_bytes(&[99]), None);
    }

    #[test]
    fn numbers_keep_sign_and_order() {
        assert_eq!(number(&[0xff, 0xfe], Kind::Signed, true), -2.0);
        assert_eq!(number(&[0xfe, 0xff], Kind::Unsigned, false), 65534.0);
        assert_eq!(number(&1.5_f32.to_be_bytes(), Kind::Float, true), 1.5);
        assert_eq!(number(&(-3_i64).to_le_bytes(), Kind::Signed, false), -3.0);
    }
}
