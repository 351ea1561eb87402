//! How are counted electrons stored, of which most pixels have none?
//!
//! ```text
//! GROUP                attribute shape: times, scan rows, scan columns, pattern rows, pattern columns
//! GROUP/indptr         [frame + 1]   where the events of each frame begin; the last is the number of events
//! GROUP/indices        [event]       pattern row * pattern columns + pattern column
//! GROUP/data           [event]       counts; 1 each where it is not there
//! ```
//!
//! This is the compressed sparse row layout of SciPy, a row a frame, in a group of any name. A pixel may be listed
//! several times; its counts are added.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use halotau::series::{FrameCount, SampleType, Samples};
use halotau::source::EventBlock;

use super::dataset::{Dataset, Place};
use super::file::Hdf5File;
use super::value::{StoredNumber, Value, attribute};
use crate::error::{Error, Result};
use crate::formats::{Format, Probe};
use crate::number_type::NumberType;
use crate::open::{OpenRequest, display_name};
use crate::stream::{EventStream, FrameStream, ScanStatement, StreamHeader, unfold};

pub(crate) const FORMAT: Format = Format {
    name: "counted events in HDF5",
    recognize,
    open,
};

/// Events that are held at once: with index and counts some megabytes a thread.
const MOST_EVENTS: u64 = 1 << 17;

/// Decoded blocks that are kept, of all files together: the frames of a scan row lie side by side, those of the next scan do not, so
/// that the rows of a few scans come by turns.
const RECENT_BYTES: usize = 8 << 20;

/// Blocks that are kept at most, so that finding one costs less than decoding it.
const MOST_RECENT: usize = 1024;

/// Blocks that are kept however large: two threads decode indices and counts.
const LEAST_RECENT: usize = 4;

/// Longest side of a pattern. No detector is nearly as large.
const LONGEST_SIDE: f64 = 65_536.0;

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if !probe.start.starts_with(b"\x89HDF") {
        return None;
    }
    let file = Hdf5File::open(probe.path).ok()?;
    group(&file, None).map(|_| probe.path.to_owned())
}

/// The group that a person named, or the first that holds the arrays.
fn group(file: &Hdf5File, wanted: Option<&str>) -> Option<String> {
    let holds = |group: &str| {
        let names = file.names_in(group);
        ["indptr", "indices"]
            .iter()
            .all(|name| names.contains(name))
    };
    if let Some(wanted) = wanted {
        let wanted = wanted.trim_matches('/');
        return holds(wanted).then(|| wanted.to_owned());
    }
    let groups = file.paths().filter_map(|path| path.strip_suffix("indptr"));
    groups
        .map(|group| group.trim_end_matches('/'))
        .find(|group| holds(group))
        .map(str::to_owned)
}

/// An array along one axis of whole numbers.
struct Column {
    dataset: Dataset,
    number: StoredNumber,
    len: u64,
    /// Which of all columns of the process this is.
    id: u64,
}

/// A block of a column, decoded.
struct Block {
    column: u64,
    number: u64,
    bytes: Arc<Vec<u8>>,
}

