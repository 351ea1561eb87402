//! Writing a reduction, shard by shard.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use halotau::reduce::{Reduction, Shard};
use halotau::ring::{RingCounts, RingSeries};
use halotau::series::SampleType;
use halotau::with_counts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::arrays::write_arrays;
use super::begun::{Hold, LOCK, begun, differences, empty, lock, own_lock, remove_own_files};
use super::{
    Attributes, CURE, Conventions, FORMAT, FRAME_VALID, KIND, PIXEL_VALID, RING_COUNTS, RingLayout,
    SUMS, Scalars, Task,
};
use crate::error::{Error, Result};
use crate::manifest::{
    FileRecord, MANIFEST, Manifest, Sync, check_length, line, lines, of_process, read_verified,
    sweep, sync_folder, write_whole, write_whole_as,
};
use crate::steps::{Granted, Step, Steps};
use crate::zarr_store::{ChunkedArray, GroupWriter, METADATA, group_metadata, pretty};

/// Writes a `reduction.zarr`; shards may be written from several threads at once.
#[derive(Debug)]
pub struct ReductionWriter {
    folder: PathBuf,
    attributes: Attributes,
    shards: Vec<Shard>,
    ring_counts: ChunkedArray,
    frame_valid: ChunkedArray,
    pixel_valid: ChunkedArray,
    progress: Mutex<Progress>,
    /// Which of several processes this is, where it does not write alone.
    task: Option<Task>,
    /// Held for as long as the writer lives.
    locks: Vec<File>,
    steps: Arc<dyn Steps>,
}

#[derive(Debug)]
struct Progress {
    manifest: Manifest,
    file: Option<File>,
}

impl ReductionWriter {
    /// Makes a reduction, or goes on with one that was begun with the same parameters.
    ///
    /// `params` is everything that the result depends on: settings and fingerprint of the input. With `restart`, what
    /// is there is discarded, but only where it is a reduction.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while another process writes there, [`Error::StaleParameters`] where it was begun with other
    /// parameters, [`Error::NotResults`] where the folder holds something else, [`Error::Io`].
    pub fn create(path: &Path, params: &Value, layout: RingLayout, restart: bool) -> Result<Self> {
        Self::create_with(path, params, layout, restart, Arc::new(Granted))
    }

    /// As [`ReductionWriter::create`], where someone is asked before each step of writing.
    ///
    /// # Errors
    ///
    /// As [`ReductionWriter::create`].
    pub fn create_with(
        path: &Path,
        params: &Value,
        layout: RingLayout,
        restart: bool,
        steps: Arc<dyn Steps>,
    ) -> Result<Self> {
        check_layout(&layout)?;
        let asked = steps.as_ref();
        asked
            .before(Step::MakeFolder, path)
            .and_then(|()| fs::create_dir_all(path))
            .map_err(|error| Error::io(path, "create", error))?;
        let lock = lock(path, LOCK, Hold::Alone, asked)?;
        let begun = begun(path, asked)?;
        if restart && begun.is_some() {
            empty(path, asked)?;
        }
        let begun = begun.filter(|_| !restart);
        let mut writer = Self::of(path, params, layout, begun, steps)?;
        writer.locks = vec![lock];
        writer.resume()?;
        Ok(writer)
    }

    /// Goes on with a reduction that was made with the same parameters, beside other processes that do the same: this one does
    /// the shards of its task. It can write shards and not finish.
    ///
    /// # Errors
    ///
    /// As [`ReductionWriter::create`]; [`Error::NotResults`] where nothing was begun, [`Error::Locked`] while a process writes
    /// there that is no task, or is the same one.
    pub fn join(path: &Path, params: &Value, layout: RingLayout, task: Task) -> Result<Self> {
        check_layout(&layout)?;
        let steps: Arc<dyn Steps> = Arc::new(Granted);
        let nothing = Error::NotResults {
            path: path.to_owned(),
            problem: "holds no reduction that was prepared for several processes; run `halotau reduce` with --tasks first",
        };
        if !path.join(METADATA).is_file() {
            return Err(nothing);
        }
        let common = lock(path, LOCK, Hold::Together, steps.as_ref())?;
        let own = lock(path, &own_lock(task), Hold::Alone, steps.as_ref())?;
        let begun = begun(path, steps.as_ref())?.ok_or(nothing)?;
        let mut writer = Self::of(path, params, layout, Some(begun), steps)?;
        writer.locks = vec![common, own];
        writer.task = Some(task);
        let manifest_path = path.join(writer.manifest_name());
        let own = writer.whole_shards(Manifest::read_file(&manifest_path)?);
        let mut all = writer.whole_shards(Manifest::read_all(path)?);
        if writer.attributes.complete {
            // Nothing will be written, so nobody needs to be kept out.
            remove_own_files(path, writer.steps.as_ref())?;
        } else {
            // A line that was cut short would hide those after it.
            let text = lines(&own.shards);
            write_whole(&manifest_path, text.as_bytes(), writer.disk())?;
        }
        all.shards.extend(own.shards);
        writer.progress = Mutex::new(Progress {
            manifest: all,
            file: None,
        });
        Ok(writer)
    }

