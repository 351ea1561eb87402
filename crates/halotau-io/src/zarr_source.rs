//! How is a series read from a Zarr store, version 2 or 3, sharded or not?
//!
//! A block that is not in the store is an error that names it, not zeros: in a series of measured patterns
//! a block without counts means a copy that stopped, not a beam that was off. Inside a shard a part may be
//! absent, because the shard's own index, which carries a checksum, says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use halotau::series::{FrameBlock, FrameRun, SampleType, SeriesHeader, SeriesShape};
use halotau::source::FrameSource;
use zarrs::array::{Array, ArrayBytes, ArrayShardedExt, ArraySubset};
use zarrs::filesystem::FilesystemStore;
use zarrs::storage::StoreKey;

use crate::arrangement::{arrange, note_unknown_scan};
use crate::candidates::{Candidate, choose};
use crate::chunked::{ChunkGrid, Decoded, Span, blocks_of_slab, read_chunked};
use crate::error::{Error, Result, io_error_inside};
use crate::extent::Extent;
use crate::metadata::{Attribute, AttributeValue, AxisNote, MISSING, describe, names_times};
use crate::number_type::NumberType;
use crate::positioned::{PositionedFile, expect_file};
use crate::sample_bytes::{little_endian_mut, prepare};
use crate::zarr_tree::{Node, find_arrays, read_node};

/// Decoded blocks larger than this are refused: HDF5 allows no more either, and a few must fit in memory.
const LARGEST_CHUNK_BYTES: u64 = 4 << 30;

/// A series in a Zarr array.
pub(crate) struct ZarrSource {
    header: SeriesHeader,
    path: PathBuf,
    dataset: String,
    array: Array<FilesystemStore>,
    number_type: NumberType,
    /// Blocks that are files: shards, or chunks where there are no shards. An array of two axes gets one more in front.
    grid: ChunkGrid,
    /// Whether a block is decoded as a whole.
    is_sharded: bool,
    /// Whether the files hold whole frames as they are kept.
    is_plain: bool,
}

