//! Where is the likelihood highest, and how fast does it fall from there?

use super::filter::{Memory, ModeClass, deviance};

/// Half of the distance in ln tau and ln V over which slopes and curvatures are taken.
const STENCIL: f64 = 0.05;

/// The longest step in ln tau or ln V: beyond, D is not the parabola that was measured.
const MAX_STEP: f64 = 0.7;

/// A step below this share of the error ends the search.
const PRECISION: f64 = 0.01;

/// Steps at most; seven are usual.
const MAX_STEPS: usize = 40;

/// Speckle variances that are looked at.
const LN_VARIANCE: [f64; 2] = [-9.0, 3.0];

/// Where D is computed to both sides of its minimum, in errors by curvature.
const PROFILE_AT: [f64; 7] = [-7.0, -4.0, -2.0, 2.0, 4.0, 7.0, 11.0];

/// Speckle below this D against none at all may be noise: about 3 standard errors with the factor of the intervals.
const MIN_SPECKLE: f64 = 30.0;

/// The modes of one position, or of some of its cells.
#[derive(Debug)]
pub(crate) struct Likelihood<'a> {
    /// Sets of classes; D is the sum over all.
    pub(crate) sets: &'a [&'a [ModeClass]],
    /// How speckle decays.
    pub(crate) memory: &'a Memory,
    /// Where tau is looked for.
    pub(crate) bounds: [f64; 2],
}

/// The highest likelihood.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Maximum {
    /// ln of tau in seconds.
    pub(crate) ln_tau: f64,
    /// ln of V.
    pub(crate) ln_variance: f64,
    /// D there.
    pub(crate) deviance: f64,
    /// Error of ln tau by curvature, V being free.
    pub(crate) ln_tau_sd: f64,
    /// Error of ln V by curvature, tau being free.
    pub(crate) ln_variance_sd: f64,
    /// How ln V follows ln tau where tau is held.
    slope: f64,
    /// Steps taken.
    pub(crate) n_steps: usize,
    /// Whether the search ended.
    pub(crate) converged: bool,
}

/// D over its minimum against ln tau, V being free; the abscissa ascends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    nodes: Vec<(f64, f64)>,
    ln_tau: f64,
}

impl Maximum {
    /// Numbers that it is kept as.
    pub(crate) const N_NUMBERS: usize = 8;

    /// As numbers, for those who keep it.
    pub(crate) fn to_numbers(self) -> [f64; Self::N_NUMBERS] {
        [
            self.ln_tau,
            self.ln_variance,
            self.deviance,
            self.ln_tau_sd,
            self.ln_variance_sd,
            self.slope,
            self.n_steps as f64,
            f64::from(u8::from(self.converged)),
        ]
    }

    /// What [`Maximum::to_numbers`] gave.
    pub(crate) fn from_numbers(numbers: &[f64; Self::N_NUMBERS]) -> Self {
        let [
            ln_tau,
            ln_variance,
            deviance,
            ln_tau_sd,
            ln_variance_sd,
            slope,
            n_steps,
            converged,
        ] = *numbers;
        Self {
            ln_tau,
            ln_variance,
            deviance,
            ln_tau_sd,
            ln_variance_sd,
            slope,
            n_steps: n_steps as usize,
            converged: converged != 0.0,
        }
    }
}

