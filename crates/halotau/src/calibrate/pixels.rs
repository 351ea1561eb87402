//! Which pixels do not say how many electrons arrived?
//!
//! ```text
//! d(pixel) = M / f(r_pixel) − median over the valid pixels at most two away        in standard deviations of its ring
//! ```
//!
//! A pixel is compared with its own ring, so that the halo does not count, and with its neighbors, so that speckle that few
//! independent areas leave in the mean does not: that reaches over several pixels. The standard deviation is that of all
//! pixels of similar radius, so that a gain map widens it. Numbers of electrons are skewed: where hardly any is expected, a
//! hot pixel must show (z² − 1) / 6 of them more (Cornish and Fisher). Bad pixels are masked, never filled in.

use ndarray::Array2;

use super::Ellipse;
use super::profile::{RadialProfile, polar_px};
use crate::rank::median;
use crate::survey::Survey;

/// Beyond this many standard deviations a pixel is bad: all beyond 8 are found in spite of the error of the comparison, and
/// of a million normal pixels fewer than one is taken for bad.
const THRESHOLD: f64 = 5.5;

/// A noisy pixel has at least this many times the variance of its neighbors.
const MIN_VARIANCE: f64 = 1.5;

/// A pixel with more broken or saturated samples than this share says nothing about its mean.
const MAX_BROKEN: f64 = 1e-3;

/// More spikes than this in one pixel, and than that share of its frames, come from the pixel.
const MAX_SPIKES: f64 = 3.0;

/// Pixels whose standard deviation is estimated together.
const GROUP: usize = 200;

/// Neighbors that a comparison needs.
const MIN_NEIGHBORS: usize = 6;

/// A profile that changes by more than this a pixel of the grid, in logarithms, is an edge.
const STEEP: f64 = 0.45;

/// Electrons expected where none was seen; by chance that happens once in 10⁸ pixels. Of fewer, the variance is not known.
const MIN_EVENTS: f64 = 20.0;

/// Fewer frames than this do not show that a pixel never changes.
const MIN_FRAMES: u64 = 30;

/// Pixels that are not used, by what is wrong with them, `[row, col]` in ascending order; each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BadPixels {
    /// Too bright for their place.
    pub hot: Vec<[usize; 2]>,
    /// Too dim for their place, or without any change.
    pub dead: Vec<[usize; 2]>,
    /// Of more variance than their place explains.
    pub noisy: Vec<[usize; 2]>,
    /// At the end of the number type too often.
    pub saturated: Vec<[usize; 2]>,
    /// NaN or infinite too often.
    pub broken: Vec<[usize; 2]>,
}