/// Opens a Zarr array, or the array of frames in a group.
pub(crate) fn open_zarr(
    path: &Path,
    dataset: Option<&str>,
    wanted: Option<[usize; 5]>,
) -> Result<ZarrSource> {
    let (folder, node) = choose_array(path, dataset)?;
    let name = relative(path, &folder);
    let what = format!("{}, {name}", path.display());
    let bad = |problem: String| Error::BadContainer {
        path: folder.clone(),
        format: "Zarr array",
        problem,
    };
    let number_type = node.number_type().ok_or_else(|| Error::SampleType {
        what: what.clone(),
        found: node.type_name(),
    })?;
    let sample_type = number_type.sample_type();
    // The store is opened at the array's own folder: names that begin with two underscores, which HyperSpy
    // writes, are reserved in paths inside a store.
    let store = FilesystemStore::new(&folder).map_err(|e| bad(e.to_string()))?;
    let array = Array::open(Arc::new(store), "/").map_err(|e| bad(e.to_string()))?;
    let axes = axes_beside(&folder, array.dimensionality());
    // A stack along an axis of time is a series at one position.
    let in_time = match (wanted, array.shape(), axes.first()) {
        (None, &[n, _, _], Some(Some(note))) if note.is_time() => usize::try_from(n).ok(),
        _ => None,
    };
    let asked = wanted.or(in_time.map(|n_times| [n_times, 1, 1, 0, 0]));
    let shape = arrange(&what, array.shape(), asked)?;
    let origin = vec![0; array.dimensionality()];
    let chunk: Vec<u64> = array
        .chunk_shape(&origin)
        .map_err(|e| bad(e.to_string()))?
        .iter()
        .map(|len| len.get())
        .collect();
    let padded = |lens: &[u64]| {
        let n_more = 3_usize.saturating_sub(lens.len());
        [vec![1; n_more], lens.to_vec()].concat()
    };
    let grid = ChunkGrid {
        dims: padded(array.shape()),
        chunk: padded(&chunk),
        sample_bytes: sample_type.n_bytes() as u64,
    };
    let subchunk = array.effective_subchunk_shape();
    let is_sharded = subchunk.is_some();
    let decoded_at_once = ChunkGrid {
        chunk: subchunk.map_or_else(
            || grid.chunk.clone(),
            |lens| padded(&lens.iter().map(|len| len.get()).collect::<Vec<u64>>()),
        ),
        ..grid.clone()
    };
    let chunk_bytes = decoded_at_once
        .chunk
        .iter()
        .try_fold(grid.sample_bytes, |n, &len| n.checked_mul(len));
    if !grid.is_valid() || !decoded_at_once.is_valid() {
        return Err(bad("chunks and shape have different axes".to_owned()));
    }
    if chunk_bytes.is_none_or(|n| n > LARGEST_CHUNK_BYTES) {
        return Err(bad(format!(
            "chunks of shape {:?} decode to more than {LARGEST_CHUNK_BYTES} bytes",
            decoded_at_once.chunk
        )));
    }
    let format = format!("Zarr v{}", node.version());
    let mut header = SeriesHeader::new(crate::open::display_name(path), format, shape, sample_type);
    header.chunk = decoded_at_once.chunk_shape(&shape);
    note_unknown_scan(&mut header, array.shape(), asked);
    header.missing = recorded_missing(array.attributes(), &shape).map_err(|()| {
        bad(format!(
            "the attribute {MISSING} lists frames that are not there"
        ))
    })?;
    header.start_unix_ns = array
        .attributes()
        .get("start_unix_ns")
        .and_then(serde_json::Value::as_i64);
    let mut attributes = node.attributes(&format!("array {name}"));
    if let Some(group) = folder.parent().filter(|_| folder != path) {
        if let Ok(Some(group_node)) = read_node(group) {
            let group_name = relative(path, group);
            attributes.extend(group_node.attributes(&format!("group {group_name}")));
        }
        attributes.extend(times_beside(group, shape.n_times));
    }
    describe(&mut header, &attributes, &axes);
    let is_plain = node.is_plain()
        && number_type.is_sample()
        && grid.holds_whole_frames()
        && cfg!(target_endian = "little");
    Ok(ZarrSource {
        header,
        path: path.to_owned(),
        dataset: name,
        array,
        number_type,
        is_sharded,
        is_plain,
        grid,
    })
}

/// The frames that `halotau convert` has noted as missing.
fn recorded_missing(
    attributes: &serde_json::Map<String, serde_json::Value>,
    shape: &SeriesShape,
) -> std::result::Result<Vec<FrameRun>, ()> {
    let Some(noted) = attributes.get(MISSING) else {
        return Ok(Vec::new());
    };
    let runs: Vec<FrameRun> = serde_json::from_value(noted.clone()).map_err(|_| ())?;
    let inside = runs.iter().all(|run| run.check(shape).is_ok());
    inside.then_some(runs).ok_or(())
}

/// The folder of the array that a person meant.
fn choose_array(path: &Path, dataset: Option<&str>) -> Result<(PathBuf, Node)> {
    let found = find_arrays(path)?;
    let candidates: Vec<Candidate> = found
        .iter()
        .map(|(folder, node)| Candidate {
            name: relative(path, folder),
            dims: node.dims(),
            sample_type: node.sample_type(),
            type_name: node.type_name(),
        })
        .collect();
    let folder = match candidates.as_slice() {
        // The folder is the array itself.
        [one] if one.name == "/" => path.to_owned(),
        _ => path.join(&choose(path, &candidates, dataset)?.name),
    };
    found
        .into_iter()
        .find(|(other, _)| *other == folder)
        .ok_or(Error::EmptyFolder { path: folder })
}

/// Path of an array in its store, with slashes; "/" for the store itself.
fn relative(path: &Path, folder: &Path) -> String {
    let parts: Vec<String> = folder
        .strip_prefix(path)
        .unwrap_or(folder)
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts.is_empty() {
        return "/".to_owned();
    }
    parts.join("/")
}

