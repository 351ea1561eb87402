//! How are frames read that lie along the last axis of a dataset, sample beside sample?
//!
//! ```text
//! [pattern row, pattern col, frame]     blocks of [rows, cols, frames], or rows one after another
//! ```
//!
//! Velox stores what its cameras record in this way, a block a frame, with a record in JSON for each.

use std::ops::Range;

use halotau::series::{Samples, Stated};
use serde_json::Value as Json;

use super::conventions::Axes;
use super::dataset::{Dataset, Place};
use super::value::StoredNumber;
use crate::clock::unix_ns_of_seconds;
use crate::error::{Error, Result};
use crate::sample_bytes::{copy_at, zeroed};
use crate::stream::{FrameStream, ScanStatement, StreamHeader};

/// Bytes of the record of a frame that are read.
const MOST_RECORD_BYTES: u64 = 1 << 20;

struct FramesLast {
    header: StreamHeader,
    dataset: Dataset,
    number: StoredNumber,
    /// Rows, columns and frames of a block; `None` for rows one after another.
    chunk: Option<[u64; 3]>,
}

/// Opens a dataset of three axes whose last counts frames.
pub(super) fn open(
    dataset: Dataset,
    axes: &Axes,
    name: &str,
    format: &str,
) -> Result<Box<dyn FrameStream>> {
    let bad = |problem: String| Error::BadContainer {
        path: dataset.file.path().to_owned(),
        format: "HDF5 file",
        problem: format!("{}: {problem}", dataset.name),
    };
    let (Some(number), &[rows, cols, n_frames]) = (dataset.number(), dataset.dims.as_slice())
    else {
        return Err(bad(
            "it does not have the axes of a series of frames".to_owned()
        ));
    };
    let chunk = match dataset.place().map_err(bad)? {
        Place::Chunks(&[rows, cols, frames]) => Some([rows, cols, frames]),
        Place::Contiguous(_) | Place::Inside(_) => None,
        _ => return Err(bad("it is stored in a way that is not read".to_owned())),
    };
    let len = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
    let sample_type = number.number_type.sample_type();
    let n_bytes = [rows, cols, n_frames, 8]
        .iter()
        .try_fold(1_u64, |n, &len| n.checked_mul(len));
    if n_bytes.is_none_or(|n| usize::try_from(n).is_err()) {
        return Err(bad("it has more samples than can be counted".to_owned()));
    }
    let shape = (len(rows), len(cols));
    let mut header = StreamHeader::new(name, format, len(n_frames), shape, sample_type);
    header.series.warnings.extend(axes.warnings.iter().cloned());
    // The record of a camera is a series in time at one place.
    header.scan = Some(ScanStatement {
        n_times: Some(len(n_frames)),
        ..ScanStatement::new(1, 1, "order of the frames of the camera")
    });
    describe(&mut header, &dataset);
    Ok(Box::new(FramesLast {
        header,
        dataset,
        number,
        chunk,
    }))
}

/// Takes what the record of the first frame says.
fn describe(header: &mut StreamHeader, dataset: &Dataset) {
    let group = dataset.name.rsplit_once('/').map_or("", |(group, _)| group);
    let first = first_record(dataset, &format!("{group}/Metadata"));
    let Some(record) = first else { return };
    let number = |value: &Json| -> Option<f64> {
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.trim().parse().ok());
        number.filter(|number| number.is_finite() && *number > 0.0)
    };
    let series = &mut header.series;
    if let Some(voltage) = number(&record["Optics"]["AccelerationVoltage"]) {
        series.voltage_kv = Some(Stated::new(
            voltage / 1e3,
            "AccelerationVoltage of Metadata",
        ));
    }
    let result = &record["BinaryResult"];
    let step = number(&result["PixelSize"]["width"]);
    if let (Some(step), Some("1/m")) = (step, result["PixelUnitX"].as_str()) {
        series.q_step_per_nm = Some(Stated::new(step * 1e-9, "PixelSize of Metadata"));
    }
    let detector = result["DetectorIndex"].as_str().unwrap_or_default();
    let detector = &record["Detectors"][format!("Detector-{detector}")];
    if let Some(exposure) = number(&detector["ExposureTime"]) {
        series.dwell_ms = Some(Stated::new(exposure * 1e3, "ExposureTime of Metadata"));
    }
    let start = &record["Acquisition"]["AcquisitionStartDatetime"]["DateTime"];
    series.start_unix_ns = number(start).and_then(unix_ns_of_seconds);
}

/// JSON of the first frame, in bytes along the first axis of a dataset.
fn first_record(dataset: &Dataset, path: &str) -> Option<Json> {
    let records = Dataset::find(&dataset.file, path)?;
    let &[len, n_frames] = records.dims.as_slice() else {
        return None;
    };
    if len > MOST_RECORD_BYTES {
        return None;
    }
    let bytes = match records.place().ok()? {
        Place::Chunks(&[_, per_block]) => {
            let stored = records.index().ok()?.find(0)?;
            let block = records.read_chunk(stored, || "record 0".to_owned()).ok()?;
            block.into_iter().step_by(per_block as usize).collect()
        }
        _ => {
            let all = records.read_all()?;
            all.into_iter()
                .step_by(n_frames as usize)
                .collect::<Vec<u8>>()
        }
    };
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    serde_json::from_slice(&bytes[..end]).ok()
}

