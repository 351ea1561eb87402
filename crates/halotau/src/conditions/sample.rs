//! One pass over the counts: the ring mean of every frame, frames that came twice, and a part of the ring to track speckle with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{Array2, Array3, Array4, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::drift::MAX_SPECTRA_BYTES;
use crate::error::Result;
use crate::map::LoadShard;
use crate::recipe::{Recipe, Region};
use crate::reduce::{Reduction, Shard};
use crate::ring::RingSeries;
use crate::speckle::Aperture;
use crate::with_counts;

/// Positions along either side of the window in which speckle is tracked: 4,096 positions hold far more speckles than the
/// tenth of a step needs.
const WINDOW: usize = 64;

/// Samples of the window that are kept at most, 96 MB.
const MAX_SAMPLES: usize = 24 << 20;

/// Blocks of pixels that are kept at most: about two a speckle of the paper's patterns.
const MAX_BLOCKS: usize = 400;

/// Folded azimuthal groups of blocks, for the jackknife.
pub(crate) const N_GROUPS: usize = 8;

/// Counts below which two equal frames may be chance or an empty detector.
const MIN_COUNTS_TO_COMPARE: f64 = 50.0;

/// Share of equal frames above which they are no fault: without counting noise, or of rounded averages, equal counts are usual.
const MAX_EQUAL: f64 = 0.2;

/// The part of the ring in which speckle is tracked.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    /// The positions, in the analyzed region.
    pub(crate) window: Region,
    /// Folded azimuthal group of each block.
    pub(crate) group: Vec<usize>,
    /// Mean counts a pixel of each block, `[block, time, row, col]`; NaN for missing frames.
    pub(crate) values: Array4<f32>,
    /// How much less of a movement the mean over a block sees than a pixel, [`Aperture::narrowing_of_mean`].
    pub(crate) narrowing: f64,
}

/// What one pass over the counts gives.
#[derive(Debug, Clone)]
pub(crate) struct ScanSample {
    /// Mean counts of a valid annulus pixel, `[time, row, col]`; NaN for missing frames.
    pub(crate) ring_mean: Array3<f64>,
    /// Frames that are the same, count by count, as the frame before in their scan, `[time, row, col]`.
    pub(crate) repeats_before: Array3<bool>,
    /// Frames that are the same as the frame of that position one scan before, `[time, row, col]`.
    pub(crate) repeats_scan: Array3<bool>,
    /// For the speckle, where asked for.
    pub(crate) blocks: Option<Blocks>,
}

/// What a position gives.
struct PositionSample {
    ring_mean: Vec<f64>,
    blocks: Vec<f32>,
    repeats_before: Vec<bool>,
    repeats_scan: Vec<bool>,
}

impl ScanSample {
    /// Reads every shard once.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub(crate) fn read(
        reduction: &Reduction,
        recipe: &Recipe,
        load: &LoadShard<'_>,
        with_blocks: bool,
    ) -> Result<Self> {
        let shape = (reduction.time.len(), reduction.n_rows(), reduction.n_cols());
        let plan = BlockPlan::new(reduction, recipe, with_blocks);
        let mut sample = Self {
            ring_mean: Array3::from_elem(shape, f64::NAN),
            repeats_before: Array3::from_elem(shape, false),
            repeats_scan: Array3::from_elem(shape, false),
            blocks: with_blocks.then(|| plan.empty(shape.0)),
        };
        let valid = ValidPixels::new(reduction);
        for shard in reduction.shards() {
            let rings: Cow<'_, RingSeries> = load(&shard)?;
            // A row at a time: of many positions this takes as much as what is kept of all.
            for row in 0..shard.n_rows {
                let made: Vec<PositionSample> = (0..shard.n_cols)
                    .into_par_iter()
                    .map(|col| {
                        position_sample(reduction, &rings, &shard, (row, col), &valid, &plan)
                    })
                    .collect();
                for (col, position) in made.iter().enumerate() {
                    let place = (shard.first_row + row, shard.first_col + col);
                    sample.put(place, position, &plan);
                }
            }
        }
        for repeats in [&mut sample.repeats_before, &mut sample.repeats_scan] {
            let n_equal = repeats.iter().filter(|&&equal| equal).count();
            if n_equal as f64 > MAX_EQUAL * repeats.len() as f64 {
                repeats.fill(false);
            }
        }
        Ok(sample)
    }

    fn put(&mut self, (row, col): (usize, usize), position: &PositionSample, plan: &BlockPlan) {
        for (time, &mean) in position.ring_mean.iter().enumerate() {
            self.ring_mean[[time, row, col]] = mean;
            self.repeats_before[[time, row, col]] = position.repeats_before[time];
            self.repeats_scan[[time, row, col]] = position.repeats_scan[time];
        }
        let Some(blocks) = &mut self.blocks else {
            return;
        };
        if !plan.holds(row, col) {
            return;
        }
        let at = [row - plan.window.rows[0], col - plan.window.cols[0]];
        let n_times = position.ring_mean.len();
        for block in 0..plan.blocks.len() {
            for time in 0..n_times {
                blocks.values[[block, time, at[0], at[1]]] =
                    position.blocks[time * plan.blocks.len() + block];
            }
        }
    }
}

