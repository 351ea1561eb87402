//! Which pixels does the beam stop shade?
//!
//! ```text
//! T(pixel) = M(pixel) / f(r_pixel)         M: mean of many frames in the frame of the detector, f: what the lit part of a ring shows
//! ```
//!
//! T is 1 but for speckle where the detector is lit, and the leak of the stop where it is shaded. Speckle that few
//! independent areas leave in the mean must not be taken for shade: a *core* must be darker than any speckle, must be dark
//! when averaged over neighbors, and must reach the neighborhood of the center (or be large). From the core the mask grows
//! into pixels that are still darker than speckle explains: edge and penumbra. Holes that the mask encloses (a direct beam
//! that shines through) belong to it.
//!
//! ```text
//! T < 1 − z · max(scatter, √(noise / f))        noise: variance of M over M, of the count of electrons
//! ```
//!
//! Nor may few electrons: where a pixel expects three, none at all is no shade. Each limit is therefore lowered by the noise
//! that the lit level would have there, and pixels that count too little are judged by the mean over their neighbors.
//!
//! A stop covers whole rings near the center, whose lit level nobody sees. Where the brightest pixels of the rings fall to a
//! fraction that no flank of a halo reaches within that distance, the rings farther in are taken as bright as the last lit one.

use ndarray::Array2;

use super::Ellipse;
use super::profile::{RadialProfile, polar_px};

/// Quantile of a ring that counts as lit: a stop may cover up to half of it.
const LIT_QUANTILE: f64 = 0.65;

/// Quantile of a ring that is still lit where a stop covers nearly all of it, because its edge and the ring are not concentric.
const PARTLY_LIT_QUANTILE: f64 = 0.9;

/// Quantile of the part of a ring that the corners of the detector see: an arm may cover more than half of it.
const CORNER_QUANTILE: f64 = 0.8;

/// The brightest pixels of a ring that is shaded as a whole are below this share of those a step farther out. The flank of a
/// halo of 0.42 1/nm at 4.3 1/nm over a valley of a sixth of its height falls to 0.27 within such a step; a stop shades to a
/// tenth and less.
const BREAKDOWN: f64 = 0.2;

/// That step, as a share of the radius of the brightest ring: 3 pixels of 0.23 1/nm for a halo at 4.3 1/nm.
const STEP_SHARE: f64 = 0.16;

/// The direct beam ends where the level falls by this factor within two rings and nothing beyond is as bright.
const DIRECT_DROP: f64 = 8.0;

/// The edge of a stop ends where the level rises by less than this (in logarithms) within a third of the step.
const EDGE_SLOPE: f64 = 0.2;

/// Only what passes less than this is the core of a stop.
const CORE_LEVEL: f64 = 0.35;

/// Pixels beside the mask that pass less than this on average lie in the penumbra.
const PENUMBRA_LEVEL: f64 = 0.75;

/// A penumbra is at most this wide, pixels.
const MAX_PENUMBRA: usize = 4;

/// Pixels of a penumbra are averaged as far as this along it.
const ALONG: usize = 4;

/// An edge that is drawn pixel by pixel lies where this share of the light of the lit side passes.
const EDGE_SHARE: f64 = 0.65;

/// A shade that is not near the center must have at least this share of the pattern's pixels, and at least 8.
const LARGE_SHARE: f64 = 0.004;

/// A stop near the center of fewer pixels is not told from a few dead pixels.
const MIN_PIXELS: usize = 4;

/// What shades a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct BeamStop {
    /// Shaded pixels, `[pattern row, pattern col]`.
    pub shaded: Array2<bool>,
    /// Share of the intensity that passes each pixel, NaN where not known.
    pub passed: Array2<f64>,
    /// What each pixel would show without shade.
    pub(crate) expected: Array2<f64>,
    /// Standard deviation of `passed` where the pattern is lit: speckle that few independent areas leave, and noise.
    pub scatter: f64,
    /// Median of `passed` in the shade; NaN where nothing is shaded.
    pub leak: f64,
}

