//! How do maps come while the microscope still records?
//!
//! ```text
//! look ─▶ a scan is whole ─▶ its counts on the annulus ─▶ one row of pairs at each position ─▶ maps so far ─▶ live.csv, live.json ─┐
//!   ▲                                                                                                                        │
//!   └──────────────────────────────── pause ◀────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Raw and NumPy files, Zarr stores and chunked HDF5 files that grow are followed, and folders in which files of one scan appear. Only whole scans are read
//! ([`halotau_io::extent()`]). The microscope is calibrated on the scans that are there when the first maps are made, and `live.json` says
//! on how many. These maps are for looking at: once the record has ended, the work is done as on any finished file, so that the results are
//! the same bits. A process that is stopped loses the maps in memory only; the next one reads what is there and goes on.

use std::path::{Path, PathBuf};

use halotau::axes::TimeAxis;
use halotau::calibrate::{Calibration, CenterPath};
use halotau::live::{LiveMaps, LiveSeries, mean_of};
use halotau::recipe::{DataBlock, Recipe};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::ring::RingSeries;
use halotau::series::{FrameBlock, FrameRun, SeriesHeader};
use halotau::source::FrameSource;
use halotau_io::{Extent, OpenRequest, extent};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::memory::size_text;
use crate::prepare::{Prepared, merged_header, prepare, prepare_with};
use crate::recipe_file::Loaded;
use crate::results;
use crate::run::output_folder;

/// The maps so far, one row a position.
pub const LIVE_MAPS: &str = "live.csv";

/// On what they rest, and how far behind the record they are.
pub const LIVE_STATE: &str = "live.json";

/// A scan is read in pieces of this; larger ones are not faster.
const BUFFER: usize = 64 << 20;

/// Looks at a scan that fail, one after another, before that is an error.
const MAX_FAILED: usize = 5;

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FollowSettings {
    /// A record without a new scan for so long has ended.
    pub idle_s: f64,
    /// Time between two looks.
    pub pause_s: f64,
}

/// Time, which this crate does not read itself.
pub struct Clock<'a> {
    /// Seconds since any moment.
    pub now_s: &'a (dyn Fn() -> f64 + 'a),
    /// Waits for so many seconds.
    pub wait_s: &'a (dyn Fn(f64) + 'a),
}

impl std::fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// Follows the series of a recipe, one after another, until each has ended. Gives the recipe of what was recorded: where a record ended
/// early, of its whole scans.
///
/// # Errors
///
/// What is wrong with recipe, data or output folder.
pub fn follow(
    loaded: &Loaded,
    settings: FollowSettings,
    clock: &Clock<'_>,
    context: &Context<'_>,
) -> Result<Loaded> {
    let mut recorded = loaded.clone();
    let folders = live_folders(loaded)?;
    for (number, folder) in folders.iter().enumerate() {
        let block = loaded.recipe.data[number].clone();
        let mut record = Record {
            loaded,
            block,
            folder,
            clock,
            context,
            live: None,
            too_large: false,
        };
        let found = record
            .follow(settings)
            .map_err(|error| loaded.locate(error))?;
        if !found.is_complete() && found.n_times > 0 {
            recorded.recipe.data[number] = record.first(found);
        }
    }
    Ok(recorded)
}

/// Where the live maps of each series go: as the results, by stated temperature, because later files need not be there yet.
fn live_folders(loaded: &Loaded) -> Result<Vec<PathBuf>> {
    let blocks = loaded.require_data()?;
    let folder = output_folder(loaded);
    if blocks.len() == 1 {
        return Ok(vec![folder]);
    }
    blocks
        .iter()
        .map(|block| match block.temperature_k {
            Some(temperature) => Ok(folder.join(format!("{temperature}K"))),
            None => Err(Error::usage(
                "--follow",
                "several series need temperature_k in each [[data]] block, before their files are there",
            )),
        })
        .collect()
}

/// A record that is followed.
struct Record<'a> {
    loaded: &'a Loaded,
    block: DataBlock,
    folder: &'a Path,
    clock: &'a Clock<'a>,
    context: &'a Context<'a>,
    live: Option<Live>,
    /// The live maps would not fit in memory, which was said.
    too_large: bool,
}

/// What is kept from look to look.
struct Live {
    series: LiveSeries,
    calibration: Calibration,
    /// Scans that the calibration was measured on.
    calibrated_on: usize,
}