impl BadPixels {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = [usize; 2]> {
        let lists = [
            &self.hot,
            &self.dead,
            &self.noisy,
            &self.saturated,
            &self.broken,
        ];
        lists.into_iter().flatten().copied()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is bad whatever the pattern: broken, saturated, without change, or far brighter than everything around.
pub(crate) fn obvious(survey: &Survey, usable: &Array2<bool>) -> BadPixels {
    let mut bad = BadPixels::default();
    let most = MAX_BROKEN * survey.n_frames as f64;
    for (at, _) in usable.indexed_iter().filter(|(_, usable)| **usable) {
        let place = [at.0, at.1];
        let never_changes = survey.lowest[at] == survey.highest[at];
        let around = around(at, usable);
        if f64::from(survey.n_nonfinite[at]) > most {
            bad.broken.push(place);
        } else if f64::from(survey.n_saturated[at]) > most {
            bad.saturated.push(place);
        } else if f64::from(survey.n_spikes[at]) > most.max(MAX_SPIKES) {
            bad.noisy.push(place);
        } else if never_changes && survey.n_frames >= MIN_FRAMES && expects_events(survey, &around)
        {
            bad.dead.push(place);
        } else if is_spike(survey, at, &around) {
            bad.hot.push(place);
        }
    }
    bad
}

/// Whether half of the pixels around saw so many electrons that seeing none is not chance. A whole area without any is
/// shaded, not dead.
fn expects_events(survey: &Survey, around: &[(usize, usize)]) -> bool {
    let events: Vec<f64> = around
        .iter()
        .map(|&at| {
            // mean² / variance of a frame is the number of electrons where only their number varies, else less.
            let mean = survey.mean[at].max(0.0);
            survey.n_frames as f64 * mean * mean / survey.variance[at].max(1e-300)
        })
        .collect();
    around.len() >= MIN_NEIGHBORS && median(&events) > MIN_EVENTS
}

/// Whether a pixel is brighter by half than all but two of those around, beyond counting noise. The finest speckle and the
/// direct beam are wider.
fn is_spike(survey: &Survey, at: (usize, usize), around: &[(usize, usize)]) -> bool {
    if around.len() < MIN_NEIGHBORS {
        return false;
    }
    let mut values: Vec<f64> = around.iter().map(|&at| survey.mean[at]).collect();
    values.sort_by(f64::total_cmp);
    let third = values[values.len() - 3];
    let noise = (survey.variance[at] / survey.n_frames as f64).sqrt();
    survey.mean[at] > 1.5 * third + 10.0 * noise
}

/// Bad pixels of a pattern whose center, ellipse and profile are known, native pixels; beside those in `known`, which are
/// taken over. `usable` leaves out the beam stop.
pub(crate) fn find(
    survey: &Survey,
    usable: &Array2<bool>,
    flat: &Flattening<'_>,
    known: BadPixels,
) -> BadPixels {
    let mut good = usable.clone();
    let mut bad = known;
    bad.all().for_each(|at| good[at] = false);
    let expected = flat.expected_with_corners(&survey.mean, &good);
    let level = &survey.mean / &expected;
    // What a pixel varies by beside its brightness; in logarithms, because variances are scattered by factors.
    let variance = (&survey.variance / (&expected * &expected)).mapv(f64::ln);
    let noise = (&survey.variance / survey.n_frames as f64).mapv(f64::sqrt) / &expected;
    // Bad pixels spoil the comparison of their neighbors: what is found in the first round is left out in the second.
    for _ in 0..2 {
        let away = deviations(&level, &good, flat, Some(&noise));
        let noise_away = deviations(&variance, &good, flat, None);
        for (place, deviation) in away.indexed_iter() {
            let Some(deviation) = deviation else {
                continue;
            };
            let noise = noise_away[place];
            // What a few electrons more than expected are, where next to none is expected.
            let skew = (THRESHOLD * THRESHOLD - 1.0) / 6.0 * flat.electron / expected[place];
            let counted = level[place] * expected[place] > MIN_EVENTS * flat.electron;
            let list = if deviation.value > THRESHOLD * deviation.sd + skew {
                &mut bad.hot
            } else if deviation.in_sd() < -THRESHOLD {
                &mut bad.dead
            } else if counted
                && noise.is_some_and(|noise| {
                    noise.in_sd() > THRESHOLD && noise.value > MIN_VARIANCE.ln()
                })
            {
                &mut bad.noisy
            } else {
                continue;
            };
            list.push([place.0, place.1]);
        }
        bad.all().for_each(|at| good[at] = false);
    }
    for list in [&mut bad.hot, &mut bad.dead, &mut bad.noisy] {
        list.sort_unstable();
    }
    bad
}

/// Relative spread of the gain from pixel to pixel, with its standard error: what two halves of the scan, which see
/// different areas, have in common at single pixels.
pub(crate) fn gain_spread(
    halves: [&Array2<f64>; 2],
    good: &Array2<bool>,
    flat: &Flattening<'_>,
) -> Option<(f64, f64)> {
    let expected = flat.expected(good.dim());
    let [a, b] = halves.map(|half| deviations(&(half / &expected), good, flat, None));
    let (mut product, mut square, mut n) = (0.0, [0.0; 2], 0.0);
    for (a, b) in a.iter().zip(&b) {
        let (Some(a), Some(b)) = (a, b) else { continue };
        // A few strange pixels are not a spread.
        if a.in_sd().abs() < 4.0 && b.in_sd().abs() < 4.0 {
            product += a.value * b.value;
            square[0] += a.value * a.value;
            square[1] += b.value * b.value;
            n += 1.0;
        }
    }
    if n < 100.0 {
        return None;
    }
    let common = product / n;
    let error = ((square[0] / n) * (square[1] / n) / n).sqrt();
    let spread = common.max(0.0).sqrt();
    // d(√x) = dx / 2√x, at least where x is one standard error.
    Some((spread, error / (2.0 * common.max(error).sqrt())))
}

/// What makes patterns flat.
pub(crate) struct Flattening<'a> {
    /// Radial profile on a grid of `factor` native pixels.
    pub(crate) profile: &'a RadialProfile,
    pub(crate) factor: usize,
    /// Center in native pixels.
    pub(crate) center: (f64, f64),
    pub(crate) ellipse: Ellipse,
    /// What one electron adds to the mean of a pixel.
    pub(crate) electron: f64,
}

impl Flattening<'_> {
    fn radius(&self, at: (usize, usize)) -> f64 {
        let (row, col) = (at.0 as f64 - self.center.0, at.1 as f64 - self.center.1);
        polar_px(&self.ellipse, row, col).0
    }

