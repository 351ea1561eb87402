//! How do the detectors of Dectris (ARINA, ELA, QUADRO, EIGER) store a recording?
//!
//! ```text
//! NAME_master.h5         /entry/data/data_000001, data_000002, ... ─▶ links into
//! NAME_data_000001.h5    /entry/data/data [frame, pattern row, pattern col], a block a frame, bitshuffle and LZ4
//! NAME.h5                group "STEM Metadata": the scan, where the software NOVENA controlled it
//! ```
//!
//! The master knows how many frames were asked for, images times triggers, not which scan they are. A data file that is not
//! there leaves its frames missing; all of them, and there is nothing to read. Pixels that the detector calls gaps,
//! dead or noisy, and saturated ones, have the largest value of their type.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use halotau::series::{
    FrameBlock, FrameCount, FrameRun, SampleType, Samples, SeriesShape, Stated, Warning,
};
use halotau::source::FrameSource as _;

use super::dataset::{Dataset, value_at};
use super::file::Hdf5File;
use super::source::Hdf5Source;
use super::value::{Value, attribute};
use super::{find_dataset, open_hdf5, resolve};
use crate::clock::unix_ns;
use crate::error::{Error, Result};
use crate::formats::{Format, Probe};
use crate::open::{OpenRequest, display_name};
use crate::sample_bytes::copy_samples;
use crate::stream::{FrameStream, ScanStatement, SourceStream, StreamHeader};

pub(crate) const FORMAT: Format = Format {
    name: "Dectris HDF5",
    recognize,
    open,
};

/// The group of the links to the frames, and that of the first detectors.
const DATA: [&str; 2] = ["entry/data", "entry"];

/// The group of what the detector says of itself.
const DETECTOR: &str = "entry/instrument/detector";

/// The group of a sidecar that says which scan it was.
const SCAN: &str = "STEM Metadata";

/// Files that are kept open. Systems commonly allow a process 1024; the others are opened when read.
const MOST_OPEN: usize = 256;

/// Code of the warning about a data file that is not there or damaged.
const PART_MISSING: &str = "W132";

/// Code of the warning that the scan was guessed.
const SCAN_GUESSED: &str = "W133";

/// Code of the warning about pixels that hold no counts.
const PIXELS_MASKED: &str = "W134";

fn recognize(probe: &Probe<'_>) -> Option<PathBuf> {
    if !probe.start.starts_with(b"\x89HDF") {
        return None;
    }
    let file = Hdf5File::open(probe.path).ok()?;
    if !numbered(&file).is_empty() {
        return Some(probe.path.to_owned());
    }
    // A data file or the sidecar belongs to its master, where that is there.
    let stem = probe.path.file_stem()?.to_str()?;
    let name = if file.object(SCAN).is_some() {
        stem
    } else {
        file.object("entry/data/data")?;
        let (name, number) = stem.rsplit_once("_data_")?;
        number.bytes().all(|b| b.is_ascii_digit()).then_some(name)?
    };
    let master = probe.path.with_file_name(format!("{name}_master.h5"));
    master.is_file().then_some(master)
}

/// Numbers and paths of the links to the frames, in order.
fn numbered(file: &Hdf5File) -> Vec<(u64, String)> {
    let links_in = |group: &&str| {
        let mut links: Vec<(u64, String)> = file
            .names_in(group)
            .into_iter()
            .filter_map(|name| {
                let number = name.strip_prefix("data_")?.parse().ok()?;
                Some((number, format!("{group}/{name}")))
            })
            .collect();
        links.sort_unstable();
        (!links.is_empty()).then_some(links)
    };
    DATA.iter().find_map(links_in).unwrap_or_default()
}

/// The frames of one data file.
struct Part {
    /// The link in the master.
    link: String,
    /// Number of its first frame among those that are there.
    first: u64,
    /// Number of its first frame among those that were recorded.
    recorded: u64,
    n_frames: u64,
    source: Option<Hdf5Source>,
}

struct Recording {
    header: StreamHeader,
    master: Arc<Hdf5File>,
    parts: Vec<Part>,
    /// Start of the first frame and distance of frames, where both are known.
    clock: Option<(i64, Option<f64>)>,
}

