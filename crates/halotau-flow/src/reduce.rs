//! The one pass over the data of a temperature, into memory or into a folder.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use halotau::map::LoadShard;
use halotau::rank::median;
use halotau::recipe::{DataBlock, Recipe};
use halotau::reduce::{CountType, Reduction, Shard, ShardSums, Totals};
use halotau::ring::RingSeries;
use halotau::series::{SampleType, SeriesHeader, Warning};
use halotau_figure::Figure;
use halotau_io::reduction_folder::{ReductionReader, ReductionWriter, RingLayout, Task, identity};
use serde_json::{Value, json};

use crate::calibrate::{self, Record};
use crate::context::{Context, Unit};
use crate::draw;
use crate::error::{Error, Result};
use crate::fingerprint;
use crate::kept_shards::KeptShards;
use crate::memory::{AnalysisSize, ENOUGH, MemoryPlan, check_analysis, memory_plan};
use crate::prepare::{Prepared, completed_recipe, prepare};
use crate::recipe_file::Loaded;
use crate::results;

/// Name of the reduction inside a result folder.
pub const REDUCTION: &str = "reduction.zarr";

/// A reduction with its counts, wherever they are.
#[derive(Debug)]
pub struct Reduced {
    /// All but the counts.
    pub reduction: Reduction,
    /// The recipe with what the file states filled in.
    pub recipe: Recipe,
    /// Fingerprint of the input.
    pub fingerprint: String,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// What was measured of the microscope, where the recipe asked for it.
    pub record: Option<Record>,
    /// Pictures of that, where it was measured just now.
    pub pictures: Vec<Figure>,
    /// What the reduction is known by, where it is kept in a folder.
    pub identity: Option<String>,
    rings: Rings,
}

#[derive(Debug)]
enum Rings {
    Memory(Vec<RingSeries>),
    Folder(Box<ReductionReader>, KeptShards),
}

impl Reduced {
    /// Opens the reduction in a result folder, for another analysis in the memory there is. Counts that were read stay there as far as they fit.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] where the analysis does not fit; as [`Reduced::open`].
    pub fn open_to_analyze(folder: &Path, recipe: &Recipe, context: &Context<'_>) -> Result<Self> {
        let mut reduced = Self::open(folder, recipe, 0)?;
        let reduction = &reduced.reduction;
        if let Rings::Folder(reader, kept) = &mut reduced.rings {
            let size = AnalysisSize::reduced(&reader.layout(), &reduction.annulus, recipe);
            check_analysis(&reduction.name, size, recipe, context)?;
            let room = room_for_counts(size.bytes(recipe, context.n_threads()), context);
            *kept = KeptShards::new(reduction.shards().len(), room);
        }
        Ok(reduced)
    }

    /// Opens the reduction in a result folder. Counts that were read stay in memory up to `room_bytes`.
    ///
    /// # Errors
    ///
    /// Where there is none, or it is incomplete or damaged.
    pub fn open(folder: &Path, recipe: &Recipe, room_bytes: u64) -> Result<Self> {
        let reader = ReductionReader::open(&folder.join(REDUCTION))?;
        let reduction = reader.reduction()?;
        let parameters = reader.parameters();
        let text = |key: &str| {
            parameters
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let header: Option<SeriesHeader> = parameters
            .get("header")
            .and_then(|header| serde_json::from_value(header.clone()).ok());
        let mut recipe = header.map_or_else(
            || recipe.clone(),
            |header| completed_recipe(recipe, &header),
        );
        if let Some(gain) = parameters.get("gain").and_then(Value::as_f64) {
            take_gain(&mut recipe, gain);
        }
        let record = results::read_record(folder);
        let kept = KeptShards::new(reduction.shards().len(), room_bytes);
        Ok(Self {
            reduction,
            recipe,
            fingerprint: text("fingerprint"),
            warnings: record
                .as_ref()
                .map_or_else(Vec::new, |record| record.warnings.clone()),
            record,
            pictures: Vec::new(),
            identity: Some(identity(&folder.join(REDUCTION))?),
            rings: Rings::Folder(Box::new(reader), kept),
        })
    }

    /// The counts of a shard.
    ///
    /// # Errors
    ///
    /// Where a file is damaged.
    pub fn shard(&self, shard: &Shard) -> Result<Cow<'_, RingSeries>, halotau::Error> {
        match &self.rings {
            Rings::Memory(rings) => Ok(Cow::Borrowed(&rings[shard.index])),
            Rings::Folder(reader, kept) => kept.shard(shard, || {
                reader.shard(shard).map_err(|error| {
                    let name = reader.path().display().to_string();
                    error.into_core(&name)
                })
            }),
        }
    }