impl Record<'_> {
    fn follow(&mut self, settings: FollowSettings) -> Result<Extent> {
        let request = OpenRequest::from_block(&self.block, &self.loaded.folder);
        let mut found = extent(&request, 0)?;
        if found.is_complete() {
            return Ok(found);
        }
        self.context.note(format!(
            "following {}: {} of {} scans are there",
            request.path.display(),
            found.n_times,
            say_expected(found)
        ));
        let now = || (self.clock.now_s)();
        let (mut seen, mut seen_s, mut looked_s) = (0, now(), now());
        let mut n_failed = 0;
        loop {
            if found.n_times > seen {
                match self.take(seen, found) {
                    Err(error) if error.exit_code() == 65 && n_failed < MAX_FAILED => {
                        // What tells where the counts are may have been replaced while it was read.
                        n_failed += 1;
                        (self.clock.wait_s)(settings.pause_s);
                        found = extent(&request, seen)?;
                        continue;
                    }
                    taken => taken?,
                }
                n_failed = 0;
                let behind_s = (self.clock.now_s)() - looked_s;
                seen = found.n_times;
                seen_s = (self.clock.now_s)();
                self.tell(found, behind_s, extent(&request, seen)?)?;
            }
            if found.is_complete() {
                return Ok(found);
            }
            if (self.clock.now_s)() - seen_s > settings.idle_s {
                self.context.note(format!(
                    "no new scan for {} s: the record is taken as ended after {} scans",
                    settings.idle_s, found.n_times
                ));
                return Ok(found);
            }
            // A scan that is found in the next look may have been whole right after this one.
            looked_s = (self.clock.now_s)();
            found = extent(&request, seen)?;
            if found.n_times == seen && !found.is_complete() {
                (self.clock.wait_s)(settings.pause_s);
            }
        }
    }

    /// The block of the first scans, as if the record had ended there.
    fn first(&self, found: Extent) -> DataBlock {
        let mut block = self.block.clone();
        block.n_times = Some(found.n_times);
        if let (Some(total_s), Some(expected)) = (&mut block.total_s, found.expected) {
            *total_s *= found.n_times as f64 / expected as f64;
        }
        block
    }

    /// Adds the scans from `first` on to the pairs.
    fn take(&mut self, first: usize, found: Extent) -> Result<()> {
        if self.too_large {
            return Ok(());
        }
        let block = self.first(found);
        let recipe = &self.loaded.recipe;
        let prepared = match &self.live {
            Some(live) => prepare_with(self.loaded, &block, live.calibration.clone())?,
            None => prepare(self.loaded, &block, None, self.context)?,
        };
        let mut live = match self.live.take() {
            Some(live) => live,
            None => Live::new(&prepared, recipe, found.n_times)?,
        };
        let n_times = found.expected.unwrap_or(found.n_times);
        let limit = self.context.memory_limit();
        if live
            .series
            .bytes(n_times)
            .is_none_or(|bytes| bytes > limit / 2)
        {
            self.context.note(format!(
                "live maps of {n_times} scans need more than half of the memory limit of {}; the record is followed without them",
                size_text(limit)
            ));
            self.too_large = true;
            return Ok(());
        }
        // After a look that failed all are added anew.
        for time in live.series.n_times().min(first)..found.n_times {
            let scan = one_scan(&prepared, recipe, time, self.context)?;
            self.context.install(|| Ok(live.series.add(&scan)?))?;
        }
        self.live = Some(live);
        Ok(())
    }

    /// Writes the maps so far and says how far behind they are. `later` is what is there now.
    fn tell(&self, found: Extent, behind_s: f64, later: Extent) -> Result<()> {
        let waiting = later.n_times.saturating_sub(found.n_times);
        self.context.note(format!(
            "scan {} of {} · {behind_s:.1} s behind · {waiting} more whole",
            found.n_times,
            say_expected(found)
        ));
        let Some(live) = &self.live else {
            return Ok(());
        };
        let source_header = self.header(found)?;
        let time = TimeAxis::of(&source_header, self.loaded.recipe.time.basis)?.0;
        let maps = self.context.install(|| Ok(live.series.maps(&time)))?;
        results::create_folder(self.folder)?;
        results::write_file(&self.folder.join(LIVE_MAPS), csv(&maps, found).as_bytes())?;
        let (tau_s, n_tau) = mean_of(maps.tau_s.view());
        let (fluctuation, _) = mean_of(maps.fluctuation.view());
        let number = |value: f64| value.is_finite().then_some(value);
        let state = json!({
            "n_times": maps.n_times,
            "expected": found.expected,
            "behind_s": behind_s,
            "waiting": waiting,
            "tau_mean_s": number(tau_s),
            "n_positions_with_tau": n_tau,
            "fluctuation_mean": number(fluctuation),
            "calibration": {
                "measured_on_scans": live.calibrated_on,
                "center": [live.calibration.center_row, live.calibration.center_col],
                "q_step_per_nm": live.calibration.q_step_per_nm,
            },
        });
        let mut text = serde_json::to_string_pretty(&state).expect("numbers always serialize");
        text.push('\n');
        results::write_file(&self.folder.join(LIVE_STATE), text.as_bytes())
    }

    /// The header of the scans that are there.
    fn header(&self, found: Extent) -> Result<SeriesHeader> {
        let block = self.first(found);
        let source = halotau_io::open(&OpenRequest::from_block(&block, &self.loaded.folder))?;
        Ok(merged_header(source.header(), &self.loaded.recipe, &block))
    }
}

