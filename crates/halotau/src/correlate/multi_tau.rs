//! g(t) of long series at few lags: the longer the lag, the more scans are added up before they are multiplied.
//!
//! ```text
//! X_p(I) = Σ x_p(i)  over the valid scans i of block I, n(I) of them        blocks of 2^l scans at level l
//! G(I, J) = ⟨X(I)·X(J)⟩ / (⟨X(I)⟩·⟨X(J)⟩)                                   eq. (1), ⟨·⟩ over ring pixels
//! g(k·2^l) = Σ_I n(I) n(I+k) G(I, I+k) / Σ_I n(I) n(I+k)                    eq. (2), every pair of scans alike
//! ```
//!
//! This is the multiple-tau correlator of light scattering for pictures: the means in the denominator are those of the two blocks that are multiplied, its
//! symmetric normalization, here over the pixels of the ring. So a change of beam current leaves g unchanged, and no window of the record
//! biases it. [`Lags`] says which lags there are. At level 0 the result is that of all pairs of scans to rounding; above it is the mean
//! over the triangle of lags that two blocks have between them.
//!
//! Where a sample is missing (NaN), the mean of the pixel's others in the block stands for it; a pixel without any is left out of the block's pairs.
//!
//! The cost of a position grows as T instead of T² or T log T. Pixels that belong together are summed once: sums are additive over sectors.

use std::ops::Range;

use super::lags::{Lags, Level};
use super::sectors::{RingParts, RingSums, SectorCurves, of_sectors};
use crate::ring::PixelSeries;
use crate::ring::pixel_series::Values;
use crate::simd::{Isa, dispatch};

/// Blocks whose products are summed in the first cache at once: those of 15 lags are 30 kiB.
const TILE: usize = 256;

/// Correlates positions at the lags of [`Lags::multi_tau`].
///
/// # Example
///
/// ```
/// use halotau::correlate::{Lags, MultiTau, Normalization, sector_curves};
/// use halotau::ndarray::Array2;
/// use halotau::ring::PixelSeries;
///
/// let counts = Array2::from_shape_fn((50, 12), |(time, pixel)| ((time * pixel * 7) % 11 + 1) as f64);
/// let (series, sector) = (PixelSeries::of(counts.view()), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
/// let valid = [true; 50];
/// let few = MultiTau::new(Lags::multi_tau(50)).sector_curves(&series, &sector, 3, &valid);
/// let all = sector_curves(&series, &sector, 3, &valid, Normalization::Ring);
/// assert!((few.g[14] - all.g[14]).abs() < 1e-12);
/// ```
#[derive(Debug, Clone)]
pub struct MultiTau {
    lags: Lags,
}

impl MultiTau {
    /// For series with these lags.
    pub fn new(lags: Lags) -> Self {
        Self { lags }
    }

    /// The lags.
    pub fn lags(&self) -> &Lags {
        &self.lags
    }

    /// As [`sector_curves`](super::sector_curves) in the ring's normalization, at these lags and without G.
    ///
    /// `series` and `valid` hold as many scans as the record of the lags.
    pub fn sector_curves(
        &self,
        series: &PixelSeries,
        sector: &[usize],
        n_sectors: usize,
        valid: &[bool],
    ) -> SectorCurves {
        self.curves_of_parts(series, sector, n_sectors, RingParts::NONE, valid)
            .0
    }

    /// As [`curves_of_parts`](super::curves_of_parts).
    pub(crate) fn curves_of_parts(
        &self,
        series: &PixelSeries,
        sector: &[usize],
        n_sectors: usize,
        parts: RingParts<'_>,
        valid: &[bool],
    ) -> (SectorCurves, Vec<SectorCurves>) {
        let ring_mean = ring_mean(series, sector.len());
        let there = |(&valid, &mean): (&bool, &f64)| valid && mean > 0.0;
        let valid: Vec<bool> = valid.iter().zip(&ring_mean).map(there).collect();
        let blocks = Blocks::new(&self.lags, series, sector.len(), &valid);
        let sums = |pixels| blocks.sums(pixels);
        let (mut whole, of_parts) = of_sectors(sector, n_sectors, parts, &valid, &sums);
        whole.ring_mean = ring_mean;
        (whole, of_parts)
    }
}