    /// The profile at every native pixel; between the nearest rings that have a mean where it has none.
    pub(crate) fn expected(&self, dim: (usize, usize)) -> Array2<f64> {
        let profile = self.profile;
        let finite = || (0..profile.mean.len()).filter(|&bin| profile.mean[bin].is_finite());
        if finite().next().is_none() {
            return Array2::from_elem(dim, 1.0);
        }
        let between = |radius: f64| {
            let inner = finite().rfind(|&bin| profile.radius[bin] <= radius);
            let outer = finite().find(|&bin| profile.radius[bin] > radius);
            match (inner, outer) {
                (Some(inner), Some(outer)) => {
                    let (from, to) = (profile.radius[inner], profile.radius[outer]);
                    let share = (radius - from) / (to - from);
                    (1.0 - share) * profile.mean[inner] + share * profile.mean[outer]
                }
                (Some(only), None) | (None, Some(only)) => profile.mean[only],
                (None, None) => 1.0,
            }
        };
        let floor = 1e-3 * profile.mean.iter().copied().fold(0.0, f64::max);
        Array2::from_shape_fn(dim, |at| {
            let radius = self.radius(at) / self.factor as f64;
            let value = profile.at(radius).map(|(value, _)| value);
            value.unwrap_or_else(|| between(radius)).max(floor)
        })
    }
}

impl Flattening<'_> {
    /// As [`Flattening::expected`]; beyond the last ring that is seen whole, the median of the pixels at a distance. The intensity
    /// falls by factors within a few pixels there, and neighbors are no measure of each other.
    fn expected_with_corners(&self, mean: &Array2<f64>, good: &Array2<bool>) -> Array2<f64> {
        let mut expected = self.expected(mean.dim());
        let width = self.factor as f64;
        let first = self.profile.outermost() * width;
        // Ring 0 holds the last whole ring, so that there is no step between them.
        let place = |at: (usize, usize)| (self.radius(at) - first) / width;
        let mut rings: Vec<Vec<f64>> = Vec::new();
        for (at, _) in good.indexed_iter().filter(|(_, good)| **good) {
            let ring = place(at).round();
            if ring >= 0.0 && mean[at].is_finite() {
                let ring = ring as usize;
                rings.resize(rings.len().max(ring + 1), Vec::new());
                rings[ring].push(mean[at]);
            }
        }
        let mut level: Vec<f64> = Vec::with_capacity(rings.len());
        for ring in &rings {
            let inner = level.last().copied();
            let own = (ring.len() >= MIN_NEIGHBORS).then(|| median(ring));
            level.push(own.or(inner).unwrap_or(f64::NAN));
        }
        let Some(last) = level.len().checked_sub(1) else {
            return expected;
        };
        let floor = expected.iter().copied().fold(f64::INFINITY, f64::min);
        for (at, expected) in expected.indexed_iter_mut() {
            let place = place(at);
            if place > 0.0 {
                let inner = (place as usize).min(last);
                let outer = (inner + 1).min(last);
                let between = level[inner] + (level[outer] - level[inner]) * place.fract();
                if between > 0.0 {
                    *expected = between.max(0.1 * floor);
                }
            }
        }
        expected
    }
}

