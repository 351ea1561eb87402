//! How do the stored bytes of a block become its samples?
//!
//! A block went through filters in order, each of which may have been left out for this block; they are undone
//! in reverse. Bitshuffle, LZ4 and Zstandard are decoded here, because detectors write them at rates that the
//! general decoder does not reach; the others by the crate `rust-hdf5`.

use rust_hdf5::Filter;
use rust_hdf5::format::FormatError;
use rust_hdf5::format::messages::filter::{FilterPipeline, reverse_filters_masked_bounded};

use zarrs::array::codec::{blosc_decompress_bytes, blosc_validate};

use super::bitshuffle::{self, BlockCodec};

const BLOSC: u16 = 32001;
const LZ4: u16 = 32004;
const BITSHUFFLE: u16 = 32008;
const ZSTD: u16 = 32015;

/// Bytes that a block may grow between two filters: a checksum, or the frame of a codec around what did not
/// shrink.
const SLACK: (usize, usize) = (8, 1 << 16);

/// Blocks up to this size are decoded whatever they were stored as.
const PLAUSIBLE_BYTES: usize = 16 << 20;

/// How many times smaller than its samples a block is stored at most: LZ4 and gzip repeat up to about 1000 bytes
/// for each that they store, Zstandard a whole block of 128 KiB for four.
const MOST_RATIO: usize = 1100;
const MOST_RATIO_ZSTD: usize = 1 << 15;

/// The number of Zstandard in the third byte of a Blosc block.
const BLOSC_ZSTD: u8 = 4;

/// Why a block cannot be decoded.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It was stored by a filter that is not known here.
    Unsupported(String),
    /// It is damaged.
    Damaged(String),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Damaged(problem)
    }
}

/// Decodes a block to its exact size; bit `n` of `mask` says that filter `n` was left out.
pub(super) fn decode(
    filters: &[Filter],
    stored: Vec<u8>,
    mask: u32,
    n_bytes: usize,
) -> Result<Vec<u8>, Refusal> {
    let used: Vec<&Filter> = filters
        .iter()
        .enumerate()
        .filter(|(idx, _)| mask.checked_shr(*idx as u32).unwrap_or(0) & 1 == 0)
        .map(|(_, filter)| filter)
        .collect();
    let is_zstd = |filter: &&Filter| match filter.id {
        ZSTD | BLOSC => true,
        BITSHUFFLE => filter.cd_values.get(4) == Some(&3),
        _ => false,
    };
    let ratio = match used.iter().any(is_zstd) {
        true => MOST_RATIO_ZSTD,
        false => MOST_RATIO,
    };
    if n_bytes > PLAUSIBLE_BYTES && n_bytes / ratio > stored.len() {
        return Err(Refusal::Damaged(format!(
            "{} stored bytes cannot be {n_bytes}",
            stored.len()
        )));
    }
    let most = n_bytes.saturating_add(n_bytes / SLACK.0 + SLACK.1);
    let mut bytes = stored;
    for (idx, filter) in used.iter().enumerate().rev() {
        bytes = decode_one(filter, &bytes, (idx == 0).then_some(n_bytes), most)?;
    }
    if bytes.len() == n_bytes {
        return Ok(bytes);
    }
    Err(Refusal::Damaged(format!(
        "it decodes to {} bytes, not {n_bytes}",
        bytes.len()
    )))
}

/// Undoes one filter; `exact` is the size where it is known, `most` what it may be otherwise.
fn decode_one(
    filter: &Filter,
    stored: &[u8],
    exact: Option<usize>,
    most: usize,
) -> Result<Vec<u8>, Refusal> {
    let parameter = |idx: usize| filter.cd_values.get(idx).copied().unwrap_or(0) as usize;
    match filter.id {
        BITSHUFFLE => {
            let codec = match parameter(4) {
                0 => BlockCodec::Plain,
                2 => BlockCodec::Lz4,
                3 => BlockCodec::Zstd,
                other => {
                    return Err(Refusal::Unsupported(format!(
                        "bitshuffle around a codec of number {other}"
                    )));
                }
            };
            let n_bytes = match (exact, codec) {
                (Some(n_bytes), _) => n_bytes,
                (None, BlockCodec::Plain) => stored.len(),
                (None, _) => stated_length(stored, most)?,
            };
            let mut out = buffer(n_bytes)?;
            bitshuffle::decode(stored, codec, parameter(2), parameter(3), &mut out)?;
            Ok(out)
        }
        LZ4 => {
            let n_bytes = match exact {
                Some(n_bytes) => n_bytes,
                None => stated_length(stored, most)?,
            };
            let mut out = buffer(n_bytes)?;
            bitshuffle::decode_lz4(stored, &mut out)?;
            Ok(out)
        }
        ZSTD => zstd::bulk::decompress(stored, exact.unwrap_or(most))
            .map_err(|e| Refusal::Damaged(format!("a Zstandard frame does not decode: {e}"))),
        // The general decoder knows the other codecs of Blosc.
        BLOSC if stored.get(2).is_some_and(|flags| flags >> 5 == BLOSC_ZSTD) => {
            let n_bytes = blosc_validate(stored).filter(|&n| n <= most);
            let n_bytes = n_bytes.ok_or_else(|| {
                Refusal::Damaged("the header of a Blosc block is wrong".to_owned())
            })?;
            blosc_decompress_bytes(stored, n_bytes, 1)
                .map_err(|e| Refusal::Damaged(format!("a Blosc block does not decode: {e}")))
        }
        id => {
            let pipeline = FilterPipeline {
                filters: vec![filter.clone()],
            };
            reverse_filters_masked_bounded(&pipeline, stored, 0, exact.unwrap_or(most)).map_err(
                |e| match e {
                    FormatError::UnsupportedFeature(problem) => {
                        Refusal::Unsupported(format!("filter {id}: {problem}"))
                    }
                    e => Refusal::Damaged(e.to_string()),
                },
            )
        }
    }
}

/// What the first eight bytes of a chunk say of its length.
fn stated_length(stored: &[u8], most: usize) -> Result<usize, Refusal> {
    let bytes = stored
        .first_chunk::<8>()
        .ok_or_else(|| Refusal::Damaged("it ends inside its header".to_owned()))?;
    usize::try_from(u64::from_be_bytes(*bytes))
        .ok()
        .filter(|&n| n <= most)
        .ok_or_else(|| Refusal::Damaged("it says that it is larger than its shape".to_owned()))
}

fn buffer(n_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(n_bytes)
        .map_err(|_| Refusal::Damaged(format!("there is no memory for its {n_bytes} bytes")))?;
    bytes.resize(n_bytes, 0);
    Ok(bytes)
}