    /// A writer without lock, of what was begun with the same parameters or of nothing.
    fn of(
        path: &Path,
        params: &Value,
        layout: RingLayout,
        begun: Option<Attributes>,
        steps: Arc<dyn Steps>,
    ) -> Result<Self> {
        let wanted = Attributes {
            kind: KIND.to_owned(),
            format: FORMAT,
            complete: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            coordinates: String::new(),
            conventions: Conventions::default(),
            layout,
            parameters: params.clone(),
            reduction: None,
        };
        if let Some(begun) = &begun {
            let differences = differences(begun, &wanted);
            if !differences.is_empty() {
                return Err(Error::StaleParameters {
                    path: path.to_owned(),
                    differences,
                });
            }
        }
        let RingLayout {
            n_rows,
            n_cols,
            n_times,
            n_pixels,
            ..
        } = layout;
        let counts_chunks = layout.chunks(&[n_times, n_pixels]);
        let counts_shape = [n_rows, n_cols, n_times, n_pixels];
        let none = Map::new;
        let ring_counts = match layout.sample_type {
            SampleType::U8 => {
                ChunkedArray::new::<u8>(&RING_COUNTS, &counts_shape, &counts_chunks, none())
            }
            SampleType::U16 => {
                ChunkedArray::new::<u16>(&RING_COUNTS, &counts_shape, &counts_chunks, none())
            }
            SampleType::U32 => {
                ChunkedArray::new::<u32>(&RING_COUNTS, &counts_shape, &counts_chunks, none())
            }
            _ => ChunkedArray::new::<f32>(&RING_COUNTS, &counts_shape, &counts_chunks, none()),
        }?;
        let frame_valid = ChunkedArray::new::<bool>(
            &FRAME_VALID,
            &[n_rows, n_cols, n_times],
            &layout.chunks(&[n_times]),
            none(),
        )?;
        let pixel_valid = ChunkedArray::new::<bool>(
            &PIXEL_VALID,
            &[n_rows, n_cols, n_pixels],
            &layout.chunks(&[n_pixels]),
            none(),
        )?;
        Ok(Self {
            folder: path.to_owned(),
            attributes: begun.unwrap_or(wanted),
            shards: layout.shards(),
            ring_counts,
            frame_valid,
            pixel_valid,
            progress: Mutex::new(Progress {
                manifest: Manifest::default(),
                file: None,
            }),
            task: None,
            locks: Vec::new(),
            steps,
        })
    }

