//! What of the pattern is the same everywhere: the mean pattern to divide by, and the baseline that remains.
//!
//! ```text
//! y_p(i; r) = x_p(i; r) / (s(i; r) · M_p),   M_p = ⟨x_p(i; r) / s(i; r)⟩ over scans i and positions r,
//! s(i; r) = ⟨x(i; r)⟩ over ring pixels
//! ```
//!
//! M removes static structure (halo of the beam stop, gain, ellipse) without the finite-window bias of a time mean.
//! Where few independent areas are averaged M holds real speckle and dividing by it removes some of the signal:
//! below [`MIN_AREAS_FOR_PIXEL_FLATTENING`] the radial profile M(q) is used.

use ndarray::{Array2, ArrayView2};

use super::pairs::add_pixels;
use crate::ring::pixel_series::{TIME_PAD, Values};
use crate::ring::{PixelSeries, RingCounts, RingSeries};
use crate::simd::{Isa, dispatch};

/// Independent probe areas below which each pixel's own mean removes more than about 1 % of the speckle.
pub const MIN_AREAS_FOR_PIXEL_FLATTENING: f64 = 300.0;

/// Sums of normalized counts of each annulus pixel, added in the order of positions.
#[derive(Debug, Clone, PartialEq)]
pub struct FlattenSums {
    sum: Vec<f64>,
    n: Vec<f64>,
}

impl FlattenSums {
    /// Empty sums for an annulus of that many pixels.
    pub fn new(n_annulus: usize) -> Self {
        Self {
            sum: vec![0.0; n_annulus],
            n: vec![0.0; n_annulus],
        }
    }

    /// The sums of one position: `ring` is `[time, ring pixel]`, `pixels` the annulus index of each ring pixel.
    pub fn add_position(&mut self, ring: ArrayView2<'_, f64>, pixels: &[usize], valid: &[bool]) {
        for (counts, &valid) in ring.rows().into_iter().zip(valid) {
            let (mut total, mut n) = (0.0, 0.0);
            for &count in counts.iter().filter(|count| !count.is_nan()) {
                total += count;
                n += 1.0;
            }
            let mean = total / n;
            if !valid || mean.is_nan() || mean <= 0.0 {
                continue;
            }
            for (&count, &pixel) in counts.iter().zip(pixels) {
                if !count.is_nan() {
                    self.sum[pixel] += count / mean;
                    self.n[pixel] += 1.0;
                }
            }
        }
    }

    /// The sums of one position from its counts as they are stored, `pixels` the annulus index of each ring pixel, multiplied by its
    /// factor where there are factors; `None` where samples may be missing.
    pub(crate) fn of_counts(
        rings: &RingSeries,
        (row, col): (usize, usize),
        pixels: &[usize],
        factors: Option<&[f64]>,
        valid: &[bool],
    ) -> Option<Self> {
        let (_, n_cols, n_times, n_annulus) = rings.dim();
        let len = n_times * n_annulus;
        let start = (row * n_cols + col) * len;
        let ones = vec![1.0; pixels.len()];
        let factors = factors.unwrap_or(&ones);
        let mut sums = Self::new(n_annulus);
        let sum = &mut sums.sum;
        let isa = Isa::best();
        let n_scans = match &rings.counts {
            RingCounts::U8(counts) => {
                let counts = &counts.as_slice()?[start..start + len];
                add_scans(isa, counts, pixels, factors, valid, sum)
            }
            RingCounts::U16(counts) => {
                let counts = &counts.as_slice()?[start..start + len];
                add_scans(isa, counts, pixels, factors, valid, sum)
            }
            RingCounts::U32(counts) => {
                let counts = &counts.as_slice()?[start..start + len];
                add_scans(isa, counts, pixels, factors, valid, sum)
            }
            RingCounts::F32(_) => return None,
        };
        // All of the annulus was summed, in order, which is faster than to pick the ring out.
        let all = std::mem::replace(&mut sums.sum, vec![0.0; n_annulus]);
        for (&pixel, factor) in pixels.iter().zip(factors) {
            sums.sum[pixel] = all[pixel] * factor;
            sums.n[pixel] = n_scans as f64;
        }
        Some(sums)
    }

    /// Adds the sums of later positions.
    pub fn add(&mut self, later: &Self) {
        for (sum, other) in self.sum.iter_mut().zip(&later.sum) {
            *sum += other;
        }
        for (n, other) in self.n.iter_mut().zip(&later.n) {
            *n += other;
        }
    }