    /// The counts, for [`halotau::map::analyze`].
    pub fn loader(&self) -> Box<LoadShard<'_>> {
        Box::new(|shard| self.shard(shard))
    }
}

/// Bytes of counts that may stay in memory between the passes of an analysis: half of what is stated, or of what is enough where nothing is,
/// and no more than the analysis leaves, which takes `taken_bytes`.
fn room_for_counts(taken_bytes: u64, context: &Context<'_>) -> u64 {
    let frugal = || context.memory_limit().min(ENOUGH);
    let within = context.memory_bytes.unwrap_or_else(frugal);
    (within / 2).min(within.saturating_sub(taken_bytes))
}

/// Reduces one data block. With a folder, the reduction is kept there and an interrupted one is continued; without,
/// the counts must fit in memory. Pictures of the calibration, where one is made, go into `pictures`.
///
/// # Errors
///
/// What is wrong with the input, the recipe, or the output folder.
pub fn reduce(
    loaded: &Loaded,
    block: &DataBlock,
    folder: Option<&Path>,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Reduced> {
    let prepared = prepare(loaded, block, pictures, context)?;
    reduce_prepared(loaded, block, prepared, folder, pictures, context)
}

/// As [`reduce`], for an analysis with the choices of the recipe: refused before the pass where the analysis does not fit in memory.
///
/// # Errors
///
/// As [`reduce`], and [`Error::Memory`].
pub(crate) fn reduce_to_analyze(
    loaded: &Loaded,
    block: &DataBlock,
    folder: Option<&Path>,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Reduced> {
    let prepared = prepare(loaded, block, pictures, context)?;
    let header = &prepared.header;
    let size = AnalysisSize::planned(&prepared.plan, header.shape.n_times, &loaded.recipe);
    check_analysis(&header.name, size, &loaded.recipe, context)?;
    reduce_prepared(loaded, block, prepared, folder, pictures, context)
}

fn reduce_prepared(
    loaded: &Loaded,
    block: &DataBlock,
    prepared: Prepared,
    folder: Option<&Path>,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Reduced> {
    let (mut record, mut drawn) = (None, Vec::new());
    if let Some(calibrated) = &prepared.calibrated {
        record = Some(calibrated.record.clone());
        drawn = calibrate::pictures(calibrated, &loaded.recipe)?;
        if let Some(pictures) = pictures {
            draw::write(&drawn, pictures, &loaded.recipe.output, context)?;
        }
    }
    let pass = Pass::new(loaded, block, prepared, context)?;
    let reduced = match folder {
        Some(folder) => pass.into_folder(&folder.join(REDUCTION), context),
        None => pass.into_memory(context),
    }?;
    Ok(Reduced {
        record,
        pictures: drawn,
        ..reduced
    })
}

/// The one pass over a series, planned.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) prepared: Prepared,
    pub(crate) recipe: Recipe,
    memory: MemoryPlan,
    fingerprint: String,
}

/// Units of a corrected sample an electron, where the peaks of single electrons tell.
fn gain_of_electrons(prepared: &Prepared) -> Option<f64> {
    let units = prepared.calibrated.as_ref()?.measured.units_per_electron?;
    let of_map = prepared.plan.gain_pattern().map_or(1.0, |gain| {
        let values: Vec<f64> = gain
            .iter()
            .copied()
            .filter(|gain| gain.is_finite())
            .collect();
        median(&values)
    });
    Some(units.value / of_map)
}

/// The gain that the shot noise of V needs, where the recipe leaves it at 1.
fn take_gain(recipe: &mut Recipe, gain: f64) {
    if recipe.structure.gain == 1.0 && gain.is_finite() && gain > 0.0 {
        recipe.structure.gain = gain;
    }
}

/// The files of a data block.
pub fn input_paths(loaded: &Loaded, block: &DataBlock) -> Vec<std::path::PathBuf> {
    if block.files.is_empty() {
        vec![loaded.folder.join(&block.path)]
    } else {
        block
            .files
            .iter()
            .map(|file| loaded.folder.join(file))
            .collect()
    }
}

impl Pass {
    /// Plans the memory of a pass and looks at its input.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`], and where the input cannot be read.
    pub(crate) fn new(
        loaded: &Loaded,
        block: &DataBlock,
        prepared: Prepared,
        context: &Context<'_>,
    ) -> Result<Self> {
        let memory = memory_plan(&prepared.plan, &prepared.header, context)?;
        let fingerprint = fingerprint::of(&input_paths(loaded, block))?;
        let mut recipe = completed_recipe(&loaded.recipe, &prepared.header);
        recipe.data = vec![block.clone()];
        if let Some(gain) = gain_of_electrons(&prepared) {
            take_gain(&mut recipe, gain);
        }
        let stated = prepared.header.dwell_ms.as_ref();
        recipe.data[0].dwell_ms = block.dwell_ms.or(stated.map(|stated| stated.value));
        Ok(Self {
            prepared,
            recipe,
            memory,
            fingerprint,
        })
    }

    /// Whether the counts can stay in memory.
    pub(crate) fn fits_in_memory(&self, context: &Context<'_>) -> bool {
        self.memory.unwritten_bytes <= context.memory_limit()
    }

    /// Goes over all frames and keeps the counts in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] where they do not fit there; what is wrong with the input.
    pub(crate) fn into_memory(self, context: &Context<'_>) -> Result<Reduced> {
        let Self {
            prepared,
            recipe,
            memory,
            fingerprint,
        } = self;
        if memory.unwritten_bytes > context.memory_limit() {
            return Err(Error::Memory {
                what: format!(
                    "keeping the counts of {} in memory (output.keep_reduction = true does without)",
                    prepared.header.name
                ),
                limit_bytes: context.memory_limit(),
                needed_bytes: memory.unwritten_bytes,
            });
        }
        let mut rings = Vec::new();
        let mut totals = Totals::new(&prepared.plan);
        let shards = prepared.plan.shards();
        begin_stage(&prepared, &shards, context);
        let stop = AtomicBool::new(false);
        for (group, next) in groups(&prepared, &shards, memory) {
            for (ring, sum) in reduce_shards(&prepared, (group, next), memory, context, &stop)? {
                rings.push(ring);
                totals.add(&sum)?;
            }
        }
        context.stage_done();
        let reduction = prepared.plan.finish(totals)?;
        Ok(Reduced {
            reduction,
            recipe,
            fingerprint,
            warnings: prepared.warnings,
            record: None,
            pictures: Vec::new(),
            identity: None,
            rings: Rings::Memory(rings),
        })
    }

    /// How the counts lie in the folder.
    pub(crate) fn layout(&self) -> RingLayout {
        let plan = &self.prepared.plan;
        let (shard_rows, shard_cols) = plan.shard_shape();
        let shards = plan.shards();
        RingLayout {
            n_rows: shards
                .last()
                .map_or(0, |shard| shard.first_row + shard.n_rows),
            n_cols: shards
                .last()
                .map_or(0, |shard| shard.first_col + shard.n_cols),
            n_times: self.prepared.header.shape.n_times,
            n_pixels: plan.annulus().len(),
            shard_rows,
            shard_cols,
            sample_type: match plan.count_type() {
                CountType::U8 => SampleType::U8,
                CountType::U16 => SampleType::U16,
                CountType::U32 => SampleType::U32,
                CountType::F32 => SampleType::F32,
            },
        }
    }

    /// Makes the reduction in a folder, or goes on with it.
    pub(crate) fn writer(&self, folder: &Path, context: &Context<'_>) -> Result<ReductionWriter> {
        let parameters = self.parameters();
        Ok(ReductionWriter::create(
            folder,
            &parameters,
            self.layout(),
            context.restart,
        )?)
    }

    /// Does the shards of a task that nobody has done, beside other processes; gives how many.
    pub(crate) fn join(
        &self,
        folder: &Path,
        task: Task,
        shards: &[Shard],
        context: &Context<'_>,
    ) -> Result<usize> {
        let writer = ReductionWriter::join(folder, &self.parameters(), self.layout(), task)?;
        let open: Vec<Shard> = shards
            .iter()
            .filter(|shard| !writer.done(shard.index))
            .copied()
            .collect();
        if !open.is_empty() {
            begin_stage(&self.prepared, &open, context);
        }
        reduce_and_write(
            (&self.prepared, self.memory, context),
            &open,
            |shard, ring, sums| Ok(writer.write_shard(shard, &ring, &sums)?),
            |_, ()| Ok(()),
        )?;
        if !open.is_empty() {
            context.stage_done();
        }
        Ok(open.len())
    }

    fn into_folder(self, folder: &Path, context: &Context<'_>) -> Result<Reduced> {
        let writer = self.writer(folder, context)?;
        let Self {
            prepared,
            recipe,
            memory,
            fingerprint,
        } = self;
        let shards = prepared.plan.shards();
        let size = AnalysisSize::planned(&prepared.plan, prepared.header.shape.n_times, &recipe);
        let room = room_for_counts(size.bytes(&recipe, context.n_threads()), context);
        if writer.n_done() > 0 && !writer.is_complete() {
            context.note(format!(
                "resuming: {} of {} shards are there",
                writer.n_done(),
                shards.len()
            ));
        }
        if writer.is_complete() {
            context.note(format!(
                "{} is complete already and is used as it is",
                folder.display()
            ));
            drop(writer);
            let reader = ReductionReader::open(folder)?;
            let reduction = reader.reduction()?;
            let kept = KeptShards::new(shards.len(), room);
            return Ok(Reduced {
                reduction,
                recipe,
                fingerprint,
                warnings: prepared.warnings,
                record: None,
                pictures: Vec::new(),
                identity: Some(identity(folder)?),
                rings: Rings::Folder(Box::new(reader), kept),
            });
        }
        let open: Vec<Shard> = shards
            .iter()
            .filter(|shard| !writer.done(shard.index))
            .copied()
            .collect();
        begin_stage(&prepared, &open, context);
        let mut rings = Vec::new();
        let mut totals = Totals::new(&prepared.plan);
        let keep = memory.in_memory && memory.counts_bytes <= room && writer.n_done() == 0;
        // Sums are added in the order of the shards; those of shards that were there are read when it is their turn.
        let add = |until: usize, totals: &mut Totals| -> Result<()> {
            // A shard that failed leaves a gap; then it ends with that error and not with these totals.
            while totals.n_added() < until && writer.done(totals.n_added()) {
                totals.add(&writer.read_sums(totals.n_added())?)?;
            }
            Ok(())
        };
        reduce_and_write(
            (&prepared, memory, context),
            &open,
            |shard, ring, sums| {
                writer.write_shard(shard, &ring, &sums)?;
                Ok((keep.then_some(ring), sums))
            },
            |shard, (ring, sums)| {
                add(shard.index, &mut totals)?;
                totals.add(&sums)?;
                rings.extend(ring);
                Ok(())
            },
        )?;
        add(shards.len(), &mut totals)?;
        context.stage_done();
        let Prepared { plan, warnings, .. } = prepared;
        let reduction = plan.finish(totals)?;
        writer.finish(&reduction)?;
        let rings = if keep {
            Rings::Memory(rings)
        } else {
            let reader = ReductionReader::open(folder)?;
            let kept = KeptShards::new(shards.len(), room);
            Rings::Folder(Box::new(reader), kept)
        };
        Ok(Reduced {
            reduction,
            recipe,
            fingerprint,
            warnings,
            record: None,
            pictures: Vec::new(),
            identity: Some(identity(folder)?),
            rings,
        })
    }

    /// Everything that the reduction depends on, for resuming and for provenance.
    fn parameters(&self) -> Value {
        let Self {
            prepared,
            recipe,
            fingerprint,
            ..
        } = self;
        let plan = &prepared.plan;
        let calibration = plan.calibration();
        let bytes: Vec<u8> = calibration
            .pixel_valid
            .iter()
            .map(|&valid| u8::from(valid))
            .collect();
        let of_pattern = |pattern: Option<&halotau::ndarray::Array2<f64>>| {
            pattern.map(|pattern| {
                let bytes: Vec<u8> = pattern
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                blake3::hash(&bytes).to_hex().to_string()
            })
        };
        json!({
            "fingerprint": fingerprint,
            "header": prepared.header,
            "region": plan.region(),
            "pattern": { "bin": recipe.pattern.bin, "mask": blake3::hash(&bytes).to_hex().to_string(),
                         "dark": of_pattern(plan.dark_pattern()), "gain": of_pattern(plan.gain_pattern()) },
            "gain": gain_of_electrons(prepared),
            "common_mode_cols": recipe.pattern.common_mode_cols,
            "annulus_q_range_per_nm": plan.annulus().range,
            "calibration": calibration,
            "time_basis": recipe.time.basis,
        })
    }
}

/// Reduces shards one after another, or those together that the file decodes together. Each is written on a thread of its own while the
/// next is reduced, where there is memory for both, so that no more than one is in flight; `written` gets what came of it, in
/// their order.
///
/// An error of either ends both; what is complete stays. A disk that fails to read ends it after the other shards, where
/// [`Context::keep_going`] says so.
fn reduce_and_write<T: Send>(
    (prepared, memory, context): (&Prepared, MemoryPlan, &Context<'_>),
    shards: &[Shard],
    write: impl Fn(&Shard, RingSeries, ShardSums) -> Result<T> + Sync,
    mut written: impl FnMut(&Shard, T) -> Result<()>,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let write = |shard: &Shard, ring, sums| {
        write(shard, ring, sums).inspect_err(|_| stop.store(true, Ordering::Relaxed))
    };
    thread::scope(|scope| {
        let mut failed = None;
        let mut in_flight: Option<(Shard, ScopedJoinHandle<'_, Result<T>>)> = None;
        let mut land = |in_flight: &mut Option<(Shard, ScopedJoinHandle<'_, Result<T>>)>| {
            let Some((shard, writing)) = in_flight.take() else {
                return Ok(());
            };
            let done = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written(&shard, done?)
        };
        for (group, next) in groups(prepared, shards, memory) {
            let reduced = reduce_shards(prepared, (group, next), memory, context, &stop);
            // First, because its error is the reason where these shards were stopped.
            land(&mut in_flight)?;
            let reduced = match reduced {
                Err(error) if context.keep_going && error.exit_code() == 74 => {
                    context.note(format!(
                        "{} failed, going on with the others: {error}",
                        named(group)
                    ));
                    failed.get_or_insert(error);
                    continue;
                }
                reduced => reduced?,
            };
            for (&shard, (ring, sums)) in group.iter().zip(reduced) {
                land(&mut in_flight)?;
                let write = &write;
                let writing = thread::Builder::new()
                    .name("halotau-write".to_owned())
                    .spawn_scoped(scope, move || write(&shard, ring, sums))
                    .map_err(|error| Error::Threads {
                        n_threads: context.n_threads() + 1,
                        source: Box::new(error),
                    })?;
                in_flight = Some((shard, writing));
            }
            if !memory.overlapped {
                land(&mut in_flight)?;
            }
        }
        land(&mut in_flight)?;
        failed.map_or(Ok(()), Err)
    })
}

fn named(shards: &[Shard]) -> String {
    match shards {
        [shard] => format!("shard {}", shard.index),
        [first, .., last] => format!("shards {} to {}", first.index, last.index),
        [] => "no shard".to_owned(),
    }
}

/// Shards that are reduced together, with those that are next.
fn groups<'a>(
    prepared: &Prepared,
    shards: &'a [Shard],
    memory: MemoryPlan,
) -> impl Iterator<Item = (&'a [Shard], &'a [Shard])> {
    let groups = prepared.plan.groups(shards, memory.rows_at_once);
    let next = groups.clone().into_iter().skip(1).chain([&[][..]]);
    groups.into_iter().zip(next)
}

/// Reduces shards together; where `stop` is set meanwhile, that is an error.
fn reduce_shards(
    prepared: &Prepared,
    (shards, next): (&[Shard], &[Shard]),
    memory: MemoryPlan,
    context: &Context<'_>,
    stop: &AtomicBool,
) -> Result<Vec<(RingSeries, ShardSums)>> {
    context.install(|| {
        let read = |bytes| {
            context.advance(bytes);
            !stop.load(Ordering::Relaxed)
        };
        let (plan, source) = (&prepared.plan, prepared.source.as_ref());
        Ok(plan.reduce_shards(source, shards, next, memory.buffer_bytes as usize, &read)?)
    })
}

/// Bytes of frames that the pass gets through in a second, tried on the last shards that are made together, which were hardly read just
/// before, for two seconds at most.
///
/// # Errors
///
/// Those of the pass.
pub(crate) fn trial(
    prepared: &Prepared,
    memory: MemoryPlan,
    context: &Context<'_>,
    clock: &(dyn Fn() -> f64 + Sync),
) -> Result<f64> {
    const LONGEST_S: f64 = 2.0;
    const BUFFER: usize = 32 << 20;
    let shards = prepared.plan.shards();
    let groups = prepared.plan.groups(&shards, memory.rows_at_once);
    let Some(group) = groups.last() else {
        return Ok(f64::NAN);
    };
    let n_bytes = AtomicU64::new(0);
    let begin = clock();
    let read = |bytes| {
        n_bytes.fetch_add(bytes, Ordering::Relaxed);
        clock() - begin < LONGEST_S
    };
    let source = prepared.source.as_ref();
    let tried = context.install(|| {
        let done = (prepared.plan).reduce_shards(source, group, &[], BUFFER, &read);
        Ok(done.map(|_| ()))
    })?;
    match tried {
        Ok(()) | Err(halotau::Error::Stopped) => {
            Ok(n_bytes.into_inner() as f64 / (clock() - begin).max(1e-6))
        }
        Err(error) => Err(error.into()),
    }
}

fn begin_stage(prepared: &Prepared, shards: &[Shard], context: &Context<'_>) {
    let shape = prepared.header.shape;
    let frame_bytes =
        (shape.frame_len() * prepared.header.sample_type.n_bytes() * shape.n_times) as u64;
    let positions = shards.iter().map(|shard| {
        let cols = if shard.n_cols == shape.n_cols {
            shape.n_cols
        } else {
            shard.n_cols
        };
        (shard.n_rows * cols) as u64
    });
    context.stage(
        format!("reduce {}", prepared.header.name),
        positions.sum::<u64>() * frame_bytes,
        Unit::Bytes,
    );
}
