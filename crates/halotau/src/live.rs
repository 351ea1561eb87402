//! What do the maps look like while scans still arrive?
//!
//! ```text
//! S(t1, t2) = Σ_p I_p(t1) · I_p(t2)                 the scan t adds the row S(0, t), …, S(t, t)
//! G(t1, t2) = n · S(t1, t2) / (S(t1) · S(t2))       eq. (1), S(t) = Σ_p I_p(t) over the n ring pixels
//! ```
//!
//! The counts of the ring stay in memory, so that a scan costs one product with each earlier one instead of all products anew.
//! Where the recipe flattens, I is divided by the halo's profile over |Q| in the first scan, without which a wide ring would never seem to
//! relax. V is the mean over scans of that of each. These maps are for looking at while the microscope records: the sample is taken to
//! stand still. Drift, intervals and quality come with the analysis of the finished record, which depends on nothing here.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::axes::TimeAxis;
use crate::correlate::{Normalization, n_pairs, one_time};
use crate::error::{Error, Result};
use crate::fluctuate::{BandGeometry, FluctuateSettings, Noise, fluctuation};
use crate::recipe::Recipe;
use crate::relax::{
    Baseline, BaselineMode, KwwProblem, RelaxSettings, fit, lag_weights, n_lags_within,
};
use crate::ring::{Annulus, PixelSeries, RingSeries};

/// Maps of the scans so far, each `[row, col]`; NaN where there is no value.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveMaps {
    /// Scans that they rest on.
    pub n_times: usize,
    /// Relaxation time.
    pub tau_s: Array2<f64>,
    /// Contrast of the fit.
    pub contrast: Array2<f64>,
    /// Normalized azimuthal variance.
    pub fluctuation: Array2<f64>,
}

/// Two-time correlation and variance of every position, one scan after another.
#[derive(Debug)]
pub struct LiveSeries {
    ring: Vec<usize>,
    /// Ring of one binned pixel's width that each annulus pixel is in, where counts are flattened.
    profile: Option<Vec<usize>>,
    /// What the counts of each pixel of the ring are multiplied by.
    factors: Vec<f64>,
    band: BandGeometry,
    relaxation: RelaxSettings,
    structure: FluctuateSettings,
    n_cols: usize,
    n_times: usize,
    /// Row by row.
    positions: Vec<LivePosition>,
}

#[derive(Debug, Clone, Default)]
struct LivePosition {
    /// Counts on the ring, `[time, pixel]`.
    counts: Vec<f32>,
    /// S(t1, t2) for t1 <= t2, row by row of t2.
    products: Vec<f64>,
    /// S(t), `[time]`.
    sums: Vec<f64>,
    /// Sum over scans of V, and their number.
    fluctuation: (f64, usize),
}

impl LiveSeries {
    /// A series without scans. `annulus` and `q_step_per_nm`, of a binned pixel, are those of the pass.
    ///
    /// # Errors
    ///
    /// As [`Annulus::ring`] for the ranges of dynamics and structure.
    pub fn new(
        annulus: &Annulus,
        q_step_per_nm: f64,
        (n_rows, n_cols): (usize, usize),
        recipe: &Recipe,
    ) -> Result<Self> {
        let range = recipe.structure.q_range_per_nm;
        let ring_of = |pixel: &usize| {
            ((annulus.q_per_nm[*pixel] - range.min_per_nm) / q_step_per_nm) as usize
        };
        let mut pixels = annulus.ring(range)?.pixels;
        pixels.sort_by_key(ring_of);
        let ring: Vec<usize> = pixels.iter().map(ring_of).collect();
        let is_flat = recipe.dynamics.normalization == Normalization::Flattened;
        let narrow = |q: &f64| (q / q_step_per_nm) as usize;
        let mut structure = recipe.structure.clone();
        if structure.noise == Noise::TwoFrame {
            // One scan has no next one.
            structure.noise = Noise::Counting;
        }
        Ok(Self {
            ring: annulus.ring(recipe.dynamics.q_range_per_nm)?.pixels,
            profile: is_flat.then(|| annulus.q_per_nm.iter().map(narrow).collect()),
            factors: Vec::new(),
            band: BandGeometry {
                n_rings: ring.last().map_or(0, |&last| last + 1),
                sector: vec![0; ring.len()],
                ring,
                coverage: pixels.iter().map(|&at| annulus.coverage[at]).collect(),
                n_sectors: 1,
                pixels,
            },
            relaxation: recipe.relaxation.clone(),
            structure,
            n_cols,
            n_times: 0,
            positions: vec![LivePosition::default(); n_rows * n_cols],
        })
    }