impl Likelihood<'_> {
    /// D.
    pub(crate) fn deviance(&self, ln_tau: f64, ln_variance: f64) -> f64 {
        let classes = self.sets.iter().flat_map(|set| set.iter());
        let (tau_s, variance) = (libm::exp(ln_tau), libm::exp(ln_variance));
        deviance(classes, self.memory, tau_s, variance)
    }

    /// Whether D is clearly lower with speckle than without any.
    pub(crate) fn has_speckle(&self, maximum: &Maximum) -> bool {
        let without = self.deviance(maximum.ln_tau, LN_VARIANCE[0]);
        without - maximum.deviance > MIN_SPECKLE && maximum.ln_variance > LN_VARIANCE[0]
    }

    /// The minimum of D by Newton's method from a start; `None` where D is no number.
    pub(crate) fn maximum(&self, ln_tau: f64, ln_variance: f64) -> Option<Maximum> {
        let [low, high] = self.bounds;
        let inside = |ln_tau: f64, ln_variance: f64| {
            (
                ln_tau.clamp(low, high),
                ln_variance.clamp(LN_VARIANCE[0], LN_VARIANCE[1]),
            )
        };
        let (mut x, mut y) = inside(ln_tau, ln_variance);
        let mut here = self.deviance(x, y);
        if !here.is_finite() {
            return None;
        }
        for n_steps in 1..=MAX_STEPS {
            let h = STENCIL;
            let (right, left) = (self.deviance(x + h, y), self.deviance(x - h, y));
            let (up, down) = (self.deviance(x, y + h), self.deviance(x, y - h));
            let across = self.deviance(x + h, y + h);
            let (slope_x, slope_y) = ((right - left) / (2.0 * h), (up - down) / (2.0 * h));
            let curve_x = (right - 2.0 * here + left) / (h * h);
            let curve_y = (up - 2.0 * here + down) / (h * h);
            let mixed = (across - right - up + here) / (h * h);
            // Half a stencil of third derivatives is in the mixed term as it stands: a small matter for a step, none at the end.
            let determinant = curve_x * curve_y - mixed * mixed;
            let (mut step_x, mut step_y) =
                if curve_x > 0.0 && curve_y > 0.0 && determinant > 1e-3 * curve_x * curve_y {
                    (
                        -(curve_y * slope_x - mixed * slope_y) / determinant,
                        -(curve_x * slope_y - mixed * slope_x) / determinant,
                    )
                } else {
                    let steepness = slope_x.hypot(slope_y).max(f64::MIN_POSITIVE);
                    (-0.5 * slope_x / steepness, -0.5 * slope_y / steepness)
                };
            let longest = step_x.abs().max(step_y.abs());
            if longest > MAX_STEP {
                step_x *= MAX_STEP / longest;
                step_y *= MAX_STEP / longest;
            }
            let (sd_x, sd_y) = (
                (2.0 * curve_y / determinant).sqrt(),
                (2.0 * curve_x / determinant).sqrt(),
            );
            let mut next = inside(x + step_x, y + step_y);
            let mut value = self.deviance(next.0, next.1);
            for _ in 0..6 {
                if value <= here {
                    break;
                }
                (step_x, step_y) = (step_x / 3.0, step_y / 3.0);
                next = inside(x + step_x, y + step_y);
                value = self.deviance(next.0, next.1);
            }
            let moved = ((next.0 - x).abs(), (next.1 - y).abs());
            let maximum = |converged: bool| Maximum {
                ln_tau: next.0,
                ln_variance: next.1,
                deviance: value.min(here),
                ln_tau_sd: sd_x,
                ln_variance_sd: sd_y,
                slope: if curve_y > 0.0 { -mixed / curve_y } else { 0.0 },
                n_steps,
                converged,
            };
            let is_small = |moved: f64, sd: f64| moved <= (PRECISION * sd).max(1e-6);
            if value > here || (is_small(moved.0, sd_x) && is_small(moved.1, sd_y)) {
                let best = if value > here { (x, y) } else { next };
                return Some(Maximum {
                    ln_tau: best.0,
                    ln_variance: best.1,
                    ..maximum(true)
                });
            }
            // At a bound nothing moves any more although the slope goes on.
            if moved.0.max(moved.1) < 1e-6 {
                return Some(maximum(true));
            }
            if n_steps == MAX_STEPS {
                return Some(maximum(false));
            }
            ((x, y), here) = (next, value);
        }
        None
    }

    /// D around its minimum.
    pub(crate) fn profile(&self, maximum: &Maximum) -> Profile {
        let [low, high] = self.bounds;
        let sd = if maximum.ln_tau_sd.is_finite() {
            maximum.ln_tau_sd
        } else {
            0.5
        };
        let mut places: Vec<f64> = PROFILE_AT
            .iter()
            .map(|at| maximum.ln_tau + at * sd)
            .filter(|&ln_tau| ln_tau > low && ln_tau < high)
            .collect();
        places.push(high);
        let above = |ln_tau: f64| (self.free_variance(ln_tau, maximum) - maximum.deviance).max(0.0);
        let mut nodes: Vec<(f64, f64)> = places.into_iter().map(|at| (at, above(at))).collect();
        nodes.push((maximum.ln_tau, 0.0));
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0));
        Profile {
            nodes,
            ln_tau: maximum.ln_tau,
        }
    }

    /// D at distances from ln tau of a maximum that other cells may have, V being free, over D at that maximum.
    pub(crate) fn around<const N: usize>(
        &self,
        maximum: &Maximum,
        distances: &[f64; N],
    ) -> [f64; N] {
        let (here, start) = self.free_variance_from(maximum.ln_tau, maximum.ln_variance);
        distances.map(|distance| {
            let ln_variance = start + maximum.slope * distance;
            let (deviance, _) = self.free_variance_from(maximum.ln_tau + distance, ln_variance);
            deviance - here
        })
    }

    /// The lowest D at a tau.
    fn free_variance(&self, ln_tau: f64, maximum: &Maximum) -> f64 {
        let far = (ln_tau - maximum.ln_tau).clamp(-3.0, 3.0);
        let start = maximum.ln_variance + maximum.slope * far;
        self.free_variance_from(ln_tau, start).0
    }

    /// The lowest D at a tau, and ln V there, from a start.
    fn free_variance_from(&self, ln_tau: f64, ln_variance: f64) -> (f64, f64) {
        let clamp = |value: f64| value.clamp(LN_VARIANCE[0], LN_VARIANCE[1]);
        let mut y = clamp(ln_variance);
        let mut lowest = f64::INFINITY;
        for _ in 0..12 {
            let h = STENCIL;
            let here = self.deviance(ln_tau, y);
            let (up, down) = (self.deviance(ln_tau, y + h), self.deviance(ln_tau, y - h));
            let (slope, curve) = ((up - down) / (2.0 * h), (up - 2.0 * here + down) / (h * h));
            lowest = lowest.min(here).min(up).min(down);
            if curve > 0.0 && slope.abs() < MAX_STEP * curve {
                lowest = lowest.min(here - slope * slope / (2.0 * curve));
                // A parabola through three points is right to 1 % of its depth within a fifth.
                if (slope / curve).abs() < 0.2 {
                    break;
                }
                y = clamp(y - slope / curve);
            } else {
                y = clamp(y - MAX_STEP * slope.signum());
            }
        }
        (lowest, y)
    }
}

