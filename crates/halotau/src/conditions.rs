//! Under which conditions was this measured?
//!
//! What needs every frame is found here, from a reduction: the movement of the sample ([`drift`](crate::drift)), the beam
//! ([`current`], [`beam`](crate::beam)), scans and frames that are none, and where on the sample can be looked
//! ([`region`]). The order matters: blinks are left out before the drift is measured, and frames are compared with
//! others of the same point of the sample, so after it. The raw data are not read again.

pub(crate) mod sample;
mod words;

use ndarray::{Array2, Array3, Axis, s};
use serde::{Deserialize, Serialize};

use crate::beam::Dose;
use crate::current::{self, BeamCurrent, LeftOut, Reason};
use crate::drift::align::Alignment;
use crate::drift::images::{Registration, register};
use crate::drift::speckle::{Tracking, Untracked, track};
use crate::drift::{Drift, DriftMethod};
use crate::error::{Error, Result};
use crate::fluctuate::FluctuateSettings;
use crate::map::LoadShard;
use crate::rank;
use crate::recipe::{BadScans, DataBlock, Recipe, Scan};
use crate::reduce::Reduction;
use crate::region::{self, Region};
use crate::relax::RelaxSettings;
use crate::series::Warning;
use crate::simulate::circle_overlap;
use sample::{Blocks, ScanSample};

/// Ring intensity, relative to the bright positions, below which a frame holds no speckle to track.
const MIN_TRACKED_LEVEL: f64 = 0.3;

/// Movement along a side, in units of that side, above which too little stays inside.
const MAX_MOVEMENT: f64 = 0.75;

/// The conditions of one series, as they are stored with its results.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// How the sample moved; none where it was not looked for.
    pub drift: Option<Drift>,
    /// What drift makes of perfectly still speckle, before and after its correction.
    pub drift_limit: DriftLimit,
    /// The beam current.
    pub current: BeamCurrent,
    /// Scans and frames that are left out, by time.
    pub left_out: Vec<LeftOut>,
    /// Which positions are looked at, with thickness proxy and distance to the edge.
    pub region: Region,
    /// Mean counts of a pixel of the annulus at every point of the sample, at the median current, `[row, col]`.
    pub ring_intensity: Array2<f64>,
    /// The dose, where current, dwell and time are known.
    pub dose: Option<Dose>,
}

impl Conditions {
    /// Those of an ideal experiment: nothing moves, nothing is left out, and every position is alike.
    pub fn ideal(n_times: usize, dim: (usize, usize)) -> Self {
        Self {
            drift: None,
            drift_limit: DriftLimit::default(),
            current: BeamCurrent {
                relative: vec![1.0; n_times],
                spread: 0.0,
                spread_expected: 0.0,
                flicker: 0.0,
                jumps: Vec::new(),
            },
            left_out: Vec::new(),
            region: Region {
                masked: Array2::from_elem(dim, false),
                vacuum: Array2::from_elem(dim, false),
                edge_distance: None,
                margin: 0.0,
                thickness_proxy: Array2::ones(dim),
            },
            ring_intensity: Array2::ones(dim),
            dose: None,
        }
    }
}

/// The relaxation time that still speckle would seem to have, seconds; infinite where drift forgets nothing, none where that is
/// not known.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct DriftLimit {
    /// Without correction.
    #[serde(default, with = "optional")]
    pub before_s: Option<f64>,
    /// With the whole steps applied.
    #[serde(default, with = "optional")]
    pub after_s: Option<f64>,
}

/// JSON knows no infinity: none is null, infinity a word. TOML knows no null: there none is not written.
mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Limit(#[serde(with = "crate::nonfinite")] f64);

    pub(super) fn serialize<S: Serializer>(
        value: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Limit).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Limit>::deserialize(deserializer)?.map(|limit| limit.0))
    }
}

