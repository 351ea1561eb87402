//! How do many one-scan files become one series?
//!
//! The files are put in natural order, 2 before 10, and read as one series whose times they are. All must
//! have the same shape and number type; one that differs is named. Files of a detector that hold less than a scan each are one
//! recording whose frames are numbered through.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use halotau::series::{FrameBlock, FrameCount, FrameRun, SeriesHeader, SeriesShape, Warning};
use halotau::source::{EventBlock, EventSource, FrameSource};
use rayon::prelude::*;

use crate::arrangement::NOT_STATED;
use crate::error::{Error, Result, ShapeMismatch};
use crate::file_names::natural_order;
use crate::formats::{Format, is_picture};
use crate::open::{BoxedSource, Container, OpenRequest, container, open_container};
use crate::sample_bytes::prepare;
use crate::stream::FrameStream;
use crate::stream::arranged::ArrangedSource;
use crate::stream::concat::{ConcatStream, Order};

/// Files that are kept open. Systems commonly allow a process 1024; the others are opened when read.
const MOST_OPEN: usize = 256;

/// Folders inside folders in which scans are looked for.
const DEEPEST: usize = 3;

/// Code of the warning about files in a folder that are left out.
const FILES_LEFT_OUT: &str = "W102";

/// One-scan files as a series.
pub(crate) struct FilesSource {
    header: SeriesHeader,
    files: Vec<ScanFile>,
    request: OpenRequest,
    times_per_file: usize,
    /// Mean number of events of a frame, where all files list them.
    events_per_frame: Option<f64>,
}

struct ScanFile {
    path: PathBuf,
    container: Container,
    source: Option<BoxedSource>,
}

/// Opens the scans of a folder in natural order; where it holds no scans, those of its folders.
pub(crate) fn open_folder(request: &OpenRequest) -> Result<BoxedSource> {
    let folder = &request.path;
    let mut found = Entries::of(folder, request)?;
    // One folder an acquisition is how some programs save a series of scans; others make one for each hour, minute and second.
    for _ in 0..DEEPEST {
        if !found.files.is_empty() {
            break;
        }
        for inner in std::mem::take(&mut found.folders) {
            let inside = Entries::of(&inner, request)?;
            found.files.extend(inside.files);
            found.folders.extend(inside.folders);
            found.left_out.extend(inside.left_out);
        }
    }
    let name = crate::open::display_name(folder);
    found.leave_pictures_out();
    found.left_out.append(&mut found.folders);
    let warning = found.left_out.first().map(|first| {
        Warning::new(
            FILES_LEFT_OUT,
            format!(
                "{} of the folder's entries are no scans and are left out, {} the first.",
                found.left_out.len(),
                first.display()
            ),
        )
    });
    open_several(found.files, name, request, warning)
}

/// The scans of a folder in natural order, as far as they are known by their content.
pub(crate) fn scan_files(request: &OpenRequest) -> Result<Vec<(PathBuf, Container)>> {
    let mut found = Entries::of(&request.path, request)?;
    found.leave_pictures_out();
    Ok(found.files)
}

/// What is in a folder.
struct Entries {
    /// Main files of acquisitions, each once.
    files: Vec<(PathBuf, Container)>,
    folders: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
}

impl Entries {
    /// Leaves out pictures that lie beside recordings: virtual images that the acquisition program made.
    fn leave_pictures_out(&mut self) {
        let is_picture = |container: &Container| matches!(container, Container::Detector(format) if is_picture(format));
        if self
            .files
            .iter()
            .all(|(_, container)| is_picture(container))
        {
            return;
        }
        let (pictures, files) = std::mem::take(&mut self.files)
            .into_iter()
            .partition(|(_, container)| is_picture(container));
        self.files = files;
        let pictures: Vec<(PathBuf, Container)> = pictures;
        self.left_out
            .extend(pictures.into_iter().map(|(path, _)| path));
    }