/// Mean over the first pixels of a series in each scan, `[time]`, without missing samples.
fn ring_mean(series: &PixelSeries, n_pixels: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); series.n_times()];
    let mut counts = vec![0.0; series.n_times()];
    for pixel in 0..n_pixels {
        series.read(pixel, &mut counts);
        for ((sum, n), &count) in sums.iter_mut().zip(&counts) {
            if !count.is_nan() {
                *sum += count;
                *n += 1.0;
            }
        }
    }
    sums.into_iter().map(|(sum, n)| sum / n).collect()
}

/// The sums over blocks of scans of every pixel.
struct Blocks<'a> {
    lags: &'a Lags,
    /// `[level]`, each `[pixel, block]`; zero where a pixel has nothing.
    sums: Vec<Vec<f64>>,
    /// Where samples are missing: 1 where a pixel has any in a block, `[level]`, each `[pixel, block]`.
    there: Option<Vec<Vec<f64>>>,
}

impl<'a> Blocks<'a> {
    fn new(lags: &'a Lags, series: &PixelSeries, n_pixels: usize, valid: &[bool]) -> Self {
        let has_gaps = matches!(series.values, Values::F64 { has_nan: true, .. });
        let levels = lags.levels();
        let room = |level: &Level| Vec::with_capacity(n_pixels * level.n_blocks);
        let mut sums: Vec<Vec<f64>> = levels.iter().map(room).collect();
        let mut there: Vec<Vec<f64>> = Vec::new();
        let mut n_valid: Vec<Vec<usize>> = Vec::new();
        if has_gaps {
            there = levels.iter().map(room).collect();
            n_valid = levels.iter().map(|level| level.n_valid(valid)).collect();
        }
        let mut counts = vec![0.0; series.n_times()];
        let mut n_there = Vec::new();
        for pixel in 0..n_pixels {
            counts.resize(series.n_times(), 0.0);
            series.read(pixel, &mut counts);
            if has_gaps {
                n_there.clear();
                let samples = counts.iter().zip(valid);
                n_there.extend(
                    samples.map(|(count, &valid)| f64::from(u8::from(valid && !count.is_nan()))),
                );
            }
            for (count, &valid) in counts.iter_mut().zip(valid) {
                *count = if valid && !count.is_nan() {
                    *count
                } else {
                    0.0
                };
            }
            for (at, level) in levels.iter().enumerate() {
                if level.width > 1 {
                    add_pairs(&mut counts);
                    add_pairs(&mut n_there);
                }
                if has_gaps {
                    let blocks = counts.iter().zip(&n_there).zip(&n_valid[at]);
                    sums[at].extend(blocks.map(|((sum, &n_there), &n_valid)| {
                        if n_there > 0.0 {
                            sum * (n_valid as f64 / n_there)
                        } else {
                            0.0
                        }
                    }));
                    there[at].extend(n_there.iter().map(|&n| f64::from(u8::from(n > 0.0))));
                } else {
                    sums[at].extend_from_slice(&counts);
                }
            }
        }
        Self {
            lags,
            sums,
            there: has_gaps.then_some(there),
        }
    }

    /// The sums of some pixels.
    fn sums(&self, pixels: Range<usize>) -> BlockSums<'a> {
        let isa = Isa::best();
        let of_level = |(at, level): (usize, &Level)| {
            let n = level.n_blocks;
            let part = pixels.start * n..pixels.end * n;
            let values = &self.sums[at][part.clone()];
            let lagged = |early: &[f64], late: &[f64]| {
                let mut sums = vec![0.0; (level.end - level.first) * n];
                add_lagged(isa, early, late, n, level.first, &mut sums);
                sums
            };
            LevelSums {
                sums: column_sums(values, n),
                products: lagged(values, values),
                gaps: self.there.as_ref().map(|there| {
                    let there = &there[at][part];
                    Gaps {
                        early: lagged(values, there),
                        late: lagged(there, values),
                        n_pixels: lagged(there, there),
                    }
                }),
            }
        };
        BlockSums {
            lags: self.lags,
            n_pixels: pixels.len() as f64,
            levels: self
                .lags
                .levels()
                .iter()
                .enumerate()
                .map(of_level)
                .collect(),
        }
    }
}

/// Replaces values by the sums of neighbors; of an odd number the last stays by itself.
fn add_pairs(values: &mut Vec<f64>) {
    let n_pairs = values.len().div_ceil(2);
    for at in 0..n_pairs {
        values[at] = values[2 * at] + values.get(2 * at + 1).copied().unwrap_or(0.0);
    }
    values.truncate(n_pairs);
}