/// Blocks that were used last, the latest first. There is one list for all files, since a series may have a file for each scan.
static RECENT: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// The next column's number.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Column {
    fn find(file: &Arc<Hdf5File>, path: &str) -> Result<Option<Self>> {
        let Some(dataset) = Dataset::find(file, path) else {
            return Ok(None);
        };
        let number = dataset.number().filter(|number| {
            let number_type = number.number_type;
            let is_float = matches!(
                number_type,
                NumberType::F16 | NumberType::Sample(SampleType::F32 | SampleType::F64)
            );
            !is_float
        });
        let (Some(number), &[len]) = (number, dataset.dims.as_slice()) else {
            return Err(bad(
                file.path(),
                format!(
                    "{path} has shape {:?} of {}, not one axis of whole numbers",
                    dataset.dims, dataset.datatype
                ),
            ));
        };
        let column = Self {
            dataset,
            number,
            len,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
        };
        column.place()?;
        Ok(Some(column))
    }

    fn place(&self) -> Result<Place<'_>> {
        match self.dataset.place() {
            Ok(Place::Virtual) => Err("it is virtual".to_owned()),
            place => place,
        }
        .map_err(|problem| {
            let path = self.dataset.file.path();
            bad(path, format!("{}: {problem}", self.dataset.name))
        })
    }

    /// Values of a range, which lies inside; a negative value becomes a huge one.
    fn values(&self, range: Range<u64>) -> Result<Vec<u64>> {
        let width = self.number.number_type.n_bytes();
        let n_bytes = (range.end - range.start) as usize * width;
        let mut bytes = vec![0; n_bytes];
        match self.place()? {
            Place::Contiguous(address) => {
                let address = address + range.start * width as u64;
                self.dataset.file.read_samples(address, &mut bytes)?;
            }
            Place::Inside(all) => {
                let start = range.start as usize * width;
                bytes.copy_from_slice(&all[start..start + n_bytes]);
            }
            Place::Chunks(chunk) => self.read_chunks(chunk[0], &range, &mut bytes)?,
            // Refused when the column was found.
            Place::Virtual => {}
        }
        if self.number.big_endian {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Ok(match width {
            1 => bytes.into_iter().map(u64::from).collect(),
            2 => words(&bytes, |word| u16::from_le_bytes(word).into()),
            4 => words(&bytes, |word| u32::from_le_bytes(word).into()),
            _ => words(&bytes, u64::from_le_bytes),
        })
    }

    fn read_chunks(&self, chunk: u64, range: &Range<u64>, bytes: &mut [u8]) -> Result<()> {
        let width = self.number.number_type.n_bytes() as u64;
        let index = self
            .dataset
            .index()
            .map_err(|problem| self.dataset.corrupt("its index".to_owned(), problem))?;
        for number in range.start / chunk..range.end.div_ceil(chunk) {
            let Some(stored) = index.find(number) else {
                return Err(Error::MissingChunk {
                    path: self.dataset.file.path().to_owned(),
                    dataset: self.dataset.say(),
                    chunk: vec![number],
                    entry: "the file from its origin".to_owned(),
                });
            };
            let decoded = self.decoded(number, || {
                let place = || format!("chunk [{number}]");
                self.dataset.read_chunk(stored, place)
            })?;
            let first = range.start.max(number * chunk);
            let last = range.end.min((number + 1) * chunk);
            let from = ((first - number * chunk) * width) as usize;
            let to = ((first - range.start) * width) as usize;
            let n = ((last - first) * width) as usize;
            bytes[to..to + n].copy_from_slice(&decoded[from..from + n]);
        }
        Ok(())
    }

    /// A block, from those that are kept or decoded anew.
    fn decoded(
        &self,
        number: u64,
        decode: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<Vec<u8>>> {
        {
            let mut recent = recent();
            let is_it = |block: &Block| block.column == self.id && block.number == number;
            if let Some(at) = recent.iter().position(is_it) {
                recent[..=at].rotate_right(1);
                return Ok(Arc::clone(&recent[0].bytes));
            }
        }
        let bytes = Arc::new(decode()?);
        let mut recent = recent();
        recent.insert(
            0,
            Block {
                column: self.id,
                number,
                bytes: Arc::clone(&bytes),
            },
        );
        let mut n_bytes = 0;
        let fits = recent.iter().take(MOST_RECENT).take_while(|block| {
            n_bytes += block.bytes.len();
            n_bytes <= RECENT_BYTES
        });
        let n_fit = fits.count();
        recent.truncate(n_fit.max(LEAST_RECENT));
        Ok(bytes)
    }
}

impl Drop for Column {
    fn drop(&mut self) {
        recent().retain(|block| block.column != self.id);
    }
}

fn recent() -> MutexGuard<'static, Vec<Block>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Words of a fixed width as numbers.
fn words<const WIDTH: usize>(bytes: &[u8], number: impl Fn([u8; WIDTH]) -> u64) -> Vec<u64> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|&word| number(word)).collect()
}

struct Counted {
    header: StreamHeader,
    path: PathBuf,
    /// First event of each frame, and the number of events.
    starts: Vec<u64>,
    indices: Column,
    data: Option<Column>,
}