    fn of(folder: &Path, request: &OpenRequest) -> Result<Self> {
        let list = |e| Error::io(folder, "list", e);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(list)? {
            let path = entry.map_err(list)?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden {
                paths.push(path);
            }
        }
        paths.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
        let mut entries = Self {
            files: Vec::new(),
            folders: Vec::new(),
            left_out: Vec::new(),
        };
        let mut known = HashSet::new();
        for path in paths {
            match container(&path, request.raw.is_some(), false) {
                Ok((Container::Folder, path)) => entries.folders.push(path),
                // Parts and sidecars of an acquisition give its main file.
                Ok((container, main)) => {
                    if known.insert(main.clone()) {
                        entries.files.push((main, container));
                    }
                }
                Err(Error::UnknownContainer { .. }) => entries.left_out.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

/// Opens one-scan files in the order given.
pub(crate) fn open_files(paths: &[PathBuf], request: &OpenRequest) -> Result<BoxedSource> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (container, main) = container(path, request.raw.is_some(), true)?;
        files.push((main, container));
    }
    let name = paths
        .first()
        .map_or_else(String::new, |p| crate::open::display_name(p));
    let name = format!("{name} and {} more", paths.len() - 1);
    open_several(files, name, request, None)
}

/// Opens files as scans, or as parts of one recording.
fn open_several(
    mut files: Vec<(PathBuf, Container)>,
    name: String,
    request: &OpenRequest,
    warning: Option<Warning>,
) -> Result<BoxedSource> {
    if let Some(n_times) = request.n_times {
        // Of one-scan files those that follow may be incomplete; of longer ones there are too many then, which costs nothing.
        files.truncate(n_times);
    }
    let request = &OpenRequest {
        shape: request.shape.map(|shape| match request.n_times {
            Some(_) => [0, shape[1], shape[2], shape[3], shape[4]],
            None => shape,
        }),
        n_times: None,
        ..request.clone()
    };
    let recordings: Option<Vec<(PathBuf, &'static Format)>> = files
        .iter()
        .map(|(path, container)| match container {
            Container::Detector(format) => Some((path.clone(), *format)),
            _ => None,
        })
        .collect();
    let Some(recordings) = recordings.filter(|recordings| !recordings.is_empty()) else {
        return Ok(Box::new(FilesSource::new(files, name, request, warning)?));
    };
    let order = if request.files.is_empty() {
        Order::Recorded
    } else {
        Order::Given
    };
    let stream = ConcatStream::new(recordings, name.clone(), request, order, warning.clone())?;
    let files: Vec<(PathBuf, Container)> = stream
        .files()
        .map(|(path, format)| (path.to_owned(), Container::Detector(format)))
        .collect();
    match one_scan_each(&files, &stream, request)? {
        Some(request) => Ok(Box::new(FilesSource::new(files, name, &request, warning)?)),
        None => Ok(Box::new(ArrangedSource::new(
            Box::new(stream),
            request.shape,
            &request.frames,
        )?)),
    }
}

/// The request for each file where each holds one scan or several; `None` where they are parts of a recording.
fn one_scan_each(
    files: &[(PathBuf, Container)],
    stream: &ConcatStream,
    request: &OpenRequest,
) -> Result<Option<OpenRequest>> {
    let n_files = files.len();
    // The longest file is the one that was least cut short.
    let longest = stream.frames_per_file().max().unwrap_or(0);
    let Some(model) = stream.frames_per_file().position(|n| n == longest) else {
        return Ok(None);
    };
    if n_files == 1 || longest == 1 {
        return Ok(None);
    }
    let scan = |rows: usize, cols: usize| (rows as u64).saturating_mul(cols as u64);
    let needed = match (request.shape, &stream.header().scan) {
        (Some([_, rows, cols, ..]), _) if rows > 0 && cols > 0 => scan(rows, cols),
        (None, Some(stated)) => scan(stated.n_rows, stated.n_cols),
        _ => 0,
    };
    if needed > longest {
        return Ok(None);
    }
    // A program that begins a new file every so many frames goes on numbering, and does not care where a scan ends.
    let whole_scans = needed > 0 && stream.frames_per_file().all(|n| n.is_multiple_of(needed));
    if stream.continues() && !whole_scans {
        return Ok(None);
    }
    let mut one = request.clone();
    if let Some(shape) = &mut one.shape {
        shape[0] = match shape[0] {
            0 => 1,
            n => n.div_ceil(n_files),
        };
    }
    let Container::Detector(format) = files[model].1 else {
        return Ok(None);
    };
    let stream_of_one = (format.open)(&files[model].0, &one)?;
    let source = ArrangedSource::new(stream_of_one, one.shape, &one.frames)?;
    let header = source.header();
    let unknown = header.scan_origin.as_deref() == Some(NOT_STATED);
    if unknown && stream.frames_per_file().any(|n| n != longest) {
        return Ok(None);
    }
    let shape = header.shape;
    // Times that were asked for stay, so that files which do not hold them are refused.
    let n_times = match request.shape.map_or(0, |shape| shape[0]) {
        0 => shape.n_times.saturating_mul(n_files),
        n => n,
    };
    one.shape = Some([n_times, shape.n_rows, shape.n_cols, 0, 0]);
    one.frames = source.layout(&request.frames);
    Ok(Some(one))
}

impl FilesSource {
    fn new(
        files: Vec<(PathBuf, Container)>,
        name: String,
        request: &OpenRequest,
        warning: Option<Warning>,
    ) -> Result<Self> {
        let n_files = files.len();
        if n_files == 0 {
            return Err(Error::EmptyFolder {
                path: request.path.clone(),
            });
        }
        // Each file is opened with the shape of its share of the times.
        let mut request = request.clone();
        let wanted_times = request.shape.map_or(0, |shape| shape[0]);
        let pattern_known = request.raw.is_none();
        if let Some(shape) = &mut request.shape {
            let must_know = if pattern_known {
                &shape[1..3]
            } else {
                &shape[1..]
            };
            shape[0] = match wanted_times {
                // Only one length can be found out, so a file with another unknown one is one scan.
                0 => usize::from(must_know.contains(&0)),
                n => (n / n_files).max(1),
            };
        }
        let mut opened: Vec<ScanFile> = Vec::with_capacity(n_files);
        let mut first: Option<(PathBuf, SeriesHeader)> = None;
        let mut gathered = Gathered::default();
        let mut n_events = Some(0.0);
        for (path, container) in files {
            let source = open_container(&path, container, &request)?;
            gathered.add(source.header());
            let of_file = source.events().map(EventSource::events_per_frame);
            n_events = n_events.zip(of_file).map(|(sum, n)| sum + n);
            if let Some((first_path, first_header)) = &first {
                check_same(first_path, first_header, &path, source.header())?;
            } else {
                first = Some((path.clone(), source.header().clone()));
            }
            let source = (opened.len() < MOST_OPEN).then_some(source);
            opened.push(ScanFile {
                path,
                container,
                source,
            });
        }
        let Some((first_path, one)) = first else {
            return Err(Error::EmptyFolder { path: request.path });
        };
        let times_per_file = one.shape.n_times;
        let n_times = times_per_file.saturating_mul(n_files);
        if wanted_times != 0 && wanted_times != n_times {
            return Err(Error::Shape {
                what: name,
                mismatch: Box::new(ShapeMismatch {
                    wanted: request
                        .shape
                        .map(|s| {
                            [wanted_times, s[1], s[2], s[3], s[4]]
                                .map(|len| len as u64)
                                .to_vec()
                        })
                        .unwrap_or_default(),
                    found: lens(&SeriesShape {
                        n_times,
                        ..one.shape
                    }),
                    problem: format!("{n_files} files do not hold the times asked for"),
                    suggestions: Vec::new(),
                }),
            });
        }
        let mut header = SeriesHeader {
            name,
            format: format!("{n_files} files, {}", one.format),
            shape: SeriesShape {
                n_times,
                ..one.shape
            },
            ..one
        };
        // The length of one file says nothing about the series.
        header.total_s = None;
        gathered.finish(&mut header);
        header.warnings.extend(warning);
        for stated in [
            &mut header.q_step_per_nm,
            &mut header.step_nm,
            &mut header.period_s,
            &mut header.temperature_k,
            &mut header.voltage_kv,
            &mut header.convergence_mrad,
            &mut header.dwell_ms,
        ]
        .into_iter()
        .flatten()
        {
            stated.origin = format!(
                "{} in {}",
                stated.origin,
                crate::open::display_name(&first_path)
            );
        }
        Ok(Self {
            header,
            files: opened,
            request,
            times_per_file,
            events_per_frame: n_events.map(|n_events| n_events / n_files as f64),
        })
    }

    /// The files that hold a run, and which of their own frames these are.
    fn parts(&self, run: &FrameRun) -> Vec<(&ScanFile, FrameRun)> {
        let mut parts = Vec::new();
        let mut time = run.first_time;
        let end = run.first_time + run.n_times;
        while time < end {
            let first_time = time % self.times_per_file;
            let n_times = (self.times_per_file - first_time).min(end - time);
            let own = FrameRun {
                first_time,
                n_times,
                ..*run
            };
            parts.push((&self.files[time / self.times_per_file], own));
            time += n_times;
        }
        parts
    }

    /// Calls a function with the source of one file.
    fn with_source<T>(
        &self,
        file: &ScanFile,
        with: impl FnOnce(&dyn FrameSource) -> halotau::Result<T>,
    ) -> halotau::Result<T> {
        if let Some(source) = &file.source {
            return with(source.as_ref());
        }
        let in_core = |e: Error| e.into_core(&self.header.name);
        let source = open_container(&file.path, file.container, &self.request).map_err(in_core)?;
        let expected = SeriesHeader {
            shape: SeriesShape {
                n_times: self.times_per_file,
                ..self.header.shape
            },
            ..self.header.clone()
        };
        let first = &self.files[0].path;
        check_same(first, &expected, &file.path, source.header()).map_err(in_core)?;
        with(source.as_ref())
    }

    /// Reads the part of a run that one file holds.
    fn read_part(&self, file: &ScanFile, run: &FrameRun) -> halotau::Result<FrameBlock> {
        let mut block = FrameBlock::empty(self.header.sample_type);
        self.with_source(file, |source| source.read(run, &mut block))?;
        Ok(block)
    }
}

/// What the headers of all files say together.
#[derive(Default)]
struct Gathered {
    n_times: usize,
    missing: Vec<FrameRun>,
    /// Start of each scan, ns; as many as there are scans where each file states its own.
    starts_ns: Vec<i64>,
    warnings: Vec<Warning>,
    n_frames: Vec<FrameCount>,
}

impl Gathered {
    fn add(&mut self, header: &SeriesHeader) {
        self.missing
            .extend(header.missing.iter().map(|run| FrameRun {
                first_time: run.first_time + self.n_times,
                ..*run
            }));
        self.n_times = self.n_times.saturating_add(header.shape.n_times);
        if let Some(start) = header.start_unix_ns {
            let within = match &header.times_s {
                Some(times) => times.as_slice(),
                None if header.shape.n_times == 1 => &[0.0],
                None => &[],
            };
            let since = |time: &f64| start.saturating_add((time * 1e9).round() as i64);
            self.starts_ns.extend(within.iter().map(since));
        }
        // What holds for one file in the same words is said once; a code that comes with each file, for the first of them.
        for warning in &header.warnings {
            if !self.warnings.iter().any(|known| known.code == warning.code) {
                self.warnings.push(warning.clone());
            }
        }
        for (idx, count) in header.frame_counts.iter().enumerate() {
            match self.n_frames.get_mut(idx) {
                Some(sum) if sum.origin == count.origin => {
                    sum.n_frames = sum.n_frames.saturating_add(count.n_frames);
                }
                Some(_) => {}
                None => self.n_frames.push(count.clone()),
            }
        }
    }

    fn finish(self, header: &mut SeriesHeader) {
        header.missing = self.missing;
        header.frame_counts = self.n_frames;
        header.warnings = self.warnings;
        header.times_s = None;
        let Some(&first) = self.starts_ns.first() else {
            return;
        };
        if self.starts_ns.len() != self.n_times || self.n_times < 2 {
            return;
        }
        if self.starts_ns.windows(2).all(|pair| pair[0] < pair[1]) {
            let since = |start: &i64| start.saturating_sub(first) as f64 * 1e-9;
            header.times_s = Some(self.starts_ns.iter().map(since).collect());
        } else {
            header.warnings.push(Warning::new(
                "W110",
                "The times that the files state do not grow in the order of their names, so they are not used. Is this the right order? Give data.files, or data.total_s or data.period_s.",
            ));
        }
    }
}

impl FrameSource for FilesSource {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        prepare(block, run, &self.header).map_err(|e| e.into_core(&self.header.name))?;
        let parts = self.parts(run);
        let mut at = 0;
        for parts in parts.chunks(rayon::current_num_threads().max(1)) {
            let blocks: Vec<FrameBlock> = parts
                .par_iter()
                .map(|(file, run)| self.read_part(file, run))
                .collect::<halotau::Result<_>>()?;
            for part in blocks {
                at += crate::sample_bytes::copy_samples(&mut block.samples, at, &part.samples);
            }
        }
        Ok(())
    }

    fn events(&self) -> Option<&dyn EventSource> {
        self.events_per_frame.is_some().then_some(self)
    }

    fn expect(&self, run: &FrameRun) {
        if run.check(&self.header.shape).is_err() {
            return;
        }
        for (file, run) in self.parts(run) {
            // Files that are opened for each read are not opened for a hint.
            if let Some(source) = &file.source {
                source.expect(&run);
            }
        }
    }
}

impl EventSource for FilesSource {
    fn events_per_frame(&self) -> f64 {
        self.events_per_frame.unwrap_or(0.0)
    }

    fn read_events(&self, run: &FrameRun, block: &mut EventBlock) -> halotau::Result<()> {
        run.check(&self.header.shape)?;
        for (file, run) in self.parts(run) {
            self.with_source(file, |source| match source.events() {
                Some(events) => events.read_events(&run, block),
                None => Ok(()),
            })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for FilesSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilesSource")
            .field("header", &self.header)
            .field("n_files", &self.files.len())
            .finish_non_exhaustive()
    }
}

fn lens(shape: &SeriesShape) -> Vec<u64> {
    [
        shape.n_times,
        shape.n_rows,
        shape.n_cols,
        shape.pattern_rows,
        shape.pattern_cols,
    ]
    .map(|len| len as u64)
    .to_vec()
}

fn check_same(
    first: &Path,
    expected: &SeriesHeader,
    path: &Path,
    found: &SeriesHeader,
) -> Result<()> {
    if expected.shape == found.shape && expected.sample_type == found.sample_type {
        return Ok(());
    }
    let say = |header: &SeriesHeader| format!("{} of {}", header.shape, header.sample_type);
    Err(Error::FilesDiffer {
        path: path.to_owned(),
        first: first.to_owned(),
        found: say(found),
        expected: say(expected),
    })
}