/// Sums over pixels that give g, level by level.
#[derive(Debug, Clone)]
struct BlockSums<'a> {
    lags: &'a Lags,
    n_pixels: f64,
    levels: Vec<LevelSums>,
}

#[derive(Debug, Clone)]
struct LevelSums {
    /// `Σ_p X_p(I)`, `[block]`.
    sums: Vec<f64>,
    /// `Σ_p X_p(I) X_p(I + k)`, `[lag, block]`; what has no partner means nothing.
    products: Vec<f64>,
    gaps: Option<Gaps>,
}

/// For the pixels that have something in both blocks, each `[lag, block]`.
#[derive(Debug, Clone)]
struct Gaps {
    /// `Σ_p X_p(I)`.
    early: Vec<f64>,
    /// `Σ_p X_p(I + k)`.
    late: Vec<f64>,
    /// Their number.
    n_pixels: Vec<f64>,
}

impl BlockSums<'_> {
    /// g of this set without a part of it.
    fn curve(&self, part: Option<&Self>, valid: &[bool]) -> Vec<f64> {
        let less = |own: &[f64], part: Option<&[f64]>| -> Vec<f64> {
            match part {
                Some(part) => own.iter().zip(part).map(|(own, part)| own - part).collect(),
                None => own.to_vec(),
            }
        };
        let n_pixels = self.n_pixels - part.map_or(0.0, |part| part.n_pixels);
        let mut g = Vec::with_capacity(self.lags.len());
        for (at, level) in self.lags.levels().iter().enumerate() {
            let n_valid: Vec<f64> = level.n_valid(valid).into_iter().map(|n| n as f64).collect();
            let own = &self.levels[at];
            let part = part.map(|part| &part.levels[at]);
            let sums = less(&own.sums, part.map(|part| &*part.sums));
            for lag in level.first..level.end {
                let row = (lag - level.first) * level.n_blocks
                    ..(lag - level.first + 1) * level.n_blocks - lag;
                let of = |values: fn(&LevelSums) -> &[f64]| {
                    less(
                        &values(own)[row.clone()],
                        part.map(|part| &values(part)[row.clone()]),
                    )
                };
                let products = of(|sums| &sums.products);
                let pairs = n_valid
                    .iter()
                    .zip(&n_valid[lag..])
                    .map(|(early, late)| early * late);
                g.push(match &own.gaps {
                    None => {
                        let means = sums
                            .iter()
                            .zip(&sums[lag..])
                            .map(|(early, late)| early * late / n_pixels);
                        weighted_mean(products.iter().copied().zip(means), pairs)
                    }
                    Some(_) => {
                        let gaps = |values: fn(&Gaps) -> &[f64]| {
                            let own = own.gaps.as_ref().map(|gaps| &values(gaps)[row.clone()]);
                            let part = part
                                .and_then(|part| part.gaps.as_ref())
                                .map(|gaps| &values(gaps)[row.clone()]);
                            less(own.unwrap_or_default(), part)
                        };
                        let (early, late, n) = (
                            gaps(|gaps| &gaps.early),
                            gaps(|gaps| &gaps.late),
                            gaps(|gaps| &gaps.n_pixels),
                        );
                        let means = early
                            .iter()
                            .zip(&late)
                            .zip(&n)
                            .map(|((early, late), n)| early * late / n);
                        weighted_mean(products.iter().copied().zip(means), pairs)
                    }
                });
            }
        }
        g
    }
}

/// Mean of products over what they would be of independent blocks; pairs without scans or without counts are left out.
fn weighted_mean(
    ratios: impl Iterator<Item = (f64, f64)>,
    weights: impl Iterator<Item = f64>,
) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for ((product, mean), weight) in ratios.zip(weights) {
        if weight > 0.0 && mean > 0.0 {
            sum += weight * (product / mean);
            total += weight;
        }
    }
    sum / total
}