    /// M of each annulus pixel, `[pixel]`; 1 where nothing was counted.
    pub fn per_pixel(&self) -> Vec<f64> {
        self.sum
            .iter()
            .zip(&self.n)
            .map(|(&sum, &n)| if sum > 0.0 { sum / n } else { 1.0 })
            .collect()
    }

    /// M(q): bin means, one bin `q_step` wide from `q_min`, joined by straight lines at the bins' mean q, `[pixel]`.
    pub fn radial(&self, q_per_nm: &[f64], q_min_per_nm: f64, q_step_per_nm: f64) -> Vec<f64> {
        let mut bins: Vec<(f64, f64, f64)> = Vec::new();
        for ((&sum, &n), &q) in self.sum.iter().zip(&self.n).zip(q_per_nm) {
            if n > 0.0 && q >= q_min_per_nm {
                let bin = ((q - q_min_per_nm) / q_step_per_nm) as usize;
                if bins.len() <= bin {
                    bins.resize(bin + 1, (0.0, 0.0, 0.0));
                }
                bins[bin].0 += q;
                bins[bin].1 += sum / n;
                bins[bin].2 += 1.0;
            }
        }
        let nodes: Vec<(f64, f64)> = bins
            .iter()
            .filter(|bin| bin.2 > 0.0)
            .map(|bin| (bin.0 / bin.2, bin.1 / bin.2))
            .collect();
        q_per_nm
            .iter()
            .map(|&q| interpolate(&nodes, q))
            .map(|mean| if mean > 0.0 { mean } else { 1.0 })
            .collect()
    }
}

dispatch! {
    /// Adds each pixel of the annulus over the mean of the ring in its scan to `sum`; gives the number of scans that have such a mean.
    fn add_scans [C: Copy + Into<f64>] [C] (
        counts: &[C],
        pixels: &[usize],
        factors: &[f64],
        valid: &[bool],
        sum: &mut [f64],
    ) -> usize {
        add_scans_in_vectors(counts, pixels, factors, valid, sum)
    }
}

#[inline(always)]
fn add_scans_in_vectors<C: Copy + Into<f64>>(
    counts: &[C],
    pixels: &[usize],
    factors: &[f64],
    valid: &[bool],
    sum: &mut [f64],
) -> usize {
    // Additions that do not wait for each other, in an order that is the same anywhere.
    const LANES: usize = 8;
    let mut n_scans = 0;
    for (scan, _) in counts
        .chunks_exact(sum.len().max(1))
        .zip(valid)
        .filter(|(_, valid)| **valid)
    {
        let mut totals = [0.0_f64; LANES];
        for (pixels, factors) in pixels.chunks(LANES).zip(factors.chunks(LANES)) {
            for ((total, &pixel), factor) in totals.iter_mut().zip(pixels).zip(factors) {
                *total += scan[pixel].into() * factor;
            }
        }
        let mean = totals.iter().sum::<f64>() / pixels.len() as f64;
        if mean > 0.0 {
            let weight = 1.0 / mean;
            for (sum, &count) in sum.iter_mut().zip(scan) {
                *sum += count.into() * weight;
            }
            n_scans += 1;
        }
    }
    n_scans
}

/// Straight lines between nodes of increasing abscissa, continued beyond both ends.
fn interpolate(nodes: &[(f64, f64)], at: f64) -> f64 {
    match nodes {
        [] => 1.0,
        [only] => only.1,
        _ => {
            let upper = nodes
                .partition_point(|node| node.0 < at)
                .clamp(1, nodes.len() - 1);
            let ((x0, y0), (x1, y1)) = (nodes[upper - 1], nodes[upper]);
            y0 + (y1 - y0) * (at - x0) / (x1 - x0)
        }
    }
}

/// The mean of each pixel over its ring's mean, over the valid scans that hold any counts; `values` is `[pixel, padded time]`.
fn normalized_means<T: Copy + Into<f64>>(
    values: &[T],
    series: &PixelSeries,
    n_pixels: usize,
    valid: &[bool],
) -> Vec<f64> {
    let padded = series.padded();
    let values = &values[..n_pixels * padded];
    let mut weights = vec![0.0; padded];
    add_pixels(Isa::best(), values, &mut weights);
    let mut n_scans = 0_usize;
    for (time, weight) in weights.iter_mut().enumerate() {
        let mean = *weight / n_pixels as f64;
        let counts = mean > 0.0 && valid.get(time) == Some(&true);
        n_scans += usize::from(counts);
        *weight = if counts { 1.0 / mean } else { 0.0 };
    }
    let mut means = vec![0.0; n_pixels];
    weigh_pixels(Isa::best(), values, &weights, &mut means);
    means.iter_mut().for_each(|mean| *mean /= n_scans as f64);
    means
}