/// How far a pixel is from its neighbors.
#[derive(Debug, Clone, Copy)]
struct Deviation {
    value: f64,
    sd: f64,
}

impl Deviation {
    fn in_sd(&self) -> f64 {
        self.value / self.sd
    }
}

impl Flattening<'_> {
    /// Whether the profile within three pixels of the grid is so steep that a fraction of a pixel counts as much as a bad
    /// pixel: at the edge of the direct beam. The flank of a halo of 0.55 1/nm falls by 0.3 a pixel of 0.23 1/nm.
    fn is_steep(&self, at: (usize, usize)) -> bool {
        let mean = &self.profile.mean;
        let near = (self.radius(at) / self.factor as f64).round() as usize;
        let last = mean.len().saturating_sub(1);
        let bins = near.saturating_sub(3)..(near + 3).min(last);
        bins.into_iter()
            .any(|bin| (mean[bin + 1] / mean[bin]).ln().abs() > STEEP)
    }
}

/// The good pixels at most two away along rows and columns.
fn around((row, col): (usize, usize), good: &Array2<bool>) -> Vec<(usize, usize)> {
    let (n_rows, n_cols) = good.dim();
    let mut around = Vec::with_capacity(24);
    for r in row.saturating_sub(2)..(row + 3).min(n_rows) {
        for c in col.saturating_sub(2)..(col + 3).min(n_cols) {
            if (r, c) != (row, col) && good[[r, c]] {
                around.push((r, c));
            }
        }
    }
    around
}

/// Distance of every good pixel from the median of its neighbors, with the standard deviation of its ring; at least that of
/// `noise`, the standard error of each pixel by itself: of a few electrons in all, the median distance may be 0.
fn deviations(
    values: &Array2<f64>,
    good: &Array2<bool>,
    flat: &Flattening<'_>,
    noise: Option<&Array2<f64>>,
) -> Array2<Option<Deviation>> {
    let mut found: Vec<((usize, usize), f64, f64)> = Vec::new();
    for (at, _) in good.indexed_iter().filter(|(_, good)| **good) {
        let near: Vec<f64> = around(at, good)
            .into_iter()
            .map(|at| values[at])
            .filter(|value| value.is_finite())
            .collect();
        let value = values[at];
        if near.len() < MIN_NEIGHBORS || value.is_nan() || flat.is_steep(at) {
            continue;
        }
        // A pixel without any change has a variance whose logarithm is −∞; that is said elsewhere.
        let away = value.max(-1e3) - median(&near);
        found.push((at, flat.radius(at), away));
    }
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut deviations = Array2::from_elem(values.dim(), None);
    let n_groups = (found.len() / GROUP).max(1);
    for group in 0..n_groups {
        let members = &found[group * found.len() / n_groups..(group + 1) * found.len() / n_groups];
        let sizes: Vec<f64> = members.iter().map(|(_, _, away)| away.abs()).collect();
        let of_noise = noise.map_or(0.0, |noise| {
            let squares: f64 = members.iter().map(|(at, _, _)| noise[*at].powi(2)).sum();
            (squares / members.len().max(1) as f64).sqrt()
        });
        let sd = (1.4826 * median(&sizes)).max(of_noise).max(1e-9);
        for &(at, _, value) in members {
            deviations[at] = Some(Deviation { value, sd });
        }
    }
    deviations
}