    /// Bytes that it will hold after so many scans; `None` where that is more than can be counted.
    pub fn bytes(&self, n_times: usize) -> Option<u64> {
        let (n_times, n_pixels) = (n_times as u64, self.ring.len() as u64);
        let counts = n_times.checked_mul(n_pixels)?.checked_mul(4)?;
        let products = n_times.checked_mul(n_times + 1)?.checked_mul(4)?;
        counts
            .checked_add(products)?
            .checked_mul(self.positions.len() as u64)
    }

    /// Scans so far.
    pub fn n_times(&self) -> usize {
        self.n_times
    }

    /// Adds a scan: the counts of all shards, each of one time.
    ///
    /// A frame that holds no data leaves its position without this scan; so does a ring with a missing sample.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the shards are not one scan of every position.
    pub fn add(&mut self, scan: &[RingSeries]) -> Result<()> {
        let n_given: usize = scan
            .iter()
            .map(|shard| shard.dim())
            .map(|(n_rows, n_cols, n_times, _)| n_rows * n_cols * n_times)
            .sum();
        if n_given != self.positions.len() {
            return Err(Error::Shape {
                what: "a scan that is added",
                expected: vec![self.positions.len()],
                found: vec![n_given],
            });
        }
        self.keep_common_pixels(scan);
        if self.n_times == 0 {
            self.factors = self.flatten(scan);
        }
        let (ring, band, structure) = (&self.ring, &self.band, &self.structure);
        let flatten = &self.factors;
        let n_cols = self.n_cols;
        let factors: Vec<f64> = band.coverage.iter().map(|share| 1.0 / share).collect();
        let factors = factors
            .iter()
            .any(|&factor| factor != 1.0)
            .then_some(factors.as_slice());
        self.positions
            .par_iter_mut()
            .enumerate()
            .for_each(|(index, position)| {
                let (row, col) = (index / n_cols, index % n_cols);
                let Some((shard, at)) = scan.iter().find_map(|shard| within(shard, row, col))
                else {
                    return position.add(&[]);
                };
                if !shard.frame_valid[[at.0, at.1, 0]] {
                    return position.add(&[]);
                }
                let mut counts = shard.position(at.0, at.1, ring).into_raw_vec_and_offset().0;
                for (count, factor) in counts.iter_mut().zip(flatten) {
                    *count *= factor;
                }
                position.add(&counts);
                let series = PixelSeries::gather(shard, at, &band.pixels, factors);
                let of_scan = fluctuation(&series, band, &[true], shard.is_integer(), structure);
                if of_scan.value.is_finite() {
                    position.fluctuation.0 += of_scan.value;
                    position.fluctuation.1 += 1;
                }
            });
        self.n_times += 1;
        Ok(())
    }

    /// The inverse of the mean counts of the ring's pixels at each |Q|, over all positions of a scan; ones where nothing is flattened.
    fn flatten(&self, scan: &[RingSeries]) -> Vec<f64> {
        let Some(profile) = &self.profile else {
            return vec![1.0; self.ring.len()];
        };
        let n_bins = profile.iter().max().map_or(0, |most| most + 1);
        let (mut sums, mut n) = (vec![0.0; n_bins], vec![0.0; n_bins]);
        for shard in scan {
            let (n_rows, n_cols, _, _) = shard.dim();
            for (row, col) in (0..n_rows * n_cols).map(|at| (at / n_cols, at % n_cols)) {
                if !shard.frame_valid[[row, col, 0]] {
                    continue;
                }
                let counts = shard.position(row, col, &self.ring);
                for (count, &pixel) in counts.iter().zip(&self.ring) {
                    if count.is_finite() {
                        sums[profile[pixel]] += count;
                        n[profile[pixel]] += 1.0;
                    }
                }
            }
        }
        let factor = |&pixel: &usize| {
            let mean = sums[profile[pixel]] / n[profile[pixel]];
            if mean > 0.0 { 1.0 / mean } else { 0.0 }
        };
        self.ring.iter().map(factor).collect()
    }