/// Finds what shades a mean pattern in the frame of the detector. NaN marks pixels that are not used anyway; `noise` is the
/// variance of a pixel's mean over that mean; `center` is that of the pattern at the middle of the scan.
pub fn find(mean: &Array2<f64>, noise: f64, center: (f64, f64), ellipse: &Ellipse) -> BeamStop {
    let smooth = box_mean(mean);
    let level = lit_level(&smooth, center, ellipse);
    let expected = Array2::from_shape_fn(mean.dim(), |(row, col)| {
        let (radius, _) = polar_px(ellipse, row as f64 - center.0, col as f64 - center.1);
        let ring = (radius.floor() as usize).min(level.len() - 1);
        let next = (ring + 1).min(level.len() - 1);
        level[ring] + (level[next] - level[ring]) * (radius - ring as f64).min(1.0)
    });
    let light = Light::new(mean, &smooth, &expected, noise);
    let core_level = (1.0 - 4.5 * light.scatter_smooth).clamp(0.08, CORE_LEVEL);
    let core = Array2::from_shape_fn(mean.dim(), |at| {
        light.passed_smooth[at] < core_level.min(1.0 - 4.5 * light.noise_smooth(at))
    });
    let near = near_radius(&level);
    let large = ((LARGE_SHARE * mean.len() as f64) as usize).max(8);
    let mut shaded = Array2::from_elem(mean.dim(), false);
    for part in parts(&core) {
        let is_near = part
            .iter()
            .any(|&(row, col)| libm::hypot(row as f64 - center.0, col as f64 - center.1) <= near);
        if (is_near && part.len() >= MIN_PIXELS) || part.len() >= large {
            part.iter().for_each(|&at| shaded[at] = true);
        }
    }
    if shaded.iter().any(|&shaded| shaded) {
        light.grow(&mut shaded);
        fill_holes(&mut shaded);
    }
    let mut leaks: Vec<f64> = shaded
        .iter()
        .zip(&light.passed)
        .filter(|(shaded, passed)| **shaded && passed.is_finite())
        .map(|(_, &passed)| passed)
        .collect();
    BeamStop {
        leak: median(&mut leaks),
        shaded,
        scatter: light.scatter,
        passed: light.passed,
        expected,
    }
}

/// Draws a stop that was found on a grid of `factor` native pixels pixel by pixel: where the grid says shaded on one side
/// and lit on the other, each native pixel is judged by the mean over its neighbors, against the lit side near it: speckle
/// that few areas leave is the same on both sides.
pub(crate) fn refine(mean: &Array2<f64>, coarse: &BeamStop, factor: usize) -> BeamStop {
    let grid = coarse.shaded.dim();
    let on_grid = |(row, col): (usize, usize)| {
        (
            (row / factor).min(grid.0 - 1),
            (col / factor).min(grid.1 - 1),
        )
    };
    let at_edge = Array2::from_shape_fn(grid, |at| {
        neighbors(grid, at).any(|other| coarse.shaded[other] != coarse.shaded[at])
    });
    let edge_level = Array2::from_shape_fn(grid, |at| {
        let lit = around(grid, at, 3).filter(|&other| !coarse.shaded[other] && !at_edge[other]);
        let passed: Vec<f64> = lit
            .map(|other| coarse.passed[other])
            .filter(|passed| passed.is_finite())
            .collect();
        let level = passed.iter().sum::<f64>() / passed.len() as f64;
        if level.is_nan() {
            EDGE_SHARE
        } else {
            (EDGE_SHARE * level).clamp(0.1, PENUMBRA_LEVEL)
        }
    });
    let smooth = box_mean(mean);
    let expected = &coarse.expected;
    let passed = Array2::from_shape_fn(mean.dim(), |at| mean[at] / expected[on_grid(at)]);
    let mut shaded = Array2::from_shape_fn(mean.dim(), |at| {
        let place = on_grid(at);
        if at_edge[place] {
            smooth[at] / expected[place] < edge_level[place]
        } else {
            coarse.shaded[place]
        }
    });
    if shaded.iter().any(|&shaded| shaded) {
        fill_holes(&mut shaded);
    }
    BeamStop {
        shaded,
        passed,
        expected: Array2::from_shape_fn(mean.dim(), |at| expected[on_grid(at)]),
        ..*coarse
    }
}

/// What passes each pixel, and what else than shade may darken it.
struct Light {
    passed: Array2<f64>,
    /// Mean over a pixel and its neighbors.
    passed_smooth: Array2<f64>,
    /// Relative standard deviation of the count in a lit pixel.
    noise: Array2<f64>,
    /// Robust standard deviation of `passed` where it is lit.
    scatter: f64,
    scatter_smooth: f64,
}