fn open(path: &Path, request: &OpenRequest) -> Result<Box<dyn FrameStream>> {
    if let Some(dataset) = &request.dataset {
        // A person who names a dataset means that of the file that was named.
        let path = Some(request.path.as_path())
            .filter(|p| p.is_file())
            .unwrap_or(path);
        let source = open_hdf5(path, Some(dataset), None, 0)?;
        return Ok(Box::new(SourceStream::new(source)));
    }
    let master = Hdf5File::open(path)?;
    let name = display_name(path);
    let mut warnings = Vec::new();
    let parts = open_parts(&master, &mut warnings)?;
    let Some((first, last)) = parts.first().zip(parts.last()) else {
        // Nothing is there: say what the first link leads to.
        let (dataset, _) = find_dataset(&master, None)?;
        return Err(dataset.corrupt(DATA[0].to_owned(), "no frame is there".to_owned()));
    };
    let (shape, sample_type) = kind(first)?;
    let n_frames = last.first + last.n_frames;
    let n_recorded = last.recorded + last.n_frames;
    let mut header = StreamHeader::new(
        &name,
        FORMAT.name,
        usize::try_from(n_frames).unwrap_or(usize::MAX),
        (shape.pattern_rows, shape.pattern_cols),
        sample_type,
    );
    let number = |path: &str| value_at(&master, &format!("{DETECTOR}/{path}"))?.number();
    let positive = |path: &str| number(path).filter(|n| *n > 0.0);
    let count = |path: &str| positive(path).map(|n| n as u64);
    let asked = [
        count("detectorSpecific/nimages"),
        count("detectorSpecific/ntrigger"),
    ];
    let series = &mut header.series;
    series.warnings = warnings;
    series.frame_counts = vec![FrameCount::new(n_frames, "data files that are there")];
    if let [Some(n_images), Some(n_triggers)] = asked {
        series.frame_counts.insert(
            0,
            FrameCount::new(
                n_images.saturating_mul(n_triggers),
                "nimages times ntrigger of the master file",
            ),
        );
    }
    if let Some(count_time) = positive("count_time") {
        series.dwell_ms = Some(Stated::new(
            count_time * 1e3,
            format!("count_time of {DETECTOR}"),
        ));
    }
    note_pixels(&master, shape, sample_type, &mut series.warnings);
    let date = value_at(
        &master,
        &format!("{DETECTOR}/detectorSpecific/data_collection_date"),
    );
    let start = date.as_ref().and_then(Value::text).and_then(unix_ns);
    series.start_unix_ns = start;
    // Frames of one trigger follow each other; the moments of the triggers are not in the file.
    let one_trigger = asked[1] == Some(1);
    let frame_time = positive("frame_time").filter(|_| one_trigger);
    let scan = match sidecar(&master) {
        Some(sidecar) => from_sidecar(&sidecar, &mut header),
        None => None,
    };
    let energy = positive("detectorSpecific/photon_energy").or(value_at(
        &master,
        "entry/instrument/beam/incident_energy",
    )
    .and_then(|value| value.number()));
    // Below this it is a photon energy of tests or of X-rays.
    if let Some(energy_ev) = energy.filter(|energy| *energy >= 20e3)
        && header.series.voltage_kv.is_none()
    {
        header.series.voltage_kv = Some(Stated::new(
            energy_ev / 1e3,
            "photon_energy of the master file",
        ));
    }
    header.scan = match scan {
        Some(scan) => Some(scan),
        // Only where nobody said better, or the warning would be wrong.
        None if request.shape.is_none() => {
            let [n_images, n_triggers] = asked.map(|n| n.unwrap_or(1));
            let stated = n_images.saturating_mul(n_triggers);
            guess(
                n_images,
                n_triggers,
                stated.max(n_recorded),
                &mut header.series.warnings,
            )
        }
        None => None,
    };
    header.series.chunk.n_cols = first
        .source
        .as_ref()
        .map_or(1, |source| source.header().chunk.n_cols);
    Ok(Box::new(Recording {
        header,
        master,
        parts,
        clock: start.map(|start| (start, frame_time)),
    }))
}