    /// Leaves pixels out that a position lacks, so that all positions have the same; only the first scan has any to leave out.
    fn keep_common_pixels(&mut self, scan: &[RingSeries]) {
        if self.n_times > 0 {
            return;
        }
        let lacks = |pixel: usize| {
            let mut shards = scan.iter().filter_map(|shard| shard.pixel_valid.as_ref());
            shards.any(|valid| {
                valid
                    .index_axis(ndarray::Axis(2), pixel)
                    .iter()
                    .any(|&valid| !valid)
            })
        };
        self.ring.retain(|&pixel| !lacks(pixel));
        let band = &mut self.band;
        let kept: Vec<usize> = (0..band.pixels.len())
            .filter(|&at| !lacks(band.pixels[at]))
            .collect();
        band.ring = kept.iter().map(|&at| band.ring[at]).collect();
        band.sector = kept.iter().map(|&at| band.sector[at]).collect();
        band.coverage = kept.iter().map(|&at| band.coverage[at]).collect();
        band.pixels = kept.iter().map(|&at| band.pixels[at]).collect();
    }

    /// G of a position, `[time_1, time_2]`; NaN where a scan has no counts there.
    pub fn two_time(&self, row: usize, col: usize) -> Array2<f64> {
        self.positions[row * self.n_cols + col].two_time(self.ring.len())
    }

    /// The maps of the scans so far. `time` has at least as many as were added.
    pub fn maps(&self, time: &TimeAxis) -> LiveMaps {
        let shape = (self.positions.len() / self.n_cols.max(1), self.n_cols);
        let map =
            |values: Vec<f64>| Array2::from_shape_vec(shape, values).expect("one value a position");
        let fits: Vec<(f64, f64)> = self
            .positions
            .par_iter()
            .map(|position| self.relaxation_of(position, time))
            .collect();
        let fluctuation = self.positions.iter().map(|position| {
            let (sum, n) = position.fluctuation;
            sum / n as f64
        });
        LiveMaps {
            n_times: self.n_times,
            tau_s: map(fits.iter().map(|fit| fit.0).collect()),
            contrast: map(fits.iter().map(|fit| fit.1).collect()),
            fluctuation: map(fluctuation.collect()),
        }
    }

    /// tau and contrast of a position; NaN below the smallest number of scans.
    fn relaxation_of(&self, position: &LivePosition, time: &TimeAxis) -> (f64, f64) {
        let settings = &self.relaxation;
        let valid: Vec<bool> = position.sums.iter().map(|&sum| sum > 0.0).collect();
        let n_valid = valid.iter().filter(|&&valid| valid).count();
        if n_valid < settings.min_times.max(3) || time.len() < valid.len() {
            return (f64::NAN, f64::NAN);
        }
        let lag_s: Vec<f64> = time.lags_s().into_iter().take(valid.len() - 1).collect();
        let record_s = time.times_s()[valid.len() - 1] + time.step_s();
        let g = one_time(position.two_time(self.ring.len()).view(), &valid);
        let mut weights = lag_weights(&n_pairs(&valid), settings.weights);
        let n_fitted = n_lags_within(&lag_s, record_s, settings.lag_fraction);
        weights
            .iter_mut()
            .skip(n_fitted)
            .for_each(|weight| *weight = 0.0);
        let found = fit(&KwwProblem {
            lag_s: &lag_s,
            g: &g,
            weights: &weights,
            exponent_factor: settings.exponent_factor,
            stretch: settings.stretch,
            baseline: match settings.baseline {
                Baseline::Free => BaselineMode::Free,
                _ => BaselineMode::Given(1.0),
            },
            tau_bounds_s: settings.tau_bounds_s(time.step_s(), record_s),
            finite_window: None,
        });
        (found.tau_s, found.contrast)
    }
}

/// A shard that holds a position, and where in it.
fn within(shard: &RingSeries, row: usize, col: usize) -> Option<(&RingSeries, (usize, usize))> {
    let (n_rows, n_cols, _, _) = shard.dim();
    let at = (
        row.checked_sub(shard.first_row)?,
        col.checked_sub(shard.first_col)?,
    );
    (at.0 < n_rows && at.1 < n_cols).then_some((shard, at))
}