/// The conditions of a series, and what the analysis needs of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// As stored.
    pub conditions: Conditions,
    /// Where each point of the sample is in each scan.
    pub alignment: Alignment,
    /// Scans that are left out, by the recipe or because they are none.
    pub excluded: Vec<usize>,
    /// Counts of each frame at the points of the sample, at the median current, `[time, row, col]`; NaN where there is none.
    pub level_counts: Array3<f64>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Measures the conditions of a series. `load` delivers the counts of a shard and is called once for each; `mask_file` holds the
/// positions to look at, read from `scan.mask_file`.
///
/// # Errors
///
/// [`Error::Setting`] for a drift or a region that makes no sense; [`Error::Shape`] for a mask of another shape;
/// [`Error::DriftBeyondField`]; what `load` returns.
pub fn measure(
    reduction: &Reduction,
    recipe: &Recipe,
    mask_file: Option<&Array2<bool>>,
    load: &LoadShard<'_>,
) -> Result<Measured> {
    let n_times = reduction.time.len();
    recipe.drift.check(n_times)?;
    if let Some(&time) = recipe.time.exclude.iter().find(|&&time| time >= n_times) {
        return Err(Error::Setting {
            key: "time.exclude".to_owned(),
            value: time.to_string(),
            problem: format!("there are {n_times} scans, numbered from 0"),
        });
    }
    let method = recipe.drift.method;
    let with_speckle = matches!(method, DriftMethod::Auto | DriftMethod::Speckle);
    let sample = ScanSample::read(reduction, recipe, load, with_speckle)?;
    let counts = &reduction.virtual_image;
    let mut scans = Scans::new(recipe, counts, &sample);

    let tracking = match &sample.blocks {
        Some(blocks) => speckle(reduction, recipe, &sample, blocks, &scans.used),
        None => Err(Untracked::TooFew),
    };
    if let Ok(tracking) = &tracking {
        scans.distorted(&tracking.likeness);
    }
    let images = matches!(method, DriftMethod::Auto | DriftMethod::Images)
        .then(|| register(sample.ring_mean.view(), &scans.used, recipe.drift.reference))
        .flatten();
    let drift = drift(reduction, recipe, &tracking, images.as_ref())?;
    let mut alignment = alignment(n_times, drift.as_ref());

    let aligned = alignment.images(&sample.ring_mean);
    let ring_intensity = mean_intensity(&aligned, &scans.relative, &scans.used);
    let region = region::region(reduction, &recipe.scan, mask_file, &ring_intensity)?;
    let steady = steady(reduction, &region, &ring_intensity);
    let point_counts = alignment.images(counts);
    if recipe.time.bad_scans == BadScans::LeaveOut {
        let repeats = aligned_flags(&alignment, &sample.repeats_before);
        let bad = current::bad_frames(
            &point_counts,
            &scans.relative,
            &scans.used,
            &steady,
            &repeats,
        );
        scans.leave_out(bad.left_out);
        alignment.left_out = at_positions(&alignment, &bad.frames);
    }
    let level_counts = level_counts(&point_counts, &scans.relative, &alignment);
    let flicker = current::flicker(
        &level_counts,
        &vec![1.0; n_times],
        &scans.used,
        &steady,
        recipe.structure.gain,
    );
    let limit = |corrected| {
        drift
            .as_ref()
            .and_then(|drift| drift.limit_s(reduction.time.times_s(), corrected))
    };
    let conditions = Conditions {
        drift_limit: DriftLimit {
            before_s: limit(false),
            after_s: limit(true),
        },
        current: BeamCurrent {
            spread: spread(&scans.relative, &scans.used),
            spread_expected: current::expected_spread(
                &level_counts,
                &steady,
                n_areas(reduction, recipe, &steady),
            ),
            flicker,
            jumps: current::jumps(&scans.relative, &scans.used),
            relative: scans.relative,
        },
        left_out: scans.left_out,
        region,
        ring_intensity,
        dose: dose(reduction, recipe),
        drift,
    };
    let mut warnings = words::warnings(reduction, &conditions);
    warnings.extend(words::untracked(recipe, &conditions, tracking.err()));
    Ok(Measured {
        conditions,
        alignment,
        excluded: (0..n_times).filter(|&time| !scans.used[time]).collect(),
        level_counts,
        warnings,
    })
}