/// Opens the data files that are there.
fn open_parts(master: &Arc<Hdf5File>, warnings: &mut Vec<Warning>) -> Result<Vec<Part>> {
    let links = numbered(master);
    let mut opened: Vec<(usize, String, Hdf5Source, u64)> = Vec::new();
    let mut first_error = None;
    for (idx, (_, link)) in links.iter().enumerate() {
        match open_part(master, link) {
            Ok((source, n_frames)) => {
                if let Some((_, first, same, _)) = opened.first() {
                    same_kind(master, (first, same), (link, &source))?;
                }
                opened.push((idx, link.clone(), source, n_frames));
            }
            Err(error) => {
                warnings.push(Warning::new(
                    PART_MISSING,
                    format!("Frames of {link} are left out: {error}."),
                ));
                first_error.get_or_insert(error);
            }
        }
    }
    // Every file but the last holds the same number of frames.
    let per_file = opened
        .iter()
        .filter(|(idx, ..)| idx + 1 < links.len())
        .map(|(.., n_frames)| *n_frames)
        .max();
    let Some((_, _, _, most)) = opened.iter().max_by_key(|(.., n)| *n) else {
        return match first_error {
            Some(error) => Err(error),
            None => Ok(Vec::new()),
        };
    };
    let per_file = per_file.unwrap_or(*most);
    let mut parts = Vec::with_capacity(opened.len());
    let (mut first, mut next) = (0_u64, 0_u64);
    for (idx, link, source, n_frames) in opened {
        let recorded = next.max((idx as u64).saturating_mul(per_file));
        let source = (parts.len() < MOST_OPEN).then_some(source);
        parts.push(Part {
            link,
            first,
            recorded,
            n_frames,
            source,
        });
        first += n_frames;
        next = recorded + n_frames;
    }
    Ok(parts)
}

/// The frames that a link of the master leads to; those that were never written are not counted.
fn open_part(master: &Arc<Hdf5File>, link: &str) -> Result<(Hdf5Source, u64)> {
    let bad = |problem: &str| Error::BadContainer {
        path: master.path().to_owned(),
        format: FORMAT.name,
        problem: format!("{link} {problem}"),
    };
    let (file, inner) = resolve(master, link)?.ok_or_else(|| bad("leads nowhere"))?;
    let dataset = Dataset::find(&file, &inner).ok_or_else(|| bad("leads to what is no dataset"))?;
    let &[n_frames, rows, cols] = dataset.dims.as_slice() else {
        return Err(bad(&format!(
            "has axes {:?}, not frame, row, column",
            dataset.dims
        )));
    };
    let what = format!("{}, {inner}", file.path().display());
    let shape = crate::arrangement::arrange(&what, &[n_frames, rows, cols], None)?;
    let dims = dataset.dims.clone();
    let source = Hdf5Source::new(dataset, dims, shape, &what, FORMAT.name)?;
    let n_missing: usize = source.header().missing.iter().map(|run| run.n_frames).sum();
    Ok((source, n_frames - n_missing as u64))
}

fn kind(part: &Part) -> Result<(SeriesShape, SampleType)> {
    let header = part.source.as_ref().map(Hdf5Source::header);
    let header = header.ok_or(Error::EmptyFolder {
        path: PathBuf::from(&part.link),
    })?;
    Ok((header.shape, header.sample_type))
}

/// Makes sure that all data files hold patterns of one size and type.
fn same_kind(
    master: &Hdf5File,
    (first_link, first): (&str, &Hdf5Source),
    (link, source): (&str, &Hdf5Source),
) -> Result<()> {
    let say = |source: &Hdf5Source| {
        let header = source.header();
        format!(
            "patterns of {} x {} {}",
            header.shape.pattern_rows, header.shape.pattern_cols, header.sample_type
        )
    };
    let (expected, found) = (say(first), say(source));
    if expected == found {
        return Ok(());
    }
    Err(Error::FilesDiffer {
        path: master.path().join(link),
        first: master.path().join(first_link),
        found,
        expected,
    })
}

/// Notes pixels without counts, as the detector marks them.
fn note_pixels(
    master: &Arc<Hdf5File>,
    shape: SeriesShape,
    sample_type: SampleType,
    warnings: &mut Vec<Warning>,
) {
    let mask = value_at(master, &format!("{DETECTOR}/detectorSpecific/pixel_mask"));
    let Some(Value::Numbers(mask)) = mask else {
        return;
    };
    let n_marked = mask.iter().filter(|&&bits| bits != 0.0).count();
    if n_marked == 0 || mask.len() != shape.frame_len() {
        return;
    }
    let largest = sample_type.highest_count().unwrap_or(u32::MAX);
    warnings.push(Warning::new(
        PIXELS_MASKED,
        format!(
            "The detector marks {n_marked} of {} pixels as gaps, dead or noisy (pixel_mask of the master file). They and saturated pixels read as {largest}, the largest {sample_type}; leave them out by a mask.",
            mask.len()
        ),
    ));
}

/// The file beside a master that says which scan it was.
fn sidecar(master: &Hdf5File) -> Option<Arc<Hdf5File>> {
    let path = master.path();
    let name = path.file_stem()?.to_str()?.strip_suffix("_master")?;
    let path = path.with_file_name(format!("{name}.h5"));
    let file = Hdf5File::open(&path).ok()?;
    file.object(SCAN).is_some().then_some(file)
}