impl LivePosition {
    /// Adds a scan; one without counts, or with a missing one, is there and not valid.
    fn add(&mut self, counts: &[f64]) {
        let sum: f64 = counts.iter().sum();
        let is_valid = sum.is_finite() && sum > 0.0;
        let n_pixels = match self.sums.len() {
            0 => counts.len(),
            n_times => self.counts.len() / n_times,
        };
        let start = self.counts.len();
        if is_valid && counts.len() >= n_pixels {
            // The first scans may have been without data: they are as long as the others, and zero.
            let missing = self.sums.len() * counts.len() - start;
            self.counts.resize(start + missing, 0.0);
            self.counts.extend(counts.iter().map(|&count| count as f32));
        } else {
            self.counts.resize(start + n_pixels, 0.0);
        }
        self.sums.push(if is_valid { sum } else { 0.0 });
        let n_pixels = self.counts.len() / self.sums.len();
        if n_pixels == 0 {
            self.products
                .resize(self.products.len() + self.sums.len(), 0.0);
            return;
        }
        let (earlier, new) = self.counts.split_at(self.counts.len() - n_pixels);
        let row = earlier
            .chunks_exact(n_pixels)
            .chain(std::iter::once(new))
            .map(|other| product(other, new));
        self.products.extend(row);
    }

    fn two_time(&self, n_pixels: usize) -> Array2<f64> {
        let n_times = self.sums.len();
        let mut values = Array2::zeros((n_times, n_times));
        let mut products = self.products.iter();
        for later in 0..n_times {
            for (earlier, product) in (0..=later).zip(&mut products) {
                let norm = self.sums[earlier] * self.sums[later];
                let value = match norm > 0.0 {
                    true => n_pixels as f64 * product / norm,
                    false => f64::NAN,
                };
                values[[earlier, later]] = value;
                values[[later, earlier]] = value;
            }
        }
        values
    }
}