dispatch! {
    /// The sum of each pixel over its times with their weights.
    fn weigh_pixels [T: Copy + Into<f64>] [T] (values: &[T], weights: &[f64], sums: &mut [f64]) {
        weigh_pixels_in_vectors(values, weights, sums)
    }
}

#[inline(always)]
fn weigh_pixels_in_vectors<T: Copy + Into<f64>>(values: &[T], weights: &[f64], sums: &mut [f64]) {
    let (weights, _) = weights.as_chunks::<TIME_PAD>();
    let (values, _) = values.as_chunks::<TIME_PAD>();
    for (pixel, sum) in values.chunks_exact(weights.len().max(1)).zip(sums) {
        let mut totals = [0.0; TIME_PAD];
        for (values, weights) in pixel.iter().zip(weights) {
            for at in 0..TIME_PAD {
                totals[at] += values[at].into() * weights[at];
            }
        }
        *sum = totals.iter().sum();
    }
}

/// The baseline of g from pairs of positions too far apart to share speckle.
///
/// ```text
/// b = ⟨ ⟨u_r u_r'⟩ ⟩ over pairs (r, r') farther apart than two probe widths,  u_r = ⟨x(i; r)/s(i; r)⟩ over scans i
/// ```
///
/// No dynamics contribute, so `b` is what static structure along the azimuth adds to g (1 without any).
#[derive(Debug, Clone)]
pub struct DistantPairs {
    positions: Vec<(f64, f64)>,
    mean: Vec<Vec<f64>>,
    min_distance: f64,
}

/// Pairs that are averaged at most; their number decides the error, which is far below that of one position's g.
const MAX_PAIRS: usize = 200_000;

impl DistantPairs {
    /// Collects positions; `min_distance` in scan steps.
    pub fn new(min_distance: f64) -> Self {
        Self {
            positions: Vec::new(),
            mean: Vec::new(),
            min_distance,
        }
    }

    /// The time-averaged, normalized counts of one position on the ring; all positions have the same ring pixels.
    pub fn position_mean(ring: ArrayView2<'_, f64>, valid: &[bool]) -> Vec<f64> {
        let mut sums = FlattenSums::new(ring.ncols());
        let pixels: Vec<usize> = (0..ring.ncols()).collect();
        sums.add_position(ring, &pixels, valid);
        sums.sum
            .iter()
            .zip(&sums.n)
            .map(|(sum, n)| sum / n)
            .collect()
    }

    /// As [`DistantPairs::position_mean`], of the first pixels of a series.
    pub(crate) fn series_mean(series: &PixelSeries, n_pixels: usize, valid: &[bool]) -> Vec<f64> {
        match &series.values {
            Values::Counts { values, .. } => normalized_means(values, series, n_pixels, valid),
            Values::F64 {
                values,
                has_nan: false,
            } => normalized_means(values, series, n_pixels, valid),
            Values::F64 { has_nan: true, .. } => {
                Self::position_mean(series.array(0..n_pixels).view(), valid)
            }
        }
    }

    /// Adds a position and its [`DistantPairs::position_mean`].
    pub fn add(&mut self, row: usize, col: usize, mean: Vec<f64>) {
        if mean.iter().all(|value| value.is_finite()) {
            self.positions.push((row as f64, col as f64));
            self.mean.push(mean);
        }
    }

