//! The KWW function and its derivatives, at the lags or as a finite record shows it.

use crate::exponential::exp;
use crate::least_squares::{Shape, padded, padded_len};
use crate::simd::{Isa, dispatch};

/// Times that are computed at once: one vector of `f64` on the widest processor.
const LANES: usize = 8;

/// Where the function is needed, in units of a reference time so that tau scales exactly with the time axis.
#[derive(Debug, Clone)]
pub(super) struct Kww {
    /// Logarithms of the times at which the function is computed, [`padded`].
    ln_time: Vec<f64>,
    /// k in `exp[−k (t/tau)^stretch]`.
    factor: f64,
    sampling: Sampling,
}

/// How values at the computed times become values at the fitted lags.
#[derive(Debug, Clone)]
enum Sampling {
    /// They are the same.
    Lags,
    /// Computed at lags 1, 2, ... n − 1 steps, less the mean over the two windows; kept at some of them.
    FiniteWindow { n_times: usize, kept: Vec<usize> },
}

/// What a finite record needs room for; empty without one.
#[derive(Debug, Default)]
struct Scratch {
    computed: [Vec<f64>; 3],
    sums: Vec<f64>,
}

impl Kww {
    /// The function at the given times, all positive.
    pub(super) fn at_lags(time: impl Iterator<Item = f64>, factor: f64) -> Self {
        Self {
            ln_time: padded(time.map(libm::log)),
            factor,
            sampling: Sampling::Lags,
        }
    }

    /// The function as a record of `n_times` scans `step` apart shows it, at `kept` lags counted in steps from 1.
    pub(super) fn in_window(n_times: usize, step: f64, kept: Vec<usize>, factor: f64) -> Self {
        Self {
            sampling: Sampling::FiniteWindow { n_times, kept },
            ..Self::at_lags((1..n_times).map(|lag| lag as f64 * step), factor)
        }
    }

    fn scratch(&self) -> Scratch {
        match self.sampling {
            Sampling::Lags => Scratch::default(),
            Sampling::FiniteWindow { n_times, .. } => Scratch {
                computed: std::array::from_fn(|_| vec![0.0; self.ln_time.len()]),
                sums: vec![0.0; n_times + 1],
            },
        }
    }

    /// Values at the computed times, which are changed, to values at the lags; `at_zero` is the value at lag 0.
    fn sample(&self, at_zero: f64, computed: &mut [f64], sums: &mut [f64], sampled: &mut [f64]) {
        match &self.sampling {
            Sampling::Lags => sampled.copy_from_slice(computed),
            Sampling::FiniteWindow { n_times, kept } => {
                subtract_window_mean(at_zero, computed, *n_times, sums);
                for (value, &lag) in sampled.iter_mut().zip(kept.iter()) {
                    *value = computed[lag - 1];
                }
            }
        }
    }

    /// Values behind which a sampled shape is padded.
    pub(super) fn n_sampled(&self) -> usize {
        match &self.sampling {
            Sampling::Lags => self.ln_time.len(),
            Sampling::FiniteWindow { kept, .. } => padded_len(kept.len()),
        }
    }

    /// Steps of the grid of [`Self::scan`].
    pub(super) fn n_octaves(stretch: f64, [lower, upper]: [f64; 2]) -> usize {
        ((upper - lower) * stretch / std::f64::consts::LN_2).ceil() as usize
    }

    /// Calls `visit(ln_tau, shape)` on a grid of ln tau from `upper` down to below `lower`.
    ///
    /// A tau that is smaller by 2^(1/stretch) has the square of the shape, so that the whole grid costs two
    /// exponentials a lag: one chain of squares from the upper bound, one from half a grid step below.
    pub(super) fn scan(
        &self,
        stretch: f64,
        [lower, upper]: [f64; 2],
        mut visit: impl FnMut(f64, &mut [f64]),
    ) {
        let octave = std::f64::consts::LN_2 / stretch;
        let isa = Isa::best();
        let mut shape = vec![0.0; self.n_sampled()];
        let mut scratch = self.scratch();
        let mut chains = [upper, upper - 0.5 * octave].map(|start| {
            let mut values = vec![0.0; self.ln_time.len()];
            decay(isa, &self.ln_time, self.factor, start, stretch, &mut values);
            values
        });
        let n_steps = Self::n_octaves(stretch, [lower, upper]);
        for step in 0..=n_steps {
            for (half, chain) in chains.iter_mut().enumerate() {
                match &self.sampling {
                    Sampling::Lags => shape.copy_from_slice(chain),
                    Sampling::FiniteWindow { .. } => {
                        let Scratch { computed, sums } = &mut scratch;
                        computed[0].copy_from_slice(chain);
                        self.sample(1.0, &mut computed[0], sums, &mut shape);
                    }
                }
                let ln_tau = upper - (step as f64 + 0.5 * half as f64) * octave;
                visit(ln_tau.max(lower), &mut shape);
                for value in chain {
                    *value *= *value;
                }
            }
        }
    }
}