impl Light {
    fn new(mean: &Array2<f64>, smooth: &Array2<f64>, expected: &Array2<f64>, noise: f64) -> Self {
        let passed = mean / expected;
        let passed_smooth = smooth / expected;
        Self {
            scatter: lit_scatter(&passed),
            scatter_smooth: lit_scatter(&passed_smooth),
            noise: expected.mapv(|level| (noise / level.max(1e-300)).sqrt()),
            passed,
            passed_smooth,
        }
    }

    /// Noise of the mean over nine pixels.
    fn noise_smooth(&self, at: (usize, usize)) -> f64 {
        self.noise[at] / 3.0
    }

    /// Grows the core of a shade into its edge.
    fn grow(&self, shaded: &mut Array2<bool>) {
        // Clearly dark, as far as it is connected; the lower the surer that it is not speckle.
        let dark = |scatter: f64| (1.0 - 3.5 * scatter).clamp(0.25, 0.55);
        let (dark, dark_smooth) = (dark(self.scatter), dark(self.scatter_smooth));
        loop {
            let added = beside(shaded, |at, n_shaded| {
                let at = (at[0], at[1]);
                let surely = 1.0 - 4.0 * self.noise[at];
                // A pixel that is nearly surrounded needs less evidence of its own.
                self.passed[at] < dark.min(surely)
                    || (surely < dark
                        && self.passed_smooth[at]
                            < dark_smooth.min(1.0 - 4.0 * self.noise_smooth(at)))
                    || (n_shaded >= 5 && self.passed[at] < 0.8_f64.min(1.0 - 2.0 * self.noise[at]))
            });
            if added.is_empty() {
                break;
            }
            added.into_iter().for_each(|at| shaded[at] = true);
        }
        for _ in 0..MAX_PENUMBRA {
            let added = self.penumbra(shaded);
            if added.is_empty() {
                break;
            }
            added.into_iter().for_each(|at| shaded[at] = true);
        }
    }

    /// The pixels beside a shade whose surroundings along it are darker than lit ones are.
    fn penumbra(&self, shaded: &Array2<bool>) -> Vec<[usize; 2]> {
        let dim = shaded.dim();
        let edge = beside(shaded, |_, n_shaded| n_shaded >= 2);
        let mut is_edge = Array2::from_elem(dim, false);
        edge.iter().for_each(|&at| is_edge[at] = true);
        let half = PENUMBRA_LEVEL.min(1.0 - 2.0 * self.scatter_smooth);
        edge.into_iter()
            .filter(|&[row, col]| {
                let place = (row, col);
                let n_shaded = neighbors(dim, place).filter(|&at| shaded[at]).count();
                if n_shaded >= 5 && self.passed[place] < 0.8_f64.min(1.0 - 2.0 * self.noise[place])
                {
                    return true;
                }
                let (mut sum, mut n) = (0.0, 0.0);
                for at in around(dim, place, ALONG) {
                    if is_edge[at] && self.passed[at].is_finite() {
                        sum += self.passed[at];
                        n += 1.0;
                    }
                }
                let noise = self.noise[place] / f64::max(n, 1.0).sqrt();
                let own = 0.65_f64
                    .min(1.0 - 2.5 * self.scatter)
                    .min(1.0 - 4.0 * self.noise[place]);
                // A single pixel whose surroundings along the edge are lit must be darker than speckle is.
                let alone = 0.6_f64
                    .min(1.0 - 3.0 * self.scatter)
                    .min(1.0 - 4.0 * self.noise[place]);
                sum < n * half.min(1.0 - 3.0 * noise)
                    || (self.passed[place] < own && sum < n * 0.9)
                    || (self.passed[place] < alone && n_shaded >= 3)
            })
            .collect()
    }
}

/// The pixels beside a mask for which something holds; told the number of masked ones among their eight neighbors.
fn beside(mask: &Array2<bool>, holds: impl Fn([usize; 2], usize) -> bool) -> Vec<[usize; 2]> {
    let mut found = Vec::new();
    for ((row, col), &masked) in mask.indexed_iter() {
        if masked {
            continue;
        }
        let n_masked = neighbors(mask.dim(), (row, col))
            .filter(|&at| mask[at])
            .count();
        if n_masked > 0 && holds([row, col], n_masked) {
            found.push([row, col]);
        }
    }
    found
}

