//! How does Nion Swift store an array in a file of its own?
//!
//! ```text
//! .ndata   zip archive, not compressed: data.npy | metadata.json
//! ```
//!
//! The JSON says whether the array is a sequence in time, how many of its axes are a collection (the scan), and gives
//! step and unit of each. In a zip archive, a list at the end says where each file starts.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Format, Probe};
use crate::error::{Error, Result};
use crate::hdf5::{nion_scan, nion_series};
use crate::npy::{open_array, read_header};
use crate::open::{OpenRequest, display_name};
use crate::positioned::PositionedFile;
use crate::stream::{FrameStream, SourceStream};

pub(crate) const FORMAT: Format = Format {
    name: "Nion Swift ndata",
    recognize,
    open,
};

const ARRAY: &str = "data.npy";
const PROPERTIES: &str = "metadata.json";

/// The end of an archive is this long without its comment, which has at most 65 535 bytes.
const END_BYTES: u64 = 22;
/// Bytes of a list of files that are read; two names need a hundred.
const MOST_LIST_BYTES: u64 = 1 << 20;
/// Bytes of properties that are read.
const MOST_PROPERTIES_BYTES: u64 = 64 << 20;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if !probe.start.starts_with(b"PK\x03\x04") {
        return None;
    }
    let file = PositionedFile::open(probe.path).ok()?;
    find(&file, ARRAY)?;
    Some(probe.path.to_owned())
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: &str| Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem: problem.to_owned(),
    };
    let part = |name: &str| -> Result<Option<PositionedFile>> {
        let file = PositionedFile::open(path)?;
        Ok(find(&file, name).and_then(|(start, len)| file.part(start, len)))
    };
    let array = part(ARRAY)?.ok_or_else(|| bad("data.npy is not whole, or it is compressed"))?;
    let dims = read_header(&array)?.dims;
    let mut properties = Json::Null;
    if let Some(file) = part(PROPERTIES)?.filter(|file| file.len() <= MOST_PROPERTIES_BYTES) {
        let text = file.start(file.len() as usize)?;
        properties = serde_json::from_slice(&text)
            .map_err(|e| bad(&format!("metadata.json cannot be understood: {e}")))?;
    }
    // A shape that a person gives is applied to the frames later.
    let scan = nion_scan(&properties, &dims).filter(|_| request.shape.is_none());
    let shape = scan.map(|[times, rows, cols]| [times, rows, cols, 0, 0]);
    let mut source = open_array(array, shape)?;
    let header = source.header_mut();
    header.name = display_name(path);
    header.format = FORMAT.name.to_owned();
    nion_series(&properties, dims.len(), header);
    // What the stream cannot state is said again when the frames are arranged.
    header.warnings.clear();
    Ok(Box::new(SourceStream::new(Box::new(source))))
}

/// Where a file of an archive is stored as it is, and its length.
fn find(file: &PositionedFile, wanted: &str) -> Option<(u64, u64)> {
    let tail = file.len().min(END_BYTES + 0xffff);
    let end = read(file, file.len() - tail, tail)?;
    let at = (0..=end.len().checked_sub(END_BYTES as usize)?)
        .rev()
        .find(|&at| end[at..].starts_with(b"PK\x05\x06"))?;
    let (list_len, list_start) = (u32_at(&end, at + 12)?, u32_at(&end, at + 16)?);
    if u64::from(list_len) > MOST_LIST_BYTES {
        return None;
    }
    let list = read(file, u64::from(list_start), u64::from(list_len))?;
    let mut at = 0;
    while list.get(at..)?.starts_with(b"PK\x01\x02") {
        let (method, len) = (u16_at(&list, at + 10)?, u32_at(&list, at + 24)?);
        let name_len = usize::from(u16_at(&list, at + 28)?);
        let name = list.get(at + 46..at + 46 + name_len)?;
        if name == wanted.as_bytes() {
            if method != 0 {
                return None;
            }
            let local = u64::from(u32_at(&list, at + 42)?);
            let header = read(file, local, 30)?;
            let skipped = u64::from(u16_at(&header, 26)?) + u64::from(u16_at(&header, 28)?);
            return Some((local + 30 + skipped, u64::from(len)));
        }
        let extra = usize::from(u16_at(&list, at + 30)?) + usize::from(u16_at(&list, at + 32)?);
        at += 46 + name_len + extra;
    }
    None
}

fn read(file: &PositionedFile, start: u64, len: u64) -> Option<Vec<u8>> {
    let end = start.checked_add(len)?;
    if end > file.len() {
        return None;
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