    /// Flushed, and asked for step by step.
    fn disk(&self) -> Sync<'_> {
        Sync::Disk(self.steps.as_ref())
    }

    /// What a manifest says of shards whose files are there with their lengths.
    fn whole_shards(&self, mut manifest: Manifest) -> Manifest {
        let is_whole = |files: &Vec<FileRecord>| {
            files
                .iter()
                .all(|file| check_length(&self.folder, file, CURE).is_ok())
        };
        manifest
            .shards
            .retain(|&shard, files| shard < self.shards.len() && is_whole(files));
        manifest
    }

    fn manifest_name(&self) -> String {
        self.task
            .map_or_else(|| MANIFEST.to_owned(), |task| of_process(&task.label()))
    }

    /// Sweeps up what a killed run left, and keeps the shards that are whole.
    fn resume(&mut self) -> Result<()> {
        let mut manifest = Manifest::read_all(&self.folder)?;
        if self.attributes.complete {
            // A run that was killed after the last step may have left these.
            self.remove_sums()?;
        } else {
            sweep(&self.folder, self.steps.as_ref())?;
            manifest = self.whole_shards(manifest);
            manifest.files.clear();
            let attributes = attribute_map(&self.attributes);
            write_whole(
                &self.folder.join(METADATA),
                &pretty(&group_metadata(attributes, None)),
                self.disk(),
            )?;
            let mut group = GroupWriter::new(&self.folder, self.disk());
            self.declare(&mut group)?;
            let text = lines(&manifest.shards);
            write_whole(&self.folder.join(MANIFEST), text.as_bytes(), self.disk())?;
            remove_own_files(&self.folder, self.steps.as_ref())?;
        }
        let progress = self
            .progress
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        progress.manifest = manifest;
        Ok(())
    }

    fn declare(&self, group: &mut GroupWriter<'_>) -> Result<()> {
        group.declare(&self.ring_counts)?;
        group.declare(&self.frame_valid)?;
        group.declare(&self.pixel_valid)
    }

    /// The shards, row by row.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Whether a shard is complete.
    pub fn done(&self, shard_index: usize) -> bool {
        self.attributes.complete
            || self.with_progress(|progress| progress.manifest.shards.contains_key(&shard_index))
    }

    /// Number of shards that are complete.
    pub fn n_done(&self) -> usize {
        self.with_progress(|progress| progress.manifest.shards.len())
    }

    /// Whether everything was written by an earlier run, so that there is nothing to do but to read it.
    pub fn is_complete(&self) -> bool {
        self.attributes.complete
    }

    fn with_progress<T>(&self, look: impl FnOnce(&mut Progress) -> T) -> T {
        // A thread that panicked while it held the lock left a manifest that is behind the files, never ahead.
        look(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes one shard and its partial sums; when this returns, both survive a crash.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] where the series is not of the shard's shape and the layout's number type, [`Error::Io`].
    pub fn write_shard<S: Serialize>(
        &self,
        shard: &Shard,
        ring: &RingSeries,
        sums: &S,
    ) -> Result<()> {
        self.check_shard(shard, ring)?;
        let [row, col] = self.attributes.layout.chunk(shard);
        let label = self.task.map(|task| format!(".{}", task.label()));
        let label = label.unwrap_or_default();
        let mut files = Vec::new();
        let mut write = |path: String, bytes: Vec<u8>| -> Result<()> {
            write_whole_as(&label, &self.folder.join(&path), &bytes, self.disk())?;
            files.push(FileRecord::of(&path, &bytes));
            Ok(())
        };
        let counts = with_counts!(&ring.counts, counts => self.ring_counts.encode(counts.view().into_dyn()))?;
        write(self.ring_counts.key(&[row, col, 0, 0]), counts)?;
        let frames = self
            .frame_valid
            .encode(ring.frame_valid.view().into_dyn())?;
        write(self.frame_valid.key(&[row, col, 0]), frames)?;
        // A file that is not there reads as all valid, here and in other programs.
        if let Some(pixel_valid) = &ring.pixel_valid {
            let pixels = self.pixel_valid.encode(pixel_valid.view().into_dyn())?;
            write(self.pixel_valid.key(&[row, col, 0]), pixels)?;
        }
        let sums = postcard::to_stdvec(sums).map_err(|error| Error::Value {
            what: format!("partial sums of shard {}", shard.index),
            expected: "values that postcard can write".to_owned(),
            found: error.to_string(),
        })?;
        write(sums_path(shard.index), sums)?;
        self.with_progress(|progress| self.add_line(progress, shard.index, files))
    }

    fn check_shard(&self, shard: &Shard, ring: &RingSeries) -> Result<()> {
        let layout = &self.attributes.layout;
        let known = self.shards.get(shard.index) == Some(shard);
        let sample_type = sample_type(&ring.counts);
        let (n_rows, n_cols, n_times, n_pixels) = ring.dim();
        let shape_fits = (n_rows, n_cols, n_times, n_pixels)
            == (shard.n_rows, shard.n_cols, layout.n_times, layout.n_pixels)
            && ring.frame_valid.dim() == (n_rows, n_cols, n_times)
            && ring
                .pixel_valid
                .as_ref()
                .is_none_or(|valid| valid.dim() == (n_rows, n_cols, n_pixels));
        if known && shape_fits && sample_type == layout.sample_type {
            return Ok(());
        }
        Err(Error::Value {
            what: format!("shard {}", shard.index),
            expected: format!(
                "{} of {} x {} x {} x {}",
                layout.sample_type, shard.n_rows, shard.n_cols, layout.n_times, layout.n_pixels
            ),
            found: format!("{sample_type} of {n_rows} x {n_cols} x {n_times} x {n_pixels}"),
        })
    }

    fn add_line(
        &self,
        progress: &mut Progress,
        shard: usize,
        files: Vec<FileRecord>,
    ) -> Result<()> {
        let path = self.folder.join(self.manifest_name());
        let failed = |error| Error::io(&path, "write", error);
        if progress.file.is_none() {
            let file = File::options().append(true).open(&path).map_err(failed)?;
            progress.file = Some(file);
        }
        if let Some(file) = &mut progress.file {
            self.steps
                .before(Step::Append, &path)
                .and_then(|()| file.write_all(line(Some(shard), &files).as_bytes()))
                .and_then(|()| self.steps.before(Step::Flush, &path))
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
        }
        progress.manifest.shards.insert(shard, files);
        Ok(())
    }

    /// The partial sums that were written with a shard, bit for bit.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where they are not what was written, [`Error::Value`] where the shard is not done or the sums
    /// are of another type.
    pub fn read_sums<S: DeserializeOwned>(&self, shard_index: usize) -> Result<S> {
        let path = sums_path(shard_index);
        let record = self
            .with_progress(|progress| progress.manifest.record(&path).cloned())
            .ok_or_else(|| Error::Value {
                what: format!("partial sums of shard {shard_index}"),
                expected: "a shard that is done, of an unfinished reduction".to_owned(),
                found: "none".to_owned(),
            })?;
        let bytes = read_verified(&self.folder, &record, CURE)?;
        postcard::from_bytes(&bytes).map_err(|error| Error::Damaged {
            path: self.folder.join(&path),
            problem: format!("its sums are not those of this version of halotau: {error}"),
            cure: CURE,
        })
    }

    /// Writes everything that is not in the shards, and says last that the reduction is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] while shards are missing, [`Error::Value`] where the reduction does not fit the layout,
    /// [`Error::Io`].
    pub fn finish(self, reduction: &Reduction) -> Result<()> {
        if self.attributes.complete {
            return Ok(());
        }
        let done = self.n_done();
        if self.task.is_some() || done != self.shards.len() {
            return Err(Error::Incomplete {
                path: self.folder.clone(),
                done,
                total: self.shards.len(),
            });
        }
        self.check_reduction(reduction)?;
        let mut group = GroupWriter::new(&self.folder, self.disk());
        self.declare(&mut group)?;
        let coordinates = write_arrays(&mut group, reduction)?;
        let attributes = Attributes {
            complete: true,
            coordinates: coordinates.join(" "),
            reduction: Some(Scalars::of(reduction)),
            ..self.attributes.clone()
        };
        let mut shards = self.with_progress(|progress| {
            progress.file = None;
            std::mem::take(&mut progress.manifest.shards)
        });
        // The sums have gone into the reduction.
        for (&shard, files) in &mut shards {
            files.retain(|file| file.path != sums_path(shard));
        }
        group.finish(attribute_map(&attributes), shards)?;
        self.remove_sums()?;
        sync_folder(&self.folder, self.steps.as_ref())
    }

    fn check_reduction(&self, reduction: &Reduction) -> Result<()> {
        let layout = &self.attributes.layout;
        let found = [
            reduction.n_rows(),
            reduction.n_cols(),
            reduction.time.len(),
            reduction.annulus.len(),
            reduction.shard_rows,
            reduction.shard_cols,
        ];
        let expected = [
            layout.n_rows,
            layout.n_cols,
            layout.n_times,
            layout.n_pixels,
            layout.shard_rows,
            layout.shard_cols,
        ];
        if found == expected {
            return Ok(());
        }
        Err(Error::Value {
            what: "the reduction".to_owned(),
            expected: format!("rows, columns, times, pixels and shard lengths {expected:?}"),
            found: format!("{found:?}"),
        })
    }

    fn remove_sums(&self) -> Result<()> {
        let path = self.folder.join(SUMS);
        let removed = self.steps.before(Step::Remove, &path);
        match removed.and_then(|()| fs::remove_dir_all(&path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&path, "remove", error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for ReductionWriter {
    fn drop(&mut self) {
        // The process number in the lock file is a courtesy to whoever meets the lock; without it nothing is lost.
        for lock in &self.locks {
            let _ = lock.set_len(0);
        }
    }
}

fn sums_path(shard: usize) -> String {
    format!("{SUMS}/{shard}")
}

fn sample_type(counts: &RingCounts) -> SampleType {
    match counts {
        RingCounts::U8(_) => SampleType::U8,
        RingCounts::U16(_) => SampleType::U16,
        RingCounts::U32(_) => SampleType::U32,
        RingCounts::F32(_) => SampleType::F32,
    }
}

fn check_layout(layout: &RingLayout) -> Result<()> {
    let is_stored = matches!(
        layout.sample_type,
        SampleType::U8 | SampleType::U16 | SampleType::U32 | SampleType::F32
    );
    if is_stored && layout.shard_rows > 0 && layout.shard_cols > 0 {
        return Ok(());
    }
    Err(Error::Value {
        what: "the layout of the counts".to_owned(),
        expected: "u8, u16, u32 or f32 in shards of at least one position".to_owned(),
        found: format!(
            "{} in shards of {} x {}",
            layout.sample_type, layout.shard_rows, layout.shard_cols
        ),
    })
}

fn attribute_map(attributes: &Attributes) -> Map<String, Value> {
    match serde_json::to_value(attributes) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("attributes are a struct of values that JSON holds"),
    }
}