impl RingSums for BlockSums<'_> {
    fn add(&mut self, other: &Self) {
        let plus = |to: &mut [f64], from: &[f64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from)
        };
        self.n_pixels += other.n_pixels;
        for (own, other) in self.levels.iter_mut().zip(&other.levels) {
            plus(&mut own.sums, &other.sums);
            plus(&mut own.products, &other.products);
            if let (Some(own), Some(other)) = (&mut own.gaps, &other.gaps) {
                plus(&mut own.early, &other.early);
                plus(&mut own.late, &other.late);
                plus(&mut own.n_pixels, &other.n_pixels);
            }
        }
    }

    fn mean_at(&self, time: usize) -> f64 {
        // Without pixels NaN, which is no mean above zero.
        self.levels
            .first()
            .map_or(f64::NAN, |level| level.sums[time] / self.n_pixels)
    }

    fn one_time(&self, valid: &[bool]) -> Vec<f64> {
        self.curve(None, valid)
    }

    fn one_time_without(&self, part: &Self, valid: &[bool]) -> Vec<f64> {
        self.curve(Some(part), valid)
    }

    fn two_time(&self) -> Option<ndarray::Array2<f64>> {
        None
    }
}

/// Sum over pixels of each block; `values` is `[pixel, block]`.
fn column_sums(values: &[f64], n_blocks: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n_blocks];
    for pixel in values.chunks_exact(n_blocks.max(1)) {
        sums.iter_mut()
            .zip(pixel)
            .for_each(|(sum, value)| *sum += value);
    }
    sums
}

dispatch! {
    /// Adds `Σ_p early_p(I) late_p(I + k)` for lags k from `first` on to `sums`, `[lag, block]`; `early` and `late` are `[pixel, block]`.
    fn add_lagged(early: &[f64], late: &[f64], n_blocks: usize, first: usize, sums: &mut [f64]) {
        avx512: add_in_tiles::<true>(early, late, n_blocks, first, sums),
        avx2: add_in_tiles::<true>(early, late, n_blocks, first, sums),
        plain: add_in_tiles::<false>(early, late, n_blocks, first, sums),
    }
}