/// Valid annulus pixels for each shift of the pattern.
struct ValidPixels(BTreeMap<(i32, i32), Vec<bool>>);

impl ValidPixels {
    fn new(reduction: &Reduction) -> Self {
        let mut known = BTreeMap::new();
        for (&row, &col) in reduction.shift_row.iter().zip(&reduction.shift_col) {
            known.entry((row, col)).or_insert_with(|| {
                let pixel_valid = &reduction.calibration.pixel_valid;
                reduction.annulus.valid_at(pixel_valid, (row, col))
            });
        }
        Self(known)
    }
}

fn position_sample(
    reduction: &Reduction,
    rings: &RingSeries,
    shard: &Shard,
    (row, col): (usize, usize),
    valid: &ValidPixels,
    plan: &BlockPlan,
) -> PositionSample {
    let place = (shard.first_row + row, shard.first_col + col);
    let shift = (
        reduction.shift_row[[place.0, place.1]],
        reduction.shift_col[[place.0, place.1]],
    );
    let valid = &valid.0[&shift];
    let coverage = &reduction.annulus.coverage;
    let inside = plan.holds(place.0, place.1);
    let n_times = rings.dim().2;
    let mut sample = PositionSample {
        ring_mean: vec![f64::NAN; n_times],
        blocks: vec![
            f32::NAN;
            if inside {
                n_times * plan.blocks.len()
            } else {
                0
            }
        ],
        repeats_before: vec![false; n_times],
        repeats_scan: vec![false; n_times],
    };
    let integer = rings.is_integer();
    with_counts!(&rings.counts, counts => {
        let series = counts.slice(s![row, col, .., ..]);
        let before = (col > 0).then(|| counts.slice(s![row, col - 1, .., ..]));
        for (time, frame) in series.outer_iter().enumerate() {
            if !rings.frame_valid[[row, col, time]] {
                continue;
            }
            let (mut sum, mut weight, mut total) = (0.0, 0.0, 0.0);
            for ((&count, &valid), &coverage) in frame.iter().zip(valid).zip(coverage) {
                let count = f64::from(count);
                if valid && !count.is_nan() {
                    sum += count / coverage;
                    weight += 1.0;
                    total += count;
                }
            }
            sample.ring_mean[time] = sum / weight;
            if inside {
                let kept = &mut sample.blocks[time * plan.blocks.len()..][..plan.blocks.len()];
                for (kept, pixels) in kept.iter_mut().zip(&plan.blocks) {
                    let sum: f64 = pixels
                        .iter()
                        .map(|&pixel| f64::from(frame[pixel]) / coverage[pixel])
                        .sum();
                    *kept = (sum / pixels.len() as f64) as f32;
                }
            }
            // Counted electrons do not come twice alike; floats without noise may.
            if integer && total > MIN_COUNTS_TO_COMPARE {
                sample.repeats_before[time] = before
                    .as_ref()
                    .is_some_and(|before| before.index_axis(Axis(0), time) == frame);
                sample.repeats_scan[time] =
                    time > 0 && series.index_axis(Axis(0), time - 1) == frame;
            }
        }
    });
    sample
}