/// A one-dimensional array of times in the frames' group.
fn times_beside(group: &Path, n_times: usize) -> Option<Attribute> {
    let entries = std::fs::read_dir(group).ok()?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| names_times(name))
        .collect();
    names.sort();
    let folder = group.join(names.first()?);
    let node = read_node(&folder).ok()??;
    if node.dims() != [n_times as u64] {
        return None;
    }
    let store = FilesystemStore::new(&folder).ok()?;
    let array = Array::open(Arc::new(store), "/").ok()?;
    let all = ArraySubset::new_with_shape(array.shape().to_vec());
    let values: Vec<f64> = match node.sample_type()? {
        SampleType::F64 => array.retrieve_array_subset(&all).ok()?,
        SampleType::F32 => {
            let values: Vec<f32> = array.retrieve_array_subset(&all).ok()?;
            values.into_iter().map(f64::from).collect()
        }
        _ => return None,
    };
    Some(Attribute {
        name: names[0].clone(),
        value: AttributeValue::Numbers(values),
        origin: format!("array {}", names[0]),
    })
}

/// HyperSpy's descriptions of the axes, in groups `axis-0`, `axis-1` and so on beside the array.
fn axes_beside(folder: &Path, n_axes: usize) -> Vec<Option<AxisNote>> {
    (0..n_axes)
        .map(|axis| {
            let name = format!("axis-{axis}");
            let node = read_node(&folder.parent()?.join(&name)).ok()??;
            let attributes = node.attributes(&format!("group {name}"));
            let find = |key: &str| attributes.iter().find(|a| a.name == key);
            let AttributeValue::Numbers(scale) = &find("scale")?.value else {
                return None;
            };
            let AttributeValue::Text(unit) = &find("units")?.value else {
                return None;
            };
            Some(AxisNote {
                step: *scale.first()?,
                unit: unit.clone(),
                origin: find("scale")?.origin.clone(),
            })
        })
        .collect()
}

impl ZarrSource {
    /// Scans of which every block is there; the last of those beyond `known` is decoded.
    pub(crate) fn extent(&self, known: usize) -> Extent {
        let n_times = self.header.shape.n_times;
        let mut found = Extent {
            n_times: 0,
            // A store that grows by its shape has that of the scans so far.
            expected: None,
        };
        let counts = self.grid.counts();
        for slab in 0..counts.first().copied().unwrap_or(0) {
            let mut blocks = blocks_of_slab(slab, &counts);
            let scans_after = self.grid.scans_before(slab + 1, &self.header.shape);
            let is_there = |block: &Vec<u64>| self.file(block).1.is_file();
            if !blocks.iter().all(is_there) {
                break;
            }
            let is_decoded =
                |block: Vec<u64>| self.decode(&block, &self.grid.chunk_span(&block)).is_ok();
            if scans_after > known && !blocks.pop().is_none_or(is_decoded) {
                break;
            }
            found.n_times = scans_after;
        }
        if found.n_times < n_times {
            found.expected = Some(n_times);
        }
        found
    }

    /// Name and file of a block.
    fn file(&self, chunk: &[u64]) -> (StoreKey, PathBuf) {
        // The axis in front is not the array's.
        let n_more = chunk.len() - self.array.dimensionality();
        let key = self.array.chunk_key(&chunk[n_more..]);
        let file = self.array.storage().key_to_fspath(&key);
        (key, file)
    }

    /// The file of a block, which is there.
    fn existing(&self, chunk: &[u64]) -> Result<PathBuf> {
        let (key, file) = self.file(chunk);
        match std::fs::metadata(&file) {
            Ok(_) => Ok(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::MissingChunk {
                path: self.path.clone(),
                dataset: self.dataset.clone(),
                chunk: chunk.to_vec(),
                entry: format!(
                    "{key} from its origin (zarr-python leaves out chunks that hold only zeros unless it writes with write_empty_chunks=True)"
                ),
            }),
            Err(e) => Err(Error::io(&file, "look at", e)),
        }
    }