/// Bytes that [`measure`] takes at most to track the speckle of a scan of so many positions.
pub fn tracking_bytes(n_positions: usize, n_times: usize) -> usize {
    sample::tracking_bytes(n_positions, n_times)
}

/// The settings that conditions depend on; all others are at their defaults. What the pass did to the counts is in the reduction, and the
/// content of `scan.mask_file` is not in the recipe.
pub fn settings(recipe: &Recipe) -> Recipe {
    let defaults = Recipe::default();
    let dwell_ms = recipe.data.first().and_then(|block| block.dwell_ms);
    Recipe {
        title: defaults.title,
        profile: defaults.profile,
        seed: defaults.seed,
        sample: defaults.sample,
        scan: Scan {
            mask_file: None,
            ..recipe.scan.clone()
        },
        pattern: defaults.pattern,
        calibration: defaults.calibration,
        reduction: defaults.reduction,
        dynamics: defaults.dynamics,
        relaxation: RelaxSettings::default(),
        structure: FluctuateSettings {
            gain: recipe.structure.gain,
            ..defaults.structure
        },
        interval: defaults.interval,
        arrhenius: defaults.arrhenius,
        output: defaults.output,
        data: vec![DataBlock {
            dwell_ms,
            ..DataBlock::default()
        }],
        // What a later version adds counts until someone says that it does not.
        ..recipe.clone()
    }
}

/// Which scans are used, and why others are not.
struct Scans {
    relative: Vec<f64>,
    used: Vec<bool>,
    left_out: Vec<LeftOut>,
    search: bool,
}

impl Scans {
    fn new(recipe: &Recipe, counts: &Array3<f64>, sample: &ScanSample) -> Self {
        let relative = current::of_scans(counts.view());
        let mut scans = Self {
            used: relative.iter().map(|current| *current > 0.0).collect(),
            relative,
            left_out: Vec::new(),
            search: recipe.time.bad_scans == BadScans::LeaveOut,
        };
        let given = recipe.time.exclude.iter().map(|&time| LeftOut {
            time,
            n_frames: None,
            reason: Reason::Given,
            relative_current: scans.relative[time],
        });
        let given: Vec<LeftOut> = given.collect();
        let lost = (0..scans.relative.len())
            .filter(|&time| !scans.used[time])
            .map(|time| LeftOut {
                time,
                n_frames: None,
                reason: Reason::Lost,
                relative_current: 0.0,
            });
        let mut bad: Vec<LeftOut> = lost.collect();
        if scans.search {
            bad.extend(current::bad_scans(&scans.relative, &sample.repeats_scan));
        }
        scans.leave_out(given);
        scans.leave_out(bad);
        scans
    }

    fn distorted(&mut self, likeness: &[f64]) {
        if !self.search {
            return;
        }
        let found = current::distorted(likeness)
            .into_iter()
            .map(|time| LeftOut {
                time,
                n_frames: None,
                reason: Reason::Distorted,
                relative_current: self.relative[time],
            })
            .collect();
        self.leave_out(found);
    }

    /// Adds what is not on the list yet.
    fn leave_out(&mut self, found: Vec<LeftOut>) {
        for out in found {
            let known = |other: &LeftOut| other.time == out.time && other.n_frames.is_none();
            if self.left_out.iter().any(known) {
                continue;
            }
            if out.n_frames.is_none() {
                self.used[out.time] = false;
            }
            self.left_out.push(out);
        }
        self.left_out.sort_by_key(|out| (out.time, out.reason));
    }
}