/// Which pixels make a block, and where speckle is tracked.
struct BlockPlan {
    window: Region,
    blocks: Vec<Vec<usize>>,
    group: Vec<usize>,
    narrowing: f64,
}

impl BlockPlan {
    fn new(reduction: &Reduction, recipe: &Recipe, with_blocks: bool) -> Self {
        let scattered = scattered(reduction);
        let level = crate::rank::quantile(&scattered.iter().copied().collect::<Vec<_>>(), 0.75);
        let usable = scattered.mapv(|value| f64::from(u8::from(value > 0.5 * level)));
        let window = Region {
            rows: best_window(usable.sum_axis(Axis(1)).to_vec()),
            cols: best_window(usable.sum_axis(Axis(0)).to_vec()),
        };
        if !with_blocks {
            return Self {
                window,
                blocks: Vec::new(),
                group: Vec::new(),
                narrowing: 1.0,
            };
        }
        let (blocks, group) = blocks(reduction, recipe, &window);
        Self {
            window,
            narrowing: narrowing(reduction, recipe, &blocks),
            blocks,
            group,
        }
    }

    fn holds(&self, row: usize, col: usize) -> bool {
        !self.blocks.is_empty()
            && (self.window.rows[0]..self.window.rows[1]).contains(&row)
            && (self.window.cols[0]..self.window.cols[1]).contains(&col)
    }

    fn empty(&self, n_times: usize) -> Blocks {
        let dim = (
            self.blocks.len(),
            n_times,
            self.window.rows[1] - self.window.rows[0],
            self.window.cols[1] - self.window.cols[0],
        );
        Blocks {
            window: self.window,
            group: self.group.clone(),
            values: Array4::from_elem(dim, f32::NAN),
            narrowing: self.narrowing,
        }
    }
}

/// Mean counts of each position on the annulus over the record, `[row, col]`: the scattered intensity.
pub(crate) fn scattered(reduction: &Reduction) -> Array2<f64> {
    let range = reduction.annulus.range;
    let bins: Vec<usize> = (0..reduction.q_bins.len())
        .filter(|&bin| {
            let of = reduction.q_bins[bin];
            reduction.q_pixels[bin] > 0 && range.contains((of.min_per_nm + of.max_per_nm) / 2.0)
        })
        .collect();
    Array2::from_shape_fn((reduction.n_rows(), reduction.n_cols()), |(row, col)| {
        bins.iter()
            .map(|&bin| reduction.q_sums[[row, col, bin]])
            .sum()
    })
}

/// The [`WINDOW`] consecutive lines with the largest sum.
fn best_window(sums: Vec<f64>) -> [usize; 2] {
    let n = sums.len();
    let width = WINDOW.min(n);
    let of = |first: usize| sums[first..first + width].iter().sum::<f64>();
    // Of equal ones the middle, where the most of the drift stays inside.
    let best = (0..=n - width)
        .max_by(|&a, &b| {
            let from_middle = |first: usize| (2 * first).abs_diff(n - width);
            of(a)
                .total_cmp(&of(b))
                .then(from_middle(b).cmp(&from_middle(a)))
        })
        .unwrap_or(0);
    [best, best + width]
}

