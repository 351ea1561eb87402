//! Maps with a known relation, for tests: smooth truth, and errors that tau and V of one half share.

use ndarray::Array2;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::decoupled::{DecoupledRelation, HalfMaps, decoupled};
use crate::correlogram::smooth_field;

/// White noise averaged over a Gaussian of sigma steps, variance 1, `[row, col]`.
fn smooth(shape: (usize, usize), sigma: f64, rng: &mut Xoshiro256PlusPlus) -> Array2<f64> {
    smooth_field(shape, 2.0 * sigma, rng)
}

/// tau and V of both halves; errors of one half are shared by tau and V.
pub(super) struct Simulated {
    pub(super) tau: [Array2<f64>; 2],
    pub(super) v: [Array2<f64>; 2],
}

impl Simulated {
    pub(super) fn new(shape: (usize, usize), noise: f64, link: f64, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let structure = smooth(shape, 2.0, &mut rng);
        let own = smooth(shape, 2.0, &mut rng);
        let dynamics = link * &structure + (1.0 - link * link).sqrt() * own;
        let mut half = || {
            let shared = smooth(shape, 1.5, &mut rng);
            let errors_of_v = 0.8 * &shared + 0.6 * smooth(shape, 1.5, &mut rng);
            let ln_tau = &dynamics + noise * shared;
            (ln_tau.exp(), &structure + noise * errors_of_v)
        };
        let ((tau_a, v_a), (tau_b, v_b)) = (half(), half());
        Self {
            tau: [tau_a, tau_b],
            v: [v_a, v_b],
        }
    }

    pub(super) fn halves(&self) -> HalfMaps<'_> {
        HalfMaps {
            tau_s: self.tau.each_ref().map(|map| map.view()),
            fluctuation: self.v.each_ref().map(|map| map.view()),
        }
    }

    pub(super) fn relation(&self) -> DecoupledRelation {
        decoupled(&self.halves(), 0.95).expect("maps with values")
    }
}