/// The eight neighbors of a pixel that lie on the detector.
fn neighbors(
    (n_rows, n_cols): (usize, usize),
    (row, col): (usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    around((n_rows, n_cols), (row, col), 1).filter(move |&at| at != (row, col))
}

/// A pixel and all at most `reach` away along rows and columns.
fn around(
    (n_rows, n_cols): (usize, usize),
    (row, col): (usize, usize),
    reach: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let rows = row.saturating_sub(reach)..(row + reach + 1).min(n_rows);
    rows.flat_map(move |row| {
        let cols = col.saturating_sub(reach)..(col + reach + 1).min(n_cols);
        cols.map(move |col| (row, col))
    })
}

/// Mean over a pixel and its neighbors that are used.
fn box_mean(pattern: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn(pattern.dim(), |at| {
        let around = neighbors(pattern.dim(), at).chain([at]);
        let (mut sum, mut n) = (0.0, 0.0);
        for at in around {
            if pattern[at].is_finite() {
                sum += pattern[at];
                n += 1.0;
            }
        }
        sum / n
    })
}

/// Intensity of the lit part of each ring, `[radius in pixels]`; finite and positive wherever any ring is.
fn lit_level(smooth: &Array2<f64>, center: (f64, f64), ellipse: &Ellipse) -> Vec<f64> {
    let profile = RadialProfile::quantile(smooth, center, ellipse, LIT_QUANTILE);
    let mut level = profile.mean;
    if level.is_empty() {
        return vec![f64::NAN];
    }
    let first = beyond_direct_beam(&mut level);
    // The brightest ring by its total; corners are not seen whole and do not count.
    let mut brightest = first;
    for (ring, value) in level.iter().enumerate().skip(first) {
        let total = |ring: usize| level[ring] * ring as f64;
        if value.is_finite()
            && profile.seen[ring] > 0.6
            && (total(brightest).is_nan() || total(ring) > total(brightest))
        {
            brightest = ring;
        }
    }
    let highest = RadialProfile::quantile(smooth, center, ellipse, PARTLY_LIT_QUANTILE).mean;
    let step = ((STEP_SHARE * brightest as f64).round() as usize).max(1);
    // The first ring of the lit, and the level held for those inside.
    let (first_lit, held) = match edge(&highest, brightest, step) {
        Some(end) => {
            let half_shaded = end..(end + step).min(brightest);
            level[half_shaded.clone()].copy_from_slice(&highest[half_shaded]);
            (end, highest[end])
        }
        None => {
            let first = (0..=brightest).find(|&ring| level[ring].is_finite());
            (first.unwrap_or(0), level[first.unwrap_or(0)])
        }
    };
    level[..first_lit].fill(held);
    corners(&mut level, smooth, center, ellipse);
    level
}

/// The level of the rings of which only corners of the detector see a part, by their brighter pixels: behind the last halo the
/// intensity falls so steeply that a level held from the last whole ring would call the corners shaded.
fn corners(level: &mut [f64], smooth: &Array2<f64>, center: (f64, f64), ellipse: &Ellipse) {
    let Some(last) = level.iter().rposition(|value| value.is_finite()) else {
        return;
    };
    let mut rings: Vec<Vec<f64>> = vec![Vec::new(); level.len() - last];
    for ((row, col), &value) in smooth.indexed_iter() {
        let (radius, _) = polar_px(ellipse, row as f64 - center.0, col as f64 - center.1);
        let ring = radius.round() as usize;
        if ring > last && ring < level.len() && value.is_finite() {
            rings[ring - last].push(value);
        }
    }
    for ring in last + 1..level.len() {
        let values = &mut rings[ring - last];
        values.sort_by(f64::total_cmp);
        let at = (CORNER_QUANTILE * values.len().saturating_sub(1) as f64).round() as usize;
        let inner = level[ring - 1];
        level[ring] = values.get(at).map_or(inner, |value| value.min(inner));
    }
}

/// The first ring outside the edge of a stop that shades all rings within: outward from the steepest fall, where the level
/// does not rise steeply any more.
fn edge(highest: &[f64], brightest: usize, step: usize) -> Option<usize> {
    let fall = |ring: usize| highest[ring] / highest[(ring + step).min(brightest)];
    let steepest = (0..brightest)
        .filter(|&ring| fall(ring) < BREAKDOWN)
        .min_by(|&a, &b| fall(a).total_cmp(&fall(b)))?;
    let third = step.div_ceil(3);
    let rise = |ring: usize| {
        let ring = ring.min(brightest);
        let outer = (ring + third).min(brightest);
        libm::log(highest[outer] / highest[ring].max(1e-12 * highest[outer]))
    };
    let inside = (steepest..(steepest + step).min(brightest))
        .max_by(|&a, &b| rise(a).total_cmp(&rise(b)))?;
    // A flank of the halo that begins beside the edge rises again where the edge has leveled off.
    let leveled = |ring: usize| {
        let rise_here = rise(ring);
        rise_here < EDGE_SLOPE || (rise_here < 2.0 * EDGE_SLOPE && rise(ring + third) > rise_here)
    };
    (inside + 1..brightest).find(|&ring| leveled(ring))
}

/// The first ring beyond the direct beam, 0 where there is none. Rings of the beam and of its edge get the level beyond.
fn beyond_direct_beam(level: &mut [f64]) -> usize {
    let edge = (0..level.len() / 3).rev().find(|&ring| {
        let beyond = &level[ring + 2..];
        level[ring] > DIRECT_DROP * level[ring + 2]
            && !beyond.iter().any(|other| *other >= level[ring])
    });
    let Some(edge) = edge else {
        return 0;
    };
    let first = (edge + 3).min(level.len() - 1);
    let beyond = level[first];
    level[..first].fill(beyond);
    first
}

/// A shade near the center begins within a third of the radius of the brightest ring.
fn near_radius(level: &[f64]) -> f64 {
    let brightest = (0..level.len())
        .max_by(|&a, &b| {
            let total = |ring: usize| {
                let total = level[ring] * ring as f64;
                if total.is_finite() { total } else { 0.0 }
            };
            total(a).total_cmp(&total(b))
        })
        .unwrap_or(0);
    (brightest as f64 / 3.0).max(2.0)
}

/// Robust standard deviation of the lit pixels about their median. Shaded ones pass less than half and are few.
fn lit_scatter(passed: &Array2<f64>) -> f64 {
    let mut lit: Vec<f64> = passed
        .iter()
        .copied()
        .filter(|&passed| passed > CORE_LEVEL)
        .collect();
    let middle = median(&mut lit);
    let mut distances: Vec<f64> = lit.iter().map(|passed| (passed - middle).abs()).collect();
    let scatter = 1.4826 * median(&mut distances);
    if scatter.is_finite() { scatter } else { 0.0 }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The connected parts of a mask, diagonal neighbors included.
pub(crate) fn parts(mask: &Array2<bool>) -> Vec<Vec<(usize, usize)>> {
    let mut seen = Array2::from_elem(mask.dim(), false);
    let mut found = Vec::new();
    for (start, &masked) in mask.indexed_iter() {
        if !masked || seen[start] {
            continue;
        }
        seen[start] = true;
        let mut part = vec![start];
        let mut next = 0;
        while next < part.len() {
            for at in neighbors(mask.dim(), part[next]) {
                if mask[at] && !seen[at] {
                    seen[at] = true;
                    part.push(at);
                }
            }
            next += 1;
        }
        found.push(part);
    }
    found
}

/// Masks what the mask encloses: parts of the rest that touch no border, smaller than the largest part.
fn fill_holes(mask: &mut Array2<bool>) {
    let (n_rows, n_cols) = mask.dim();
    let outside = parts(&mask.mapv(|masked| !masked));
    let largest = outside.iter().map(Vec::len).max().unwrap_or(0);
    for part in outside {
        let at_border = part
            .iter()
            .any(|&(row, col)| row == 0 || col == 0 || row + 1 == n_rows || col + 1 == n_cols);
        if !at_border && part.len() < largest {
            part.into_iter().for_each(|at| mask[at] = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A halo of radius 19 with a level inside, shaded by a disc and an arm that is cut by the lower border.
    fn shaded(center: (f64, f64), leak: f64) -> (Array2<f64>, Array2<bool>) {
        let stop = Array2::from_shape_fn((66, 66), |(row, col)| {
            let (row, col) = (row as f64 - 33.0, col as f64 - 33.0);
            libm::hypot(row, col) < 5.6 || (row > 0.0 && (col + 0.3 * row).abs() < 1.4)
        });
        let mean = Array2::from_shape_fn((66, 66), |(row, col)| {
            let radius = libm::hypot(row as f64 - center.0, col as f64 - center.1);
            let widths = (radius - 19.0) / 2.4;
            let lit = 0.35 + libm::exp(-widths * widths / 2.0);
            lit * if stop[[row, col]] { leak } else { 1.0 }
        });
        (mean, stop)
    }

    #[test]
    fn finds_a_disc_with_an_arm_pixel_by_pixel() {
        let (mean, stop) = shaded((34.0, 32.5), 0.02);
        let found = find(&mean, 0.0, (34.0, 32.5), &Ellipse::default());
        let wrong = found
            .shaded
            .iter()
            .zip(&stop)
            .filter(|(a, b)| a != b)
            .count();
        assert!(wrong <= 2, "{wrong} pixels differ");
        assert!((found.leak - 0.02).abs() < 0.005, "{}", found.leak);
    }

    #[test]
    fn a_beam_that_shines_through_is_part_of_the_stop() {
        let (mut mean, stop) = shaded((33.0, 33.0), 0.01);
        for row in 32..35 {
            for col in 32..35 {
                mean[[row, col]] = 3.0;
            }
        }
        let found = find(&mean, 0.0, (33.0, 33.0), &Ellipse::default());
        assert!(
            stop.iter()
                .zip(&found.shaded)
                .all(|(stop, found)| !stop || *found)
        );
    }

    #[test]
    fn a_pattern_without_a_stop_has_no_shade() {
        let (mean, _) = shaded((33.0, 33.0), 1.0);
        let found = find(&mean, 0.0, (33.0, 33.0), &Ellipse::default());
        assert!(found.shaded.iter().all(|shaded| !shaded));
        assert!(found.leak.is_nan());
        // Nor with the direct beam in the middle, a thousand times as bright.
        let mut mean = mean;
        for row in 31..36 {
            for col in 31..36 {
                mean[[row, col]] = 1000.0;
            }
        }
        let found = find(&mean, 0.0, (33.0, 33.0), &Ellipse::default());
        assert!(found.shaded.iter().all(|shaded| !shaded));
    }

    /// Two halos with a valley of a fifth inside, and corners that are nearly dark: the flanks are as steep as glasses show them.
    #[test]
    fn flanks_of_halos_and_dark_corners_are_no_shade() {
        let bell = |q: f64, at: f64, sd: f64| libm::exp(-((q - at) / sd).powi(2) / 2.0);
        let lit = |row: usize, col: usize| {
            let q = 0.23 * libm::hypot(row as f64 - 33.0, col as f64 - 33.0);
            5.5 * libm::exp(-libm::pow(q / 3.0, 1.5))
                + 15.5 * bell(q, 4.3, 0.42)
                + 6.0 * bell(q, 7.2, 0.75)
                + 0.25
        };
        let mean = Array2::from_shape_fn((66, 66), |(row, col)| lit(row, col));
        let found = find(&mean, 0.0, (33.0, 33.0), &Ellipse::default());
        assert_eq!(found.shaded.iter().filter(|shaded| **shaded).count(), 0);
        // Behind a stop that is not concentric with them.
        let stop = |row: usize, col: usize| {
            libm::hypot(row as f64 - 31.5, col as f64 - 34.0) < 6.0
                || (row > 31 && (34..37).contains(&col))
        };
        let mean = Array2::from_shape_fn((66, 66), |(row, col)| {
            lit(row, col) * if stop(row, col) { 0.01 } else { 1.0 }
        });
        let found = find(&mean, 0.0, (33.0, 33.0), &Ellipse::default());
        let wrong = found
            .shaded
            .indexed_iter()
            .filter(|((row, col), shaded)| **shaded != stop(*row, *col))
            .count();
        assert!(wrong <= 4, "{wrong} pixels differ");
    }
}