fn speckle(
    reduction: &Reduction,
    recipe: &Recipe,
    sample: &ScanSample,
    blocks: &Blocks,
    used: &[bool],
) -> Result<Tracking, Untracked> {
    let window = &blocks.window;
    let mut scale = sample
        .ring_mean
        .slice(s![
            ..,
            window.rows[0]..window.rows[1],
            window.cols[0]..window.cols[1]
        ])
        .to_owned();
    let level = rank::quantile(&scale.iter().copied().collect::<Vec<_>>(), 0.75);
    scale.mapv_inplace(|value| {
        if value > MIN_TRACKED_LEVEL * level {
            value
        } else {
            f64::NAN
        }
    });
    let moves = pattern_moves(reduction, recipe, window);
    track(blocks, scale.view(), used, &moves)
}

/// What the movement of the pattern leaves of the correlation of positions some shift apart: the mean over pairs.
fn pattern_moves(
    reduction: &Reduction,
    recipe: &Recipe,
    window: &crate::recipe::Region,
) -> impl Fn(i64, i64) -> f64 {
    let dim = (
        window.rows[1] - window.rows[0],
        window.cols[1] - window.cols[0],
    );
    let remainders = Array2::from_shape_fn(dim, |(row, col)| {
        reduction.center_remainder(window.rows[0] + row, window.cols[0] + col)
    });
    let diameter_px = 2.0 * recipe.disc_radius_per_nm() / reduction.calibration.q_step_per_nm;
    let still = remainders
        .iter()
        .all(|remainder| *remainder == remainders[[0, 0]]);
    move |row_shift, col_shift| {
        if still || !diameter_px.is_finite() {
            return 1.0;
        }
        let (mut sum, mut n) = (0.0, 0.0);
        for ((row, col), one) in remainders.indexed_iter() {
            let at = (row as i64 + row_shift, col as i64 + col_shift);
            let (Ok(row), Ok(col)) = (usize::try_from(at.0), usize::try_from(at.1)) else {
                continue;
            };
            if let Some(other) = remainders.get((row, col)) {
                let apart = libm::hypot(one.0 - other.0, one.1 - other.1);
                sum += circle_overlap(apart / diameter_px).powi(2);
                n += 1.0;
            }
        }
        if n > 0.0 { sum / n } else { 1.0 }
    }
}

fn drift(
    reduction: &Reduction,
    recipe: &Recipe,
    tracking: &Result<Tracking, Untracked>,
    images: Option<&Registration>,
) -> Result<Option<Drift>> {
    let drift = match recipe.drift.method {
        DriftMethod::None => return Ok(None),
        DriftMethod::Given => Drift::given(&recipe.drift),
        _ => Drift::combine(reduction.time.len(), tracking.clone(), images),
    };
    let mut drift = drift;
    if drift.kernel_per_step.is_none() {
        let perfect = std::f64::consts::TAU * recipe.aperture_radius_per_nm() * reduction.step_nm;
        drift.kernel_per_step = perfect.is_finite().then_some(perfect);
    }
    let (n_rows, n_cols) = (reduction.n_rows(), reduction.n_cols());
    let moved = |course: &crate::drift::Course| {
        if course.is_significant() {
            course.range()
        } else {
            0.0
        }
    };
    let (rows, cols) = (moved(&drift.row), moved(&drift.col));
    if rows > MAX_MOVEMENT * n_rows as f64 || cols > MAX_MOVEMENT * n_cols as f64 {
        return Err(Error::DriftBeyondField {
            rows,
            cols,
            n_rows,
            n_cols,
            drift: Box::new(drift),
        });
    }
    Ok(Some(drift))
}

fn alignment(n_times: usize, drift: Option<&Drift>) -> Alignment {
    drift.map_or_else(
        || Alignment::none(n_times),
        |drift| Alignment {
            row_steps: drift.row.whole_steps(),
            col_steps: drift.col.whole_steps(),
            left_out: None,
        },
    )
}