/// c(k) − C(k) in place, for c at lags 1 to n − 1; `at_zero` is c(0).
///
/// ```text
/// C(k) = Σ_{i <= n−k} Σ_{j > k} c(|i − j|) / (n−k)²  =  [H(n) − 2 H(k) + H(|2k − n|)] / (n−k)²
/// ```
///
/// with H the second cumulative sum of c, `H(z+1) − 2 H(z) + H(z−1) = c(z)` and `H(0) = 0`: C is the mean of c over the
/// differences of two windows of n − k scans, k apart, whose weights form a triangle.
fn subtract_window_mean(at_zero: f64, values: &mut [f64], n_times: usize, sums: &mut [f64]) {
    if n_times < 2 {
        return;
    }
    sums[0] = 0.0;
    sums[1] = 0.5 * at_zero;
    for lag in 1..n_times {
        sums[lag + 1] = 2.0 * sums[lag] - sums[lag - 1] + values[lag - 1];
    }
    for lag in 1..n_times {
        let length = (n_times - lag) as f64;
        let triangle = sums[n_times] - 2.0 * sums[lag] + sums[(2 * lag).abs_diff(n_times)];
        values[lag - 1] -= triangle / (length * length);
    }
}

/// KWW with ln tau as the only parameter.
pub(super) struct FixedStretch<'a> {
    kww: &'a Kww,
    stretch: f64,
    /// `k · t^stretch`.
    power: Vec<f64>,
    scratch: Scratch,
}

impl<'a> FixedStretch<'a> {
    pub(super) fn new(kww: &'a Kww, stretch: f64) -> Self {
        let mut power = vec![0.0; kww.ln_time.len()];
        powers(Isa::best(), &kww.ln_time, kww.factor, stretch, &mut power);
        Self {
            power,
            scratch: kww.scratch(),
            stretch,
            kww,
        }
    }
}

impl Shape<1> for FixedStretch<'_> {
    fn evaluate(
        &mut self,
        parameters: &[f64; 1],
        shape: &mut [f64],
        derivatives: &mut [Vec<f64>; 1],
    ) {
        let rate = libm::exp(-self.stretch * parameters[0]);
        let (isa, power, stretch) = (Isa::best(), &self.power, self.stretch);
        if let Sampling::Lags = self.kww.sampling {
            fixed_stretch(isa, power, rate, stretch, shape, &mut derivatives[0]);
            return;
        }
        let Scratch { computed, sums } = &mut self.scratch;
        let [value, slope, _] = computed;
        fixed_stretch(isa, power, rate, stretch, value, slope);
        self.kww.sample(1.0, value, sums, shape);
        self.kww.sample(0.0, slope, sums, &mut derivatives[0]);
    }
}

dispatch! {
    /// `factor · time^stretch` for each time.
    fn powers(ln_time: &[f64], factor: f64, stretch: f64, power: &mut [f64]) {
        plain_powers(ln_time, factor, stretch, power)
    }
}

dispatch! {
    /// `exp[−factor · exp(stretch · (ln_time − ln_tau))]` for each time.
    fn decay(ln_time: &[f64], factor: f64, ln_tau: f64, stretch: f64, shape: &mut [f64]) {
        plain_decay(ln_time, factor, ln_tau, stretch, shape)
    }
}

dispatch! {
    /// The function and its derivative to ln tau for `power = factor · time^stretch` and `rate = tau^−stretch`.
    fn fixed_stretch(power: &[f64], rate: f64, stretch: f64, shape: &mut [f64], slope: &mut [f64]) {
        plain_fixed_stretch(power, rate, stretch, shape, slope)
    }
}

dispatch! {
    /// The function and its derivatives to ln tau and ln stretch.
    fn free_stretch(
        ln_time: &[f64],
        factor: f64,
        ln_tau: f64,
        stretch: f64,
        shape: &mut [f64],
        slopes: &mut [Vec<f64>; 2],
    ) {
        plain_free_stretch(ln_time, factor, ln_tau, stretch, shape, slopes)
    }
}

/// Whole vectors of times. Loops over the lanes read and write arrays of their own: what may overlap is not turned into vectors.
#[inline(always)]
fn vectors(values: &[f64]) -> &[[f64; LANES]] {
    values.as_chunks::<LANES>().0
}

/// Whole vectors of times to write to.
#[inline(always)]
fn vectors_mut(values: &mut [f64]) -> &mut [[f64; LANES]] {
    values.as_chunks_mut::<LANES>().0
}

