//! How fast does the speckle forget itself, as precisely as the counts can tell?
//!
//! A fit of g weighs lags as if they knew nothing of each other, and takes all pixels as one number a pair of scans. The likelihood of the
//! fluctuations themselves does neither:
//!
//! ```text
//! z_p(i)   = (x_p(i) − s H_p) / sqrt(s H_p)            fluctuation of a pixel in units of its shot noise, H expected counts
//! a_k(i)   = Σ_p u_kp z_p(i)                           modes: eigenvectors of sqrt(H_p) |mu_pq|² sqrt(H_q)
//! cov a_k  = V l_k J_ij exp[−k |t_i − t_j|/tau] + n_k δ_ij   a decaying memory in white noise; l_k from the eigenvalues, J from the drift
//! D        = Σ_k [ ln det cov a_k + a_k' (cov a_k)⁻¹ a_k ]
//! ```
//!
//! `mu` is the coherence between pixels, |mu|² the autocorrelation of the speckle pattern. Neighboring pixels see one speckle: modes
//! take it apart into numbers that are independent, some nearly without noise, some hardly more than noise, and weigh each as it
//! deserves. That halves the error of tau against the mean over pixels. D is minus twice the logarithm of the likelihood;
//! tau and V are where it is lowest.
//!
//! With an exponential memory a mode is a hidden process whose next value needs the last one only, so D is a sum over scans of
//! how much each surprised (a Kalman filter): no matrix of times, and scans may lie at any times. A drift is followed in whole
//! steps, and what it leaves makes the probes of two scans share less, J; the filter then follows a few hidden values instead of one.
//!
//! Three things decide whether the answer is right, and each is measured:
//!
//! - **Noise.** At tau of a record the memory falls by 1 % a scan, shot noise is twenty times that. n_k comes from the counts of the
//!   position and set of pixels at hand, not from what was expected: a set whose speckles are bright by chance has more of both.
//! - **How much speckle a mode holds.** l_k is measured too: the mean product of adjacent scans over positions, mode class by mode class. Then
//!   a wrong |mu|² costs precision, and not, as it would, 30 % of tau for 20 % of speckle width.
//! - **Brightness.** One s for the whole record: modes are orthogonal to sqrt(H), so that thickness and flicker cancel in
//!   first order, while division of each scan by its own mean would lengthen tau by 1 to 4 %.
//!
//! Intensities are exponential, not normal, so the curvature of D promises too much. By how much is seen in the two halves of the
//! directions, which share no speckle but one tau: the mean square of their difference over what curvature says is the factor (squared) that
//! [`interval_factor`] applies to every interval. In simulations it is 1.7 for fully coherent speckle, 1.2 for speckle of four modes,
//! 2.5 where a thin sample shows every speckle twice.
//!
//! Sources: R. E. Kalman, J. Basic Eng. 82, 35 (1960), doi 10.1115/1.3662552, for the filter; J. W. Goodman, Speckle Phenomena in Optics
//! (2007), for modes of partially correlated speckle.

mod coherence;
mod filter;
mod maximum;
mod modes;
mod overlap;

pub(crate) use coherence::{Coherence, CoherencePairs, CoherenceSums};
pub(crate) use filter::Memory;
pub(crate) use maximum::{Likelihood, Maximum, Profile};
pub(crate) use modes::{Cell, CellSeries, ClassSums, N_SETS, SpeckleModes};
pub(crate) use overlap::Overlap;

/// The factor without any measurement: what coherent speckle has in simulations.
const TYPICAL_FACTOR: f64 = 1.8;

/// Probe areas that the typical factor weighs as much as.
const TYPICAL_WEIGHT: f64 = 10.0;

/// Differences of more than this many standard errors count as this many: one position that was read wrong must not widen all intervals.
const MAX_DIFFERENCE: f64 = 6.0;

/// The whole is a little worse against its own curvature than the halves, because speckles across the boundary of blocks are counted
/// twice, and the halves are off together where +Q and −Q are alike. Of 2,000 positions at 0.1, 0.3, 1 and 3 records, with 1.08 here, 66 to 68 % of the intervals
/// of 68 % would hold tau, and 63 % where +Q and −Q are alike; with this it is 65 to 71 % in all.
const WHOLE_AGAINST_HALVES: f64 = 1.13;

/// How many times wider intervals are than curvature says, from `(ln tau, its error by curvature)` of the two halves of many positions.
///
/// `n_areas` is the number of independent probe areas among them.
pub(crate) fn interval_factor(halves: &[[(f64, f64); 2]], n_areas: f64) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for [(first, first_sd), (second, second_sd)] in halves {
        let square =
            (first - second) * (first - second) / (first_sd * first_sd + second_sd * second_sd);
        if square.is_finite() {
            sum += square.min(MAX_DIFFERENCE * MAX_DIFFERENCE);
            n += 1.0;
        }
    }
    let weight = n_areas.min(n);
    let measured = if n > 0.0 { sum / n } else { 0.0 };
    let typical = TYPICAL_FACTOR * TYPICAL_FACTOR;
    let square = (weight * measured + TYPICAL_WEIGHT * typical) / (weight + TYPICAL_WEIGHT);
    WHOLE_AGAINST_HALVES * square.sqrt().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_what_the_halves_say() {
        // Differences of ±0.3 where curvature says 0.1 each: 0.3/sqrt(0.02) = 2.12.
        let halves: Vec<_> = (0..2000)
            .map(|n| [(if n % 2 == 0 { 0.3 } else { -0.3 }, 0.1), (0.0, 0.1)])
            .collect();
        let factor = interval_factor(&halves, 2000.0);
        assert!((factor - 1.13 * 2.12).abs() < 0.01, "{factor}");
        let unmeasured = interval_factor(&[], 0.0);
        assert!((unmeasured - 1.13 * TYPICAL_FACTOR).abs() < 1e-12);
    }
}