/// Mean over the used scans at the median current, `[row, col]`; NaN where no scan reaches.
fn mean_intensity(images: &Array3<f64>, relative: &[f64], used: &[bool]) -> Array2<f64> {
    let dim = (images.dim().1, images.dim().2);
    let mut sum = Array2::<f64>::zeros(dim);
    let mut n = Array2::<f64>::zeros(dim);
    for (time, image) in images.axis_iter(Axis(0)).enumerate() {
        if !used[time] {
            continue;
        }
        for (at, &value) in image.indexed_iter() {
            if value.is_finite() {
                sum[at] += value / relative[time];
                n[at] += 1.0;
            }
        }
    }
    sum / n
}

/// Positions whose counts no edge changes when the sample moves by a part of a step.
fn steady(reduction: &Reduction, region: &Region, intensity: &Array2<f64>) -> Array2<bool> {
    let step = if reduction.step_nm.is_finite() {
        reduction.step_nm
    } else {
        1.0
    };
    let away = region.margin.max(3.0 * step);
    Array2::from_shape_fn(intensity.dim(), |at| {
        intensity[at] > 0.0
            && !region.vacuum[at]
            && region
                .edge_distance
                .as_ref()
                .is_none_or(|distance| distance[at] >= away)
    })
}

fn aligned_flags(alignment: &Alignment, flags: &Array3<bool>) -> Array3<bool> {
    let (_, n_rows, n_cols) = flags.dim();
    Array3::from_shape_fn(flags.dim(), |(time, row, col)| {
        alignment
            .position(time, (row, col), (n_rows, n_cols))
            .is_some_and(|(row, col)| flags[[time, row, col]])
    })
}

/// Frames of the scan from frames of points; none where there is no such frame.
fn at_positions(alignment: &Alignment, points: &Array3<bool>) -> Option<Array3<bool>> {
    let (_, n_rows, n_cols) = points.dim();
    let mut frames = Array3::from_elem(points.dim(), false);
    let mut any = false;
    for ((time, row, col), _) in points.indexed_iter().filter(|(_, out)| **out) {
        if let Some(at) = alignment.position(time, (row, col), (n_rows, n_cols)) {
            frames[[time, at.0, at.1]] = true;
            any = true;
        }
    }
    any.then_some(frames)
}

fn level_counts(counts: &Array3<f64>, relative: &[f64], alignment: &Alignment) -> Array3<f64> {
    let (_, n_rows, n_cols) = counts.dim();
    Array3::from_shape_fn(counts.dim(), |(time, row, col)| {
        let out = alignment.left_out.as_ref().is_some_and(|left_out| {
            alignment
                .position(time, (row, col), (n_rows, n_cols))
                .is_some_and(|at| left_out[[time, at.0, at.1]])
        });
        if out {
            f64::NAN
        } else {
            counts[[time, row, col]] / relative[time]
        }
    })
}

/// Independent probe areas among steady positions.
fn n_areas(reduction: &Reduction, recipe: &Recipe, steady: &Array2<bool>) -> f64 {
    let width = recipe.probe_fwhm_nm() / reduction.step_nm;
    let width = if width.is_finite() {
        width.max(1.0)
    } else {
        1.0
    };
    steady.iter().filter(|&&steady| steady).count() as f64 / (width * width)
}

/// Standard deviation over used scans of values of mean about 1.
fn spread(relative: &[f64], used: &[bool]) -> f64 {
    let values: Vec<f64> = relative
        .iter()
        .zip(used)
        .filter(|(_, used)| **used)
        .map(|(value, _)| *value)
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() / mean
}

fn dose(reduction: &Reduction, recipe: &Recipe) -> Option<Dose> {
    let current_pa = recipe.microscope.probe_current_pa?;
    let dwell_ms = recipe.data.first()?.dwell_ms?;
    let time_step_s = reduction.time.step_s();
    (time_step_s > 0.0).then(|| {
        Dose::new(
            current_pa,
            dwell_ms,
            reduction.step_nm,
            reduction.time.len(),
            time_step_s,
        )
    })
}