/// Σ x·y, exact for counts that are not flattened: products of `f32` are exact in `f64`, and their sums stay below 2^53.
fn product(x: &[f32], y: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (y_chunks, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let rest = x_rest.iter().zip(y_rest);
    lanes.iter().sum::<f64>()
        + rest
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum::<f64>()
}

/// The mean over all positions that have a value, and how many those are.
pub fn mean_of(map: ArrayView2<'_, f64>) -> (f64, usize) {
    let values = map.iter().filter(|value| value.is_finite());
    let (sum, n) = values.fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    (sum / n as f64, n)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use ndarray::{Axis, s};

    use super::*;
    use crate::axes::TimeBasis;
    use crate::calibrate::Calibration;
    use crate::correlate::two_time;
    use crate::rank::median;
    use crate::reduce::{ReducePlan, ReduceSettings, Reduction};
    use crate::ring::RingCounts;
    use crate::simulate::{Simulation, SimulationSettings};
    use crate::source::FrameSource;

    fn simulated() -> Simulation {
        let mut settings = SimulationSettings {
            n_rows: 3,
            n_cols: 4,
            n_times: 40,
            ..SimulationSettings::default()
        };
        settings.total_s = vec![400.0; settings.total_s.len()];
        settings.glass.tau_median_s = 100.0;
        Simulation::new(&settings, 0).unwrap()
    }

    fn reduced() -> (Reduction, Vec<RingSeries>, Recipe, f64) {
        let simulation = simulated();
        let settings = simulation.settings();
        let series = simulation.series().unwrap();
        let every_pixel = Array2::from_elem((66, 66), true);
        let step = settings.q_step_per_nm;
        let calibration = Calibration::centered(settings.center_px(), step, every_pixel);
        let recipe = Recipe::default();
        let plan = ReduceSettings::of(series.header(), calibration, recipe.annulus_range());
        let plan = ReducePlan::new(series.header(), plan.unwrap()).unwrap();
        let (reduction, rings) = plan.reduce(&series, 1 << 24).unwrap();
        (reduction, rings, recipe, step)
    }

    /// One time of each shard.
    fn scan(rings: &[RingSeries], time: usize) -> Vec<RingSeries> {
        rings
            .iter()
            .map(|shard| {
                let RingCounts::U16(counts) = &shard.counts else {
                    panic!("the simulation counts in u16");
                };
                RingSeries {
                    counts: RingCounts::U16(counts.slice(s![.., .., time..=time, ..]).to_owned()),
                    frame_valid: shard.frame_valid.slice(s![.., .., time..=time]).to_owned(),
                    pixel_valid: shard.pixel_valid.clone(),
                    ..*shard
                }
            })
            .collect()
    }

    #[test]
    fn scan_by_scan_is_as_all_at_once() {
        let (reduction, rings, recipe, step) = reduced();
        let dim = (reduction.n_rows(), reduction.n_cols());
        let mut live = LiveSeries::new(&reduction.annulus, step, dim, &recipe).unwrap();
        let n_times = reduction.time.len();
        for time in 0..n_times {
            live.add(&scan(&rings, time)).unwrap();
            // After each scan, not only at the end.
            if time % 13 == 1 {
                let mut whole = rings[0].position(0, 1, &live.ring);
                for mut scan in whole.outer_iter_mut() {
                    let flat = scan.iter_mut().zip(&live.factors);
                    flat.for_each(|(count, factor)| *count = f64::from((*count * factor) as f32));
                }
                let expected = two_time(whole.slice(s![..=time, ..])).unwrap();
                let found = live.two_time(0, 1);
                let apart = (&found - &expected).mapv(f64::abs);
                assert!(apart.iter().all(|apart| *apart < 1e-6), "scan {time}");
            }
        }
        let maps = live.maps(&reduction.time);
        assert_eq!(maps.n_times, n_times);
        // The median over the positions is the simulated one within its scatter.
        let found = median(&maps.tau_s.iter().copied().collect::<Vec<_>>());
        let truth = simulated().truth().tau_s.clone();
        let truth = median(&truth.iter().copied().collect::<Vec<_>>());
        assert!((found / truth).ln().abs() < 0.4, "{found} s, {truth} s");
        let (mean, n) = mean_of(maps.fluctuation.view());
        assert!(n == 12 && mean > 0.0 && mean < 1.0, "{mean}");
        assert_eq!(
            live.bytes(n_times),
            Some((12 * n_times * (4 * live.ring.len() + 4 * (n_times + 1))) as u64)
        );
    }

    #[test]
    fn what_a_scan_lacks_is_left_out_and_shards_may_be_cut_anyhow() {
        let (reduction, rings, recipe, step) = reduced();
        let dim = (reduction.n_rows(), reduction.n_cols());
        let mut live = LiveSeries::new(&reduction.annulus, step, dim, &recipe).unwrap();
        let mut cut = LiveSeries::new(&reduction.annulus, step, dim, &recipe).unwrap();
        let time_axis = TimeAxis::uniform(40, 10.0, TimeBasis::Period).unwrap();
        for time in 0..12 {
            let mut scan = scan(&rings, time);
            scan[0].frame_valid[[0, 0, 0]] = time != 0 && time != 5;
            live.add(&scan).unwrap();
            // The same scan in columns.
            let columns: Vec<RingSeries> = scan
                .iter()
                .flat_map(|shard| {
                    let RingCounts::U16(counts) = &shard.counts else {
                        panic!("the simulation counts in u16");
                    };
                    (0..4).map(move |col| RingSeries {
                        first_row: shard.first_row,
                        first_col: col,
                        counts: RingCounts::U16(counts.slice(s![.., col..=col, .., ..]).to_owned()),
                        frame_valid: shard.frame_valid.slice(s![.., col..=col, ..]).to_owned(),
                        pixel_valid: None,
                    })
                })
                .collect();
            cut.add(&columns).unwrap();
        }
        let (maps, of_columns) = (live.maps(&time_axis), cut.maps(&time_axis));
        assert_eq!(maps.tau_s, of_columns.tau_s);
        assert_eq!(maps.fluctuation, of_columns.fluctuation);
        let lacking = live.two_time(0, 0);
        for time in [0, 5] {
            assert!(lacking.index_axis(Axis(0), time).iter().all(|g| g.is_nan()));
        }
        assert!(lacking[[1, 2]].is_finite() && maps.tau_s[[0, 0]].is_finite());
        assert!(live.add(&[]).is_err());
    }
}