#[inline(always)]
fn plain_decay(ln_time: &[f64], factor: f64, ln_tau: f64, stretch: f64, shape: &mut [f64]) {
    for (values, ln_times) in vectors_mut(shape).iter_mut().zip(vectors(ln_time)) {
        let (ln_times, mut computed) = (*ln_times, [0.0; LANES]);
        for lane in 0..LANES {
            computed[lane] = exp(-factor * exp(stretch * (ln_times[lane] - ln_tau)));
        }
        *values = computed;
    }
}

#[inline(always)]
fn plain_powers(ln_time: &[f64], factor: f64, stretch: f64, power: &mut [f64]) {
    for (powers, ln_times) in vectors_mut(power).iter_mut().zip(vectors(ln_time)) {
        let (ln_times, mut computed) = (*ln_times, [0.0; LANES]);
        for lane in 0..LANES {
            computed[lane] = factor * exp(stretch * ln_times[lane]);
        }
        *powers = computed;
    }
}

#[inline(always)]
fn plain_fixed_stretch(
    power: &[f64],
    rate: f64,
    stretch: f64,
    shape: &mut [f64],
    slope: &mut [f64],
) {
    let results = vectors_mut(shape).iter_mut().zip(vectors_mut(slope));
    for (powers, (values, slopes)) in vectors(power).iter().zip(results) {
        let (powers, mut value, mut slope) = (*powers, [0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let exponent = powers[lane] * rate;
            value[lane] = exp(-exponent);
            // Where the shape is zero so are its derivatives; the exponent may be infinite there.
            slope[lane] = if value[lane] > 0.0 {
                value[lane] * exponent * stretch
            } else {
                0.0
            };
        }
        (*values, *slopes) = (value, slope);
    }
}

#[inline(always)]
fn plain_free_stretch(
    ln_time: &[f64],
    factor: f64,
    ln_tau: f64,
    stretch: f64,
    shape: &mut [f64],
    slopes: &mut [Vec<f64>; 2],
) {
    let [tau_slope, stretch_slope] = slopes;
    let slopes = vectors_mut(tau_slope)
        .iter_mut()
        .zip(vectors_mut(stretch_slope));
    let times = vectors(ln_time).iter().zip(vectors_mut(shape));
    for ((ln_times, values), (tau_slopes, stretch_slopes)) in times.zip(slopes) {
        let (ln_times, mut value) = (*ln_times, [0.0; LANES]);
        let (mut to_tau, mut to_stretch) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let ln_ratio = stretch * (ln_times[lane] - ln_tau);
            let exponent = factor * exp(ln_ratio);
            value[lane] = exp(-exponent);
            // Where the shape is zero so are its derivatives; the exponent may be infinite there.
            let slope = if value[lane] > 0.0 {
                value[lane] * exponent
            } else {
                0.0
            };
            to_tau[lane] = slope * stretch;
            to_stretch[lane] = -slope * ln_ratio;
        }
        (*values, *tau_slopes, *stretch_slopes) = (value, to_tau, to_stretch);
    }
}

/// KWW with ln tau and ln stretch as parameters.
pub(super) struct FreeStretch<'a> {
    kww: &'a Kww,
    scratch: Scratch,
}

impl<'a> FreeStretch<'a> {
    pub(super) fn new(kww: &'a Kww) -> Self {
        Self {
            scratch: kww.scratch(),
            kww,
        }
    }
}