    fn corrupt(&self, chunk: &[u64], problem: String) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            dataset: self.dataset.clone(),
            place: format!("chunk {chunk:?}"),
            problem,
        }
    }

    /// Fills a prepared block from files that hold frames as they are kept.
    fn read_plain(&self, run: &FrameRun, block: &mut FrameBlock) -> Result<()> {
        let frame_len = self.header.shape.frame_len();
        let frame_bytes = frame_len as u64 * self.grid.sample_bytes;
        let block_bytes = self.grid.chunk.iter().product::<u64>() * self.grid.sample_bytes;
        for (lead_block, pieces) in self.grid.pieces(&self.header.shape, run) {
            for chunk in self.grid.tiles(&lead_block) {
                let file = PositionedFile::open(&self.existing(&chunk)?)?;
                if file.len() != block_bytes {
                    let found = format!("it has {} bytes, not {block_bytes}", file.len());
                    return Err(self.corrupt(&chunk, found));
                }
                for piece in &pieces {
                    let start = piece.out * frame_len;
                    let end = start + piece.n_frames as usize * frame_len;
                    if let Some(bytes) = little_endian_mut(&mut block.samples, start..end) {
                        let offset = self.grid.frame_in_block(piece) * frame_bytes;
                        file.read_exact_at(bytes, offset)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn decode(&self, chunk: &[u64], needed: &Span) -> Result<Decoded> {
        let corrupt = |problem: String| self.corrupt(chunk, problem);
        let file = self.existing(chunk)?;
        // The axis in front is not the array's.
        let n_more = chunk.len() - self.array.dimensionality();
        let stored = &chunk[n_more..];
        let start = chunk.iter().zip(&self.grid.chunk).map(|(c, len)| c * len);
        let relative: Vec<u64> = needed.first.iter().zip(start).map(|(f, s)| f - s).collect();
        let lens = needed.lens[n_more..].to_vec();
        let subset = ArraySubset::new_with_start_shape(relative[n_more..].to_vec(), lens)
            .map_err(|e| corrupt(e.to_string()))?;
        let bytes: ArrayBytes<'static> = self
            .array
            .retrieve_chunk_subset(stored, &subset)
            .map_err(|e| match io_error_inside(&e) {
                Some(source) => Error::io(&file, "read", source),
                None => corrupt(e.to_string()),
            })?;
        let bytes = bytes.into_fixed().map_err(|e| corrupt(e.to_string()))?;
        let big_endian = cfg!(target_endian = "big");
        if self.number_type.is_sample() {
            return Ok(Decoded {
                span: needed.clone(),
                bytes: bytes.into_owned(),
                big_endian,
            });
        }
        let bytes = self.number_type.convert(&bytes, big_endian);
        let bytes = bytes.map_err(|large| Error::SampleType {
            what: format!("{}, {}, chunk {chunk:?}", self.path.display(), self.dataset),
            found: format!("64 bits wide, of which {} does not fit in 32", large.value),
        })?;
        Ok(Decoded {
            span: needed.clone(),
            bytes,
            big_endian: false,
        })
    }
}

impl FrameSource for ZarrSource {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        prepare(block, run, &self.header)
            .and_then(|()| {
                if self.is_plain {
                    return self.read_plain(run, block);
                }
                read_chunked(
                    &self.grid,
                    &self.header.shape,
                    run,
                    block,
                    |chunk, needed| self.decode(chunk, needed),
                )
            })
            .map_err(|e| e.into_core(&self.header.name))
    }

    fn expect(&self, run: &FrameRun) {
        // Which part of a shard will be read is known only from its index.
        if self.is_sharded || run.check(&self.header.shape).is_err() {
            return;
        }
        for lead_block in self.grid.pieces(&self.header.shape, run).keys() {
            for chunk in self.grid.tiles(lead_block) {
                expect_file(&self.file(&chunk).1);
            }
        }
    }
}

impl std::fmt::Debug for ZarrSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZarrSource")
            .field("path", &self.path)
            .field("dataset", &self.dataset)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