impl Profile {
    /// Nodes at most: those around the minimum, the minimum, and the bound.
    const MAX_NODES: usize = PROFILE_AT.len() + 2;
    /// Numbers that it is kept as: the minimum, the number of nodes, the nodes.
    pub(crate) const N_NUMBERS: usize = 2 + 2 * Self::MAX_NODES;

    /// As numbers, for those who keep it.
    pub(crate) fn to_numbers(&self) -> [f64; Self::N_NUMBERS] {
        let mut numbers = [f64::NAN; Self::N_NUMBERS];
        numbers[0] = self.ln_tau;
        numbers[1] = self.nodes.len() as f64;
        let (pairs, _) = numbers[2..].as_chunks_mut::<2>();
        for (pair, &(ln_tau, above)) in pairs.iter_mut().zip(&self.nodes) {
            *pair = [ln_tau, above];
        }
        numbers
    }

    /// What [`Profile::to_numbers`] gave.
    pub(crate) fn from_numbers(numbers: &[f64; Self::N_NUMBERS]) -> Self {
        let (pairs, _) = numbers[2..].as_chunks::<2>();
        let pairs = pairs.iter().take(numbers[1] as usize);
        Self {
            nodes: pairs.map(|&[ln_tau, above]| (ln_tau, above)).collect(),
            ln_tau: numbers[0],
        }
    }

    /// Ends of the interval of ln tau in which D is at most `height` above its minimum; infinite above where it is open.
    pub(crate) fn interval(&self, height: f64) -> [f64; 2] {
        // The root of D is nearly straight on both sides.
        let root = height.sqrt();
        let side = |up: bool| {
            let mut last = (self.ln_tau, 0.0);
            let mut slope = 0.0;
            let ordered: Vec<&(f64, f64)> = if up {
                self.nodes
                    .iter()
                    .filter(|node| node.0 > self.ln_tau)
                    .collect()
            } else {
                let below = self.nodes.iter().rev();
                below.filter(|node| node.0 < self.ln_tau).collect()
            };
            for &&(ln_tau, above) in &ordered {
                let next = (ln_tau, above.sqrt());
                slope = (next.1 - last.1) / (next.0 - last.0);
                if next.1 >= root {
                    return last.0 + (root - last.1) / slope;
                }
                last = next;
            }
            if up {
                f64::INFINITY
            } else {
                last.0 + (root - last.1) / if slope < 0.0 { slope } else { -1.0 }
            }
        };
        [side(false), side(true)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::overlap::Overlap;
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_xoshiro::Xoshiro256PlusPlus;

    #[test]
    fn a_memory_in_noise_comes_back() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let (n_times, n_modes) = (100, 200);
        let (tau_s, variance, scale, noise) = (600.0_f64, 0.5_f64, 4.0_f64, 1.0_f64);
        let kept = libm::exp(-2.0 * 10.0 / tau_s);
        let mut values = vec![vec![0.0; n_modes]; n_times];
        for mode in 0..n_modes {
            let mut hidden = (variance * scale).sqrt() * normal();
            for row in &mut values {
                row[mode] = hidden + noise.sqrt() * normal();
                let fresh = (variance * scale * (1.0 - kept * kept)).sqrt();
                hidden = kept * hidden + fresh * normal();
            }
        }
        let class = ModeClass::new(0, n_times, n_modes, noise, scale, |time, mode| {
            values[time][mode]
        });
        let classes = [class];
        let likelihood = Likelihood {
            sets: &[&classes],
            memory: &Memory {
                steps_s: vec![10.0; 99],
                exponent_factor: 2.0,
                overlaps: vec![Overlap::whole(100)],
            },
            bounds: [0.0, 11.0],
        };
        let maximum = likelihood.maximum(libm::log(100.0), -3.0).expect("numbers");
        assert!(maximum.converged && likelihood.has_speckle(&maximum));
        let off = (maximum.ln_tau - libm::log(tau_s)) / maximum.ln_tau_sd;
        assert!(off.abs() < 3.0, "{off} errors off");
        assert!((maximum.ln_variance - libm::log(variance)).abs() < 4.0 * maximum.ln_variance_sd);
        let [lower, upper] = likelihood.profile(&maximum).interval(1.0);
        let width = (upper - lower) / 2.0;
        assert!((width / maximum.ln_tau_sd - 1.0).abs() < 0.1);
    }
}