fn from_sidecar(sidecar: &Hdf5File, header: &mut StreamHeader) -> Option<ScanStatement> {
    let name = display_name(sidecar.path());
    let number = |key: &str| attribute(sidecar, SCAN, key)?.number();
    let positive = |key: &str| number(key).filter(|n| *n > 0.0);
    let series = &mut header.series;
    if let Some(step_nm) = positive("Pixel Size") {
        let note = match number("IsPixelSizeCalibrated") {
            Some(0.0) => ", which it calls not calibrated",
            _ => "",
        };
        series.step_nm = Some(Stated::new(step_nm, format!("Pixel Size of {name}{note}")));
    }
    if let Some(voltage) = positive("High Tension") {
        series.voltage_kv = Some(Stated::new(
            voltage / 1e3,
            format!("High Tension of {name}"),
        ));
    }
    let length = |key: &str| positive(key).map(|n| n as usize);
    let (n_cols, n_rows) = (length("NumPixelsX")?, length("NumPixelsY")?);
    let origin = format!("NumPixelsX and NumPixelsY of {name}");
    Some(ScanStatement {
        prescan_cols: length("NumPixelsPrescan").unwrap_or(0),
        ..ScanStatement::new(n_rows, n_cols, origin)
    })
}

/// The scan that is most likely where nothing states it: a square, else a trigger a line.
fn guess(
    n_images: u64,
    n_triggers: u64,
    n_frames: u64,
    warnings: &mut Vec<Warning>,
) -> Option<ScanStatement> {
    let side = n_frames.isqrt();
    let (n_rows, n_cols) = match () {
        () if n_frames > 1 && side * side == n_frames => (side, side),
        () if n_images > 1 && n_triggers > 1 => (n_triggers, n_images),
        () => return None,
    };
    let origin = match n_rows == n_cols {
        true => "assumed to be square",
        false => "assumed: a trigger of the detector for each row",
    };
    warnings.push(Warning::new(
        SCAN_GUESSED,
        format!("The master file does not state the scan, which is {origin}: {n_rows} x {n_cols}. If that is wrong, give data.shape (--shape)."),
    ));
    let len = |len: u64| usize::try_from(len).ok();
    Some(ScanStatement::new(len(n_rows)?, len(n_cols)?, origin))
}

impl Recording {
    /// The files that hold a range of frames, and which of theirs these are.
    fn runs(&self, frames: Range<u64>) -> impl Iterator<Item = (&Part, FrameRun)> {
        self.parts.iter().filter_map(move |part| {
            let start = frames.start.max(part.first);
            let end = frames.end.min(part.first + part.n_frames);
            let run = FrameRun {
                first_time: 0,
                n_times: 1,
                first_frame: start.checked_sub(part.first)? as usize,
                n_frames: end.checked_sub(start).filter(|&n| n > 0)? as usize,
            };
            Some((part, run))
        })
    }
}

impl FrameStream for Recording {
    fn header(&self) -> &StreamHeader {
        &self.header
    }

    fn read(&self, frames: Range<u64>, samples: &mut Samples, mut at: usize) -> Result<()> {
        let mut block = FrameBlock::empty(self.header.series.sample_type);
        for (part, run) in self.runs(frames) {
            match &part.source {
                Some(source) => source.read(&run, &mut block)?,
                None => open_part(&self.master, &part.link)?
                    .0
                    .read(&run, &mut block)?,
            }
            at += copy_samples(samples, at, &block.samples);
        }
        Ok(())
    }

    fn expect(&self, frames: Range<u64>) {
        for (part, run) in self.runs(frames) {
            // Files that are opened for each read are not opened for a hint.
            if let Some(source) = &part.source {
                source.expect(&run);
            }
        }
    }

    fn stamp_ns(&self, frame: u64) -> Result<Option<i64>> {
        let Some((start, frame_time)) = self.clock else {
            return Ok(None);
        };
        let recorded = self.sequence(frame)?.unwrap_or(frame);
        Ok(match frame_time {
            _ if recorded == 0 => Some(start),
            Some(frame_time_s) => {
                Some(start.saturating_add((recorded as f64 * frame_time_s * 1e9) as i64))
            }
            None => None,
        })
    }

    fn sequence(&self, frame: u64) -> Result<Option<u64>> {
        let after = self.parts.partition_point(|part| part.first <= frame);
        let part = after.checked_sub(1).map(|idx| &self.parts[idx]);
        Ok(part.map(|part| part.recorded + (frame - part.first)))
    }
}