fn blocks(
    reduction: &Reduction,
    recipe: &Recipe,
    window: &Region,
) -> (Vec<Vec<usize>>, Vec<usize>) {
    let annulus = &reduction.annulus;
    let speckle_px =
        2.0 * recipe.disc_radius_per_nm() / annulus.q_step_per_nm(&reduction.calibration);
    // Two blocks a speckle diameter: larger ones would lose contrast, smaller ones count fewer electrons.
    let side = if speckle_px.is_finite() {
        ((speckle_px / 2.5) as u32).clamp(1, 16)
    } else {
        2
    };
    let everywhere = valid_everywhere(reduction, window);
    let mut made: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for pixel in (0..annulus.len()).filter(|&pixel| everywhere[pixel]) {
        let place = (annulus.row[pixel] / side, annulus.col[pixel] / side);
        made.entry(place).or_default().push(pixel);
    }
    let full = (side * side) as usize;
    let whole: Vec<Vec<usize>> = made
        .into_values()
        .filter(|pixels| 2 * pixels.len() > full)
        .collect();
    let n_positions = (window.rows[1] - window.rows[0]) * (window.cols[1] - window.cols[0]);
    let allowed = most_blocks(n_positions, reduction.time.len());
    let stride = whole.len().div_ceil(allowed).max(1);
    let kept: Vec<Vec<usize>> = whole.into_iter().step_by(stride).collect();
    let group = kept
        .iter()
        .map(|pixels| {
            let azimuth = annulus.azimuth_rad[pixels[0]];
            let folded = azimuth.rem_euclid(std::f64::consts::PI) / std::f64::consts::PI;
            ((folded * N_GROUPS as f64) as usize).min(N_GROUPS - 1)
        })
        .collect();
    (kept, group)
}

/// Blocks that are kept at most of so many positions and scans.
fn most_blocks(n_positions: usize, n_times: usize) -> usize {
    let per_block = n_positions.saturating_mul(n_times).max(1);
    (MAX_SAMPLES / per_block).clamp(2 * N_GROUPS, MAX_BLOCKS)
}

/// Bytes that tracking the speckle takes at most, for a scan of so many positions.
pub(crate) fn tracking_bytes(n_positions: usize, n_times: usize) -> usize {
    let in_window = n_positions.min(WINDOW * WINDOW);
    let samples = in_window
        .saturating_mul(n_times)
        .saturating_mul(most_blocks(in_window, n_times));
    // And the spectra of pairs of scans, of a window of twice the size.
    let spectra = MAX_SPECTRA_BYTES / (WINDOW * WINDOW) * in_window;
    samples
        .saturating_mul(size_of::<f32>())
        .saturating_add(spectra)
}

/// How much less of a movement blocks see than a pixel does, as the largest of them; 1 where the aperture is not known.
fn narrowing(reduction: &Reduction, recipe: &Recipe, blocks: &[Vec<usize>]) -> f64 {
    let annulus = &reduction.annulus;
    let largest = blocks.iter().max_by_key(|pixels| pixels.len());
    let known = Aperture::round(recipe).zip(largest);
    known.map_or(1.0, |(aperture, pixels)| {
        let place = |&pixel: &usize| (annulus.row[pixel], annulus.col[pixel]);
        let places: Vec<(u32, u32)> = pixels.iter().map(place).collect();
        aperture.narrowing_of_mean(&places, annulus.q_step_per_nm(&reduction.calibration))
    })
}

/// Annulus pixels that can be trusted at every position of a window.
fn valid_everywhere(reduction: &Reduction, window: &Region) -> Vec<bool> {
    let part = |map: &Array2<i32>| -> Vec<i32> {
        let view: ArrayView2<'_, i32> = map.slice(s![
            window.rows[0]..window.rows[1],
            window.cols[0]..window.cols[1]
        ]);
        view.iter().copied().collect()
    };
    let mut shifts: Vec<(i32, i32)> = part(&reduction.shift_row)
        .into_iter()
        .zip(part(&reduction.shift_col))
        .collect();
    shifts.sort_unstable();
    shifts.dedup();
    let mut everywhere = vec![true; reduction.annulus.len()];
    for shift in shifts {
        let pixel_valid = &reduction.calibration.pixel_valid;
        let valid = reduction.annulus.valid_at(pixel_valid, shift);
        everywhere
            .iter_mut()
            .zip(valid)
            .for_each(|(all, one)| *all &= one);
    }
    everywhere
}