#[inline(always)]
fn add_in_tiles<const FUSED: bool>(
    early: &[f64],
    late: &[f64],
    n_blocks: usize,
    first: usize,
    sums: &mut [f64],
) {
    for start in (0..n_blocks).step_by(TILE) {
        let pixels = early
            .chunks_exact(n_blocks)
            .zip(late.chunks_exact(n_blocks));
        for (early, late) in pixels {
            for (row, lag) in sums.chunks_exact_mut(n_blocks).zip(first..) {
                let end = (start + TILE).min(n_blocks.saturating_sub(lag));
                if start >= end {
                    continue;
                }
                let both = early[start..end].iter().zip(&late[start + lag..end + lag]);
                for (sum, (&early, &late)) in row[start..end].iter_mut().zip(both) {
                    *sum = if FUSED {
                        early.mul_add(late, *sum)
                    } else {
                        early * late + *sum
                    };
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::correlate::{Normalization, sector_curves};
    use ndarray::Array2;

    /// Counts without any order in time, `[time, pixel]`.
    fn counts(n_times: usize, n_pixels: usize) -> Array2<f64> {
        let mut state = 12_345_u64;
        Array2::from_shape_fn((n_times, n_pixels), |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) as f64
        })
    }

    /// The definition, block by block: what [`MultiTau`] must give.
    fn plain(ring: &Array2<f64>, lags: &Lags, valid: &[bool]) -> Vec<f64> {
        let n_pixels = ring.ncols();
        let block = |width: usize, number: usize| -> (Vec<Option<f64>>, f64) {
            let scans: Vec<usize> = (number * width..((number + 1) * width).min(valid.len()))
                .filter(|&time| valid[time])
                .collect();
            let of_pixel = |pixel: usize| {
                let there: Vec<f64> = scans
                    .iter()
                    .map(|&time| ring[[time, pixel]])
                    .filter(|count| !count.is_nan())
                    .collect();
                let mean = there.iter().sum::<f64>() / there.len() as f64;
                (!there.is_empty()).then_some(mean * scans.len() as f64)
            };
            ((0..n_pixels).map(of_pixel).collect(), scans.len() as f64)
        };
        let at = |(&steps, &width): (&usize, &usize)| {
            let (mut sum, mut total) = (0.0, 0.0);
            for first in 0..valid.len().div_ceil(width) - steps / width {
                let (early, n_early) = block(width, first);
                let (late, n_late) = block(width, first + steps / width);
                let both = early
                    .iter()
                    .zip(&late)
                    .filter_map(|(early, late)| Some(((*early)?, (*late)?)));
                let (product, one, other, n) = both.fold(
                    (0.0, 0.0, 0.0, 0.0),
                    |(product, one, other, n), (early, late)| {
                        (product + early * late, one + early, other + late, n + 1.0)
                    },
                );
                if n_early * n_late > 0.0 {
                    sum += n_early * n_late * (product * n / (one * other));
                    total += n_early * n_late;
                }
            }
            sum / total
        };
        lags.steps().iter().zip(&lags.widths()).map(at).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} against {expected}"
            );
        }
    }

    #[test]
    fn every_level_is_its_definition_with_and_without_missing_samples() {
        for (n_times, gaps) in [(2, 0), (17, 0), (203, 0), (203, 7), (203, 1), (130, 2)] {
            let mut ring = counts(n_times, 10);
            if gaps > 0 {
                ring.iter_mut()
                    .skip(3)
                    .step_by(31 * gaps)
                    .for_each(|count| *count = f64::NAN);
            }
            // A pixel that is gone for a while.
            if gaps == 1 {
                ring.slice_mut(ndarray::s![20..90, 4]).fill(f64::NAN);
            }
            let mut valid = vec![true; n_times];
            valid
                .iter_mut()
                .skip(5)
                .step_by(23)
                .for_each(|valid| *valid = false);
            let sector = [0, 0, 1, 1, 1, 0, 2, 2, 2, 2];
            let lags = Lags::multi_tau(n_times);
            let found = MultiTau::new(lags.clone()).sector_curves(
                &PixelSeries::of(ring.view()),
                &sector,
                3,
                &valid,
            );
            assert_close(&found.g, &plain(&ring, &lags, &valid));
            for (left_out, found) in found.without.iter().enumerate() {
                let rest: Vec<usize> = (0..10).filter(|&pixel| sector[pixel] != left_out).collect();
                assert_close(
                    found,
                    &plain(&ring.select(ndarray::Axis(1), &rest), &lags, &valid),
                );
            }
            assert_eq!(found.valid, valid);
        }
    }

    #[test]
    fn short_lags_are_those_of_all_pairs_of_scans() {
        let (ring, sector) = (counts(203, 10), [0, 0, 1, 1, 1, 0, 2, 2, 2, 2]);
        let series = PixelSeries::of(ring.view());
        let mut valid = [true; 203];
        valid[9] = false;
        let all = sector_curves(&series, &sector, 3, &valid, Normalization::Ring);
        let few = MultiTau::new(Lags::multi_tau(203)).sector_curves(&series, &sector, 3, &valid);
        assert_close(&few.g[..15], &all.g[..15]);
        for (few, all) in few.without.iter().zip(&all.without) {
            assert_close(&few[..15], &all[..15]);
        }
        for (few, all) in few.ring_mean.iter().zip(&all.ring_mean) {
            assert!((few - all).abs() < 1e-12);
        }
    }

    #[test]
    fn beam_current_does_not_matter_at_any_level() {
        let ring = counts(300, 10);
        let mut brighter = ring.clone();
        for (time, mut scan) in brighter.outer_iter_mut().enumerate() {
            // The same within the largest blocks, whose counts are added up.
            scan *= 1.0 + (time / 32) as f64;
        }
        let multi_tau = MultiTau::new(Lags::multi_tau(300));
        let curve = |ring: &Array2<f64>| {
            multi_tau
                .sector_curves(&PixelSeries::of(ring.view()), &[0; 10], 1, &[true; 300])
                .g
        };
        assert_close(&curve(&ring), &curve(&brighter));
    }

    #[test]
    fn every_processor_finds_the_same_sums() {
        let values: Vec<f64> = counts(300, 3).t().iter().copied().collect();
        for isa in Isa::all() {
            let mut sums = vec![0.0; 300 * 15];
            add_lagged(isa, &values, &values, 300, 1, &mut sums);
            for (lag, first) in [(1, 0), (7, 250), (15, 284)] {
                let expected: f64 = (0..3)
                    .map(|pixel| values[pixel * 300 + first] * values[pixel * 300 + first + lag])
                    .sum();
                // Counts are integers: nothing is rounded.
                assert_eq!(sums[(lag - 1) * 300 + first], expected);
            }
        }
    }
}