impl Shape<2> for FreeStretch<'_> {
    fn evaluate(
        &mut self,
        parameters: &[f64; 2],
        shape: &mut [f64],
        derivatives: &mut [Vec<f64>; 2],
    ) {
        let [ln_tau, ln_stretch] = *parameters;
        let stretch = libm::exp(ln_stretch);
        let isa = Isa::best();
        let (ln_time, factor) = (&self.kww.ln_time, self.kww.factor);
        if let Sampling::Lags = self.kww.sampling {
            free_stretch(isa, ln_time, factor, ln_tau, stretch, shape, derivatives);
            return;
        }
        let Scratch { computed, sums } = &mut self.scratch;
        let ([values], slopes) = computed.split_first_chunk_mut().expect("three were made");
        let slopes: &mut [Vec<f64>; 2] = slopes.try_into().expect("three were made");
        free_stretch(isa, ln_time, factor, ln_tau, stretch, values, slopes);
        self.kww.sample(1.0, values, sums, shape);
        for (slope, derivative) in slopes.iter_mut().zip(derivatives) {
            self.kww.sample(0.0, slope, sums, derivative);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_mean_equals_the_double_sum() {
        let correlation = |lag: usize| (-0.3 * lag as f64).exp() + 0.1 / (1.0 + lag as f64);
        for n_times in [2, 3, 7, 20] {
            let mut values: Vec<f64> = (1..n_times).map(correlation).collect();
            subtract_window_mean(
                correlation(0),
                &mut values,
                n_times,
                &mut vec![0.0; n_times + 1],
            );
            for lag in 1..n_times {
                let mut sum = 0.0;
                for first in 0..n_times - lag {
                    for second in lag..n_times {
                        sum += correlation(second.abs_diff(first));
                    }
                }
                let expected = correlation(lag) - sum / ((n_times - lag) as f64).powi(2);
                assert!((values[lag - 1] - expected).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn every_processor_gives_the_same_bits() {
        let ln_time = padded((1..106).map(|lag| (f64::from(lag) / 105.0).ln()));
        let n_padded = ln_time.len();
        let of = |isa| {
            let mut buffers = vec![vec![0.0; n_padded]; 6];
            let [decayed, power, fixed, slope, free, tau_slope] = &mut buffers[..] else {
                panic!("six buffers were made");
            };
            decay(isa, &ln_time, 2.0, -1.3, 0.7, decayed);
            powers(isa, &ln_time, 2.0, 0.7, power);
            fixed_stretch(isa, power, libm::exp(0.7 * 1.3), 0.7, fixed, slope);
            let mut slopes = [vec![0.0; n_padded], vec![0.0; n_padded]];
            free_stretch(isa, &ln_time, 2.0, -1.3, 0.7, free, &mut slopes);
            tau_slope.copy_from_slice(&slopes[0]);
            buffers.push(slopes[1].clone());
            buffers
        };
        let plain = of(Isa::all()[0]);
        for isa in Isa::all() {
            assert_eq!(of(isa), plain, "{isa:?}");
        }
        for lag in 0..105 {
            let expected = libm::exp(-2.0 * libm::exp(0.7 * (ln_time[lag] + 1.3)));
            for values in [&plain[0], &plain[2], &plain[4]] {
                assert!((values[lag] - expected).abs() < 1e-15);
            }
            assert!((plain[3][lag] - plain[5][lag]).abs() < 1e-15);
        }
    }

    #[test]
    fn derivatives_equal_difference_quotients() {
        let step = 1e-5;
        let lags = || (1..30).map(|lag| lag as f64 / 30.0);
        let models = [
            Kww::at_lags(lags(), 2.0),
            Kww::in_window(30, 1.0 / 30.0, (1..30).collect(), 1.0),
        ];
        for kww in models {
            let mut model = FreeStretch::new(&kww);
            let mut at = |parameters: [f64; 2]| {
                let mut shape = vec![0.0; 32];
                let mut derivatives = [vec![0.0; 32], vec![0.0; 32]];
                model.evaluate(&parameters, &mut shape, &mut derivatives);
                (shape, derivatives)
            };
            let center = [-0.7, 0.2];
            let (_, derivatives) = at(center);
            for parameter in 0..2 {
                let moved = |sign: f64| {
                    let mut parameters = center;
                    parameters[parameter] += sign * step;
                    parameters
                };
                let (after, before) = (at(moved(1.0)).0, at(moved(-1.0)).0);
                for lag in 0..29 {
                    let quotient = (after[lag] - before[lag]) / (2.0 * step);
                    let difference = quotient - derivatives[parameter][lag];
                    // Rounding of sums of about 450 over twice the step of 1e-5.
                    assert!(
                        difference.abs() < 1e-8,
                        "parameter {parameter}, lag {lag}: {difference:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn both_models_and_the_scan_agree() {
        let kww = Kww::in_window(12, 0.1, (1..12).collect(), 2.0);
        for stretch in [0.4, 1.0, 1.7] {
            let mut seen = Vec::new();
            kww.scan(stretch, [-3.0, 2.0], |ln_tau, shape| {
                seen.push((ln_tau, shape.to_vec()));
            });
            assert!(seen.iter().any(|(ln_tau, _)| *ln_tau < -2.9));
            for (ln_tau, scanned) in seen.iter().filter(|(ln_tau, _)| *ln_tau > -3.0) {
                let (mut fixed, mut free) = (vec![0.0; 16], vec![0.0; 16]);
                let mut slopes = [vec![0.0; 16], vec![0.0; 16]];
                FreeStretch::new(&kww).evaluate(&[*ln_tau, stretch.ln()], &mut free, &mut slopes);
                let mut slope = [vec![0.0; 16]];
                FixedStretch::new(&kww, stretch).evaluate(&[*ln_tau], &mut fixed, &mut slope);
                for lag in 0..11 {
                    assert!((fixed[lag] - free[lag]).abs() < 1e-13);
                    assert!((fixed[lag] - scanned[lag]).abs() < 1e-11);
                    assert!((slope[0][lag] - slopes[0][lag]).abs() < 1e-13);
                }
            }
        }
    }
}