    /// The baseline; `None` where no two positions are far enough apart.
    pub fn baseline(&self) -> Option<f64> {
        let n = self.mean.len();
        let n_pixels = self.mean.first()?.len();
        // Every stride-th position, so that the pairs stay within bounds on any scan.
        let stride = ((n as f64 / (2.0 * MAX_PAIRS as f64).sqrt()).ceil() as usize).max(1);
        let chosen: Vec<usize> = (0..n).step_by(stride).collect();
        let matrix = Array2::from_shape_fn((chosen.len(), n_pixels), |(at, pixel)| {
            self.mean[chosen[at]][pixel]
        });
        let products = matrix.dot(&matrix.t());
        let (mut sum, mut n_pairs) = (0.0, 0_usize);
        for (first, &a) in chosen.iter().enumerate() {
            for (second, &b) in chosen.iter().enumerate().skip(first + 1) {
                let (from, to) = (self.positions[a], self.positions[b]);
                if libm::hypot(from.0 - to.0, from.1 - to.1) > self.min_distance {
                    sum += products[[first, second]] / n_pixels as f64;
                    n_pairs += 1;
                }
            }
        }
        (n_pairs > 0).then(|| sum / n_pairs as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, Array4, array};

    #[test]
    fn interpolates_between_bins() {
        assert_eq!(interpolate(&[(1.0, 2.0), (3.0, 4.0)], 2.0), 3.0);
        assert_eq!(interpolate(&[(1.0, 2.0), (3.0, 4.0)], 4.0), 5.0);
    }

    #[test]
    fn the_mean_pattern_is_the_mean_of_normalized_scans() {
        let mut sums = FlattenSums::new(3);
        sums.add_position(
            array![[1.0, 3.0], [10.0, 10.0]].view(),
            &[0, 2],
            &[true, true],
        );
        sums.add_position(
            array![[5.0, 5.0], [f64::NAN, 7.0]].view(),
            &[0, 2],
            &[false, true],
        );
        assert_eq!(
            sums.per_pixel(),
            vec![(0.5 + 1.0) / 2.0, 1.0, (1.5 + 1.0 + 1.0) / 3.0]
        );
    }

    #[test]
    fn counts_as_stored_have_the_sums_of_their_array() {
        let (n_times, n_annulus) = (19, 40);
        let count = |(_, _, time, pixel): (usize, usize, usize, usize)| {
            // The fourth scan holds nothing.
            if time == 3 {
                0
            } else {
                (time * 7 + pixel * 13) as u16 % 31
            }
        };
        let rings = RingSeries {
            first_row: 0,
            first_col: 0,
            counts: RingCounts::U16(Array4::from_shape_fn((1, 2, n_times, n_annulus), count)),
            frame_valid: Array3::from_elem((1, 2, n_times), true),
            pixel_valid: None,
        };
        let valid: Vec<bool> = (0..n_times).map(|time| time != 8).collect();
        let pixels: Vec<usize> = (0..n_annulus).filter(|pixel| pixel % 3 != 1).collect();
        let factors: Vec<f64> = pixels
            .iter()
            .map(|&pixel| 1.0 + pixel as f64 / 9.0)
            .collect();
        let found = FlattenSums::of_counts(&rings, (0, 1), &pixels, Some(&factors), &valid);
        let mut array = rings.position(0, 1, &pixels);
        for mut scan in array.rows_mut() {
            scan.iter_mut()
                .zip(&factors)
                .for_each(|(count, factor)| *count *= factor);
        }
        let mut expected = FlattenSums::new(n_annulus);
        expected.add_position(array.view(), &pixels, &valid);
        let found = found.unwrap();
        assert_eq!(found.n, expected.n);
        for (found, expected) in found.sum.iter().zip(&expected.sum) {
            assert!((found - expected).abs() <= 1e-13 * expected);
        }
    }

    #[test]
    fn a_series_has_the_means_of_its_array() {
        // The third scan holds nothing, the fifth is not valid.
        let count = |(time, pixel): (usize, usize)| {
            if time == 2 {
                0.0
            } else {
                ((time * 7 + pixel * 13) % 31) as f64
            }
        };
        let ring = Array2::from_shape_fn((19, 12), count);
        let valid: Vec<bool> = (0..19).map(|time| time != 4).collect();
        let mut gaps = ring.clone();
        gaps[[7, 3]] = f64::NAN;
        for counts in [ring, gaps] {
            let first = counts.slice(ndarray::s![.., ..9]);
            let expected = DistantPairs::position_mean(first, &valid);
            let series = PixelSeries::of(counts.view());
            let found = DistantPairs::series_mean(&series, 9, &valid);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-13 * expected);
            }
        }
    }

    #[test]
    fn static_structure_is_the_baseline_of_distant_pairs() {
        let mut pairs = DistantPairs::new(1.5);
        for col in [0, 1, 5] {
            let ring = array![[1.0, 3.0], [2.0, 6.0]];
            pairs.add(
                0,
                col,
                DistantPairs::position_mean(ring.view(), &[true, true]),
            );
        }
        // ⟨m²⟩/⟨m⟩² of (0.5, 1.5).
        assert!((pairs.baseline().unwrap() - 1.25).abs() < 1e-15);
        assert_eq!(DistantPairs::new(1.0).baseline(), None);
    }
}