fn bad(path: &Path, problem: String) -> Error {
    Error::BadContainer {
        path: path.to_owned(),
        format: FORMAT.name,
        problem,
    }
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| bad(path, problem);
    let file = Hdf5File::open(path)?;
    let group = group(&file, request.dataset.as_deref()).ok_or_else(|| Error::Dataset {
        path: path.to_owned(),
        problem: "there is no such group with indptr and indices".to_owned(),
        candidates: Vec::new(),
    })?;
    let column = |name: &str| Column::find(&file, &format!("{group}/{name}"));
    let (Some(indptr), Some(indices)) = (column("indptr")?, column("indices")?) else {
        return Err(bad("indptr and indices are no datasets".to_owned()));
    };
    let data = column("data")?;
    let n_events = indices.len;
    if let Some(data) = data.as_ref().filter(|data| data.len != n_events) {
        return Err(bad(format!(
            "there are {n_events} indices, but {} counts in data",
            data.len
        )));
    }
    let shape = match attribute(&file, &group, "shape") {
        Some(Value::Numbers(shape)) => shape,
        _ => Vec::new(),
    };
    let whole = |&len: &f64| len >= 1.0 && len.fract() == 0.0 && len < 2_f64.powi(53);
    let (lead, pattern) = match shape.as_slice() {
        [lead @ .., rows, cols]
            if shape.iter().all(whole) && rows.max(*cols) <= LONGEST_SIDE && lead.len() <= 3 =>
        {
            (lead, (*rows as usize, *cols as usize))
        }
        _ => {
            return Err(bad(format!(
                "the attribute shape of group /{group} is {shape:?}, not [times, scan rows, scan columns, pattern rows, pattern columns]"
            )));
        }
    };
    let Some(n_frames) = indptr.len.checked_sub(1).filter(|&n| n > 0) else {
        return Err(bad("indptr is empty".to_owned()));
    };
    let starts = indptr.values(0..indptr.len)?;
    let in_order = starts.windows(2).all(|pair| pair[0] <= pair[1]);
    if starts[0] != 0 || !in_order || starts.last() != Some(&n_events) {
        return Err(bad(format!(
            "indptr does not grow from 0 to the {n_events} events that there are"
        )));
    }
    let sample_type = match data.as_ref().map(|data| data.number.number_type) {
        None => SampleType::U16,
        Some(NumberType::Sample(sample_type)) if sample_type.is_unsigned() => sample_type,
        Some(_) => SampleType::U32,
    };
    let n_cols = usize::try_from(n_frames).map_err(|_| bad("too many frames".to_owned()))?;
    let mut header = StreamHeader::new(
        display_name(path),
        FORMAT.name,
        n_cols,
        pattern,
        sample_type,
    );
    let stated: f64 = lead.iter().product();
    header.series.frame_counts = vec![
        FrameCount::new(stated as u64, "attribute shape"),
        FrameCount::new(n_frames, "length of indptr"),
    ];
    let origin = format!("attribute shape of group /{group}");
    header.scan = match *lead {
        [times, rows, cols] => Some(ScanStatement {
            n_times: Some(times as usize),
            ..ScanStatement::new(rows as usize, cols as usize, origin)
        }),
        [rows, cols] => Some(ScanStatement::new(rows as usize, cols as usize, origin)),
        _ => None,
    };
    Ok(Box::new(Counted {
        header,
        path: path.to_owned(),
        starts,
        indices,
        data,
    }))
}

impl Counted {
    /// Frames in parts of few enough events to be held at once; a frame alone may have more.
    fn parts(&self, frames: Range<u64>) -> impl Iterator<Item = Range<usize>> {
        let end = frames.end as usize;
        let mut first = frames.start as usize;
        std::iter::from_fn(move || {
            let most = self.starts.get(first)?.saturating_add(MOST_EVENTS);
            let later = self.starts.get(first + 1..=end)?;
            let n = later.partition_point(|&start| start <= most).max(1);
            let part = first..(first + n).min(end);
            first = part.end;
            (!part.is_empty()).then_some(part)
        })
    }

    /// Adds the frames of a part to a block.
    fn list(&self, frames: Range<usize>, block: &mut EventBlock) -> Result<()> {
        let series = &self.header.series;
        let largest = series.sample_type.highest_count().unwrap_or(u32::MAX);
        let events = self.starts[frames.start]..self.starts[frames.end];
        let indices = self.indices.values(events.clone())?;
        let counts = match &self.data {
            Some(data) => data.values(events.clone())?,
            None => Vec::new(),
        };
        for frame in frames {
            block.begin_frame();
            let first = (self.starts[frame] - events.start) as usize;
            let end = (self.starts[frame + 1] - events.start) as usize;
            for (event, &index) in (first..end).zip(&indices[first..end]) {
                let wrong = |what: String| {
                    bad(
                        &self.path,
                        format!("event {} of frame {frame}: {what}", event - first),
                    )
                };
                let pixel = usize::try_from(index).ok();
                let sum = pixel
                    .and_then(|pixel| block.count_mut(pixel))
                    .ok_or_else(|| {
                        let n_pixels = series.shape.frame_len();
                        wrong(format!("its index {index} is not one of {n_pixels} pixels"))
                    })?;
                let count = counts.get(event).copied().unwrap_or(1);
                *sum = u64::from(*sum)
                    .checked_add(count)
                    .and_then(|sum| u32::try_from(sum).ok())
                    .filter(|&sum| sum <= largest)
                    .ok_or_else(|| {
                        let sample_type = series.sample_type;
                        wrong(format!(
                            "the counts of pixel {index} are more than {sample_type} holds"
                        ))
                    })?;
            }
        }
        Ok(())
    }
}

impl FrameStream for Counted {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let frame_len = self.header.series.shape.frame_len();
        let mut block = EventBlock::new(frame_len);
        for part in self.parts(frames) {
            block.clear();
            self.list(part.clone(), &mut block)?;
            unfold(&block, frame_len, samples, at);
            at += part.len() * frame_len;
        }
        Ok(())
    }

    fn events(&self) -> Option<&dyn EventStream> {
        Some(self)
    }
}

impl EventStream for Counted {
    fn events_per_frame(&self) -> f64 {
        self.indices.len as f64 / self.header.n_frames() as f64
    }

    fn read_events(&self, frames: Range<u64>, block: &mut EventBlock) -> Result<()> {
        self.parts(frames)
            .try_for_each(|part| self.list(part, block))
    }
}