impl Live {
    fn new(prepared: &Prepared, recipe: &Recipe, calibrated_on: usize) -> Result<Self> {
        let plan = &prepared.plan;
        let calibration = plan.calibration().clone();
        let region = plan.region();
        let dim = (
            region.rows[1] - region.rows[0],
            region.cols[1] - region.cols[0],
        );
        let q_step = plan.annulus().q_step_per_nm(&calibration);
        Ok(Self {
            series: LiveSeries::new(plan.annulus(), q_step, dim, recipe)?,
            calibration,
            calibrated_on,
        })
    }
}

fn say_expected(found: Extent) -> String {
    found
        .expected
        .map_or_else(|| "an unknown number".to_owned(), |n| n.to_string())
}

/// The maps as a table; NaN is left empty.
fn csv(maps: &LiveMaps, found: Extent) -> String {
    let mut text = format!(
        "# halotau live maps: scans 1 to {} of {}; no drift correction; see the results of the finished record\n\
         row,col,tau_s,contrast,fluctuation\n",
        maps.n_times,
        say_expected(found)
    );
    let value = |value: f64| match value.is_finite() {
        true => value.to_string(),
        false => String::new(),
    };
    for ((row, col), &tau_s) in maps.tau_s.indexed_iter() {
        text.push_str(&format!(
            "{row},{col},{},{},{}\n",
            value(tau_s),
            value(maps.contrast[[row, col]]),
            value(maps.fluctuation[[row, col]])
        ));
    }
    text
}

/// The counts of one scan on the annulus, shard by shard.
fn one_scan(
    prepared: &Prepared,
    recipe: &Recipe,
    time: usize,
    context: &Context<'_>,
) -> Result<Vec<RingSeries>> {
    let source = OneScan::new(prepared, time);
    let of_all = &prepared.plan;
    let mut calibration = of_all.calibration().clone();
    let (down, across) = calibration.center_path.whole(time);
    calibration.center_path = CenterPath::new(vec![[0.0, f64::from(down), f64::from(across)]]);
    let settings = ReduceSettings {
        region: of_all.region(),
        bin: recipe.pattern.bin,
        dark: of_all.dark_pattern().cloned(),
        gain: of_all.gain_pattern().cloned(),
        ..ReduceSettings::of(source.header(), calibration, of_all.annulus().range)?
    };
    let plan = ReducePlan::new(source.header(), settings)?;
    let shards = plan.shards();
    let counts = shards.iter().map(|shard| {
        context.install(|| {
            let (counts, _) = plan.reduce_shard(&source, shard, BUFFER, &|_| true)?;
            Ok(counts)
        })
    });
    counts.collect()
}

/// One scan of a series as a series of its own.
struct OneScan<'a> {
    source: &'a (dyn FrameSource + Send),
    header: SeriesHeader,
    time: usize,
}

impl<'a> OneScan<'a> {
    fn new(prepared: &'a Prepared, time: usize) -> Self {
        let mut header = prepared.header.clone();
        header.shape.n_times = 1;
        header.chunk.n_times = 1;
        header.times_s = None;
        header.total_s = None;
        header
            .missing
            .retain(|run| (run.first_time..run.first_time + run.n_times).contains(&time));
        for run in &mut header.missing {
            (run.first_time, run.n_times) = (0, 1);
        }
        Self {
            source: prepared.source.as_ref(),
            header,
            time,
        }
    }
}

impl FrameSource for OneScan<'_> {
    fn header(&self) -> &SeriesHeader {
        &self.header
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> halotau::Result<()> {
        let there = FrameRun {
            first_time: self.time + run.first_time,
            ..*run
        };
        self.source.read(&there, block)?;
        block.run = *run;
        Ok(())
    }
}