impl FramesLast {
    /// The samples of a block or of a row of patterns as one of the seven types.
    fn samples(&self, bytes: Vec<u8>, place: String) -> Result<Samples> {
        let StoredNumber {
            number_type,
            big_endian,
        } = self.number;
        let (bytes, big_endian) = if number_type.is_sample() {
            (bytes, big_endian)
        } else {
            let bytes =
                number_type
                    .convert(&bytes, big_endian)
                    .map_err(|large| Error::SampleType {
                        what: format!("{}, {place}", self.dataset.file.path().display()),
                        found: format!("64 bits wide, of which {} does not fit in 32", large.value),
                    })?;
            (bytes, false)
        };
        let sample_type = number_type.sample_type();
        let mut samples = zeroed(sample_type, bytes.len() / sample_type.n_bytes());
        copy_at(&mut samples, 0, &bytes, big_endian);
        Ok(samples)
    }

    /// Copies what a box holds of frames: its first row, column and frame, and its lengths.
    fn scatter(
        &self,
        from: &Samples,
        (first, lens): ([usize; 3], [usize; 3]),
        frames: &Range<u64>,
        (into, at): (&mut Samples, usize),
    ) {
        let shape = self.header.series.shape;
        let (n_rows, n_cols) = (shape.pattern_rows, shape.pattern_cols);
        let start = first[2].max(frames.start as usize);
        let end = (first[2] + lens[2]).min(frames.end as usize);
        let rows = lens[0].min(n_rows - first[0]);
        let cols = lens[1].min(n_cols - first[1]);
        macro_rules! copy {
            ($($variant:ident),*) => {
                match (into, from) {
                    $((Samples::$variant(into), Samples::$variant(from)) => {
                        for frame in start..end {
                            let out = at + (frame - frames.start as usize) * n_rows * n_cols;
                            for row in 0..rows {
                                let to = out + (first[0] + row) * n_cols + first[1];
                                let source = row * lens[1] * lens[2] + frame - first[2];
                                for col in 0..cols {
                                    into[to + col] = from[source + col * lens[2]];
                                }
                            }
                        }
                    })*
                    _ => unreachable!("both have the type of the header"),
                }
            };
        }
        copy!(U8, U16, U32, I16, I32, F32, F64);
    }
}

impl FrameStream for FramesLast {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, at: usize) -> Result<()> {
        let dims = &self.dataset.dims;
        let Some(chunk) = self.chunk else {
            return self.read_rows(frames, samples, at);
        };
        let counts = [0, 1, 2].map(|axis| dims[axis].div_ceil(chunk[axis]));
        let index = self
            .dataset
            .index()
            .map_err(|problem| self.dataset.corrupt("its index".to_owned(), problem))?;
        for frame_chunk in frames.start / chunk[2]..frames.end.div_ceil(chunk[2]) {
            for row_chunk in 0..counts[0] {
                for col_chunk in 0..counts[1] {
                    let number = (row_chunk * counts[1] + col_chunk) * counts[2] + frame_chunk;
                    let coords = [row_chunk, col_chunk, frame_chunk];
                    let place = || format!("chunk {coords:?}");
                    let Some(stored) = index.find(number) else {
                        return Err(Error::MissingChunk {
                            path: self.dataset.file.path().to_owned(),
                            dataset: self.dataset.say(),
                            chunk: coords.to_vec(),
                            entry: "the file from its origin".to_owned(),
                        });
                    };
                    let bytes = self.dataset.read_chunk(stored, place)?;
                    let block = self.samples(bytes, place())?;
                    let first = [0, 1, 2].map(|axis| (coords[axis] * chunk[axis]) as usize);
                    let lens = chunk.map(|len| len as usize);
                    self.scatter(&block, (first, lens), &frames, (samples, at));
                }
            }
        }
        Ok(())
    }
}

impl FramesLast {
    /// Reads row after row of all frames: without blocks, the samples of a frame lie all over the file.
    fn read_rows(&self, frames: Range<u64>, samples: &mut Samples, at: usize) -> Result<()> {
        let dims = &self.dataset.dims;
        let width = self.number.number_type.n_bytes() as u64;
        let row_bytes = dims[1] * dims[2] * width;
        for row in 0..dims[0] {
            let bytes = match self.dataset.place() {
                Ok(Place::Contiguous(address)) => {
                    let mut bytes = vec![0; row_bytes as usize];
                    let address = address + row * row_bytes;
                    self.dataset.file.read_samples(address, &mut bytes)?;
                    bytes
                }
                Ok(Place::Inside(all)) => {
                    let start = (row * row_bytes) as usize;
                    all[start..start + row_bytes as usize].to_vec()
                }
                _ => Vec::new(),
            };
            let block = self.samples(bytes, format!("pattern row {row}"))?;
            let lens = [1, dims[1] as usize, dims[2] as usize];
            self.scatter(&block, ([row as usize, 0, 0], lens), &frames, (samples, at));
        }
        Ok(())
    }
}
