//! How did the sample move under the scan?
//!
//! ```text
//! d(t) = displacement of the sample's point under a scan position at scan t, scan steps, d(first) = 0
//! s(t) = round(d(t)) is applied as an index,  d(t) − s(t) is kept
//! ```
//!
//! Two estimates that share nothing but the counts: [`speckle`] compares the patterns of neighboring positions and gives both
//! directions; [`images`] registers the images of the ring intensity, which an edge or a change of thickness shows to move. Where
//! both say something about a direction speckle is taken if it is certain, else their mean, and their disagreement is reported: within a scan the
//! sample may have moved as well.
//!
//! Nothing is interpolated ([`align`]): a mixture of neighbors would lower noise and speckle alike, in another way in every scan.
//!
//! Movement that is not corrected forgets speckle as relaxation does. What is left of the correlation of two scans whose probes are a
//! distance apart is `K²`, and the relaxation time that a perfectly still speckle would seem to have is the *drift-limited* time: above
//! half of it a measured tau says more about the stage than about the glass.

pub mod align;
pub mod images;
mod lean;
pub(crate) mod network;
mod overlap;
pub mod speckle;
mod spectra;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use images::{Reference, Registration};
use overlap::Kernel;
use speckle::{Tracking, Untracked};

pub(crate) use spectra::MAX_SPECTRA_BYTES;

/// How drift is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftMethod {
    /// From speckle where it is certain, else from images or both.
    #[default]
    Auto,
    /// From speckle alone.
    Speckle,
    /// From images alone.
    Images,
    /// `row_steps` and `col_steps` of the recipe.
    Given,
    /// Not looked for and not corrected.
    None,
}

/// What the recipe says about drift.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// How it is found.
    pub method: DriftMethod,
    /// What images are registered to.
    pub reference: Reference,
    /// For `given`: displacement of the sample's point under a position along scan rows' index, scan steps, one a scan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub row_steps: Vec<f64>,
    /// For `given`: as `row_steps`, along columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub col_steps: Vec<f64>,
}

impl DriftSettings {
    /// Checks a given drift against the number of scans.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`].
    pub fn check(&self, n_times: usize) -> Result<()> {
        let lists = [
            ("drift.row_steps", &self.row_steps),
            ("drift.col_steps", &self.col_steps),
        ];
        for (key, list) in lists {
            let given = self.method == DriftMethod::Given;
            let problem = if given && list.len() != n_times {
                format!("drift.method = \"given\" needs one value for each of the {n_times} scans")
            } else if !given && !list.is_empty() {
                "a list of steps is used with drift.method = \"given\" only".to_owned()
            } else if list.iter().any(|step| !step.is_finite()) {
                "every value must be a finite number of scan steps".to_owned()
            } else {
                continue;
            };
            return Err(Error::Setting {
                key: key.to_owned(),
                value: format!("list of length {}", list.len()),
                problem,
            });
        }
        Ok(())
    }
}

/// Where one direction of the drift came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftOrigin {
    /// Speckle tracking.
    Speckle,
    /// Registration of images.
    Images,
    /// The mean of both, weighted by their errors.
    Both,
    /// The recipe.
    Given,
    /// Nothing in the data shows it; taken as zero.
    Unknown,
}

/// The course of the sample along one direction of the scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Displacement, scan steps, `[time]`; 0 at the first scan.
    #[serde(skip)]
    pub steps: Vec<f64>,
    /// Standard error up to a constant, `[time]`; 0 where given.
    #[serde(skip)]
    pub error: Vec<f64>,
    /// Where it came from.
    pub origin: DriftOrigin,
    /// Root mean square difference of the two estimates up to a constant, where there are two.
    pub disagreement: Option<f64>,
    /// The error expected of that difference.
    pub expected_disagreement: Option<f64>,
}

/// How the sample moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Along scan rows' index.
    pub row: Course,
    /// Along scan columns' index.
    pub col: Course,
    /// `v` a scan step in `K² = [2 J₁(v)/v]²`, the overlap of two probes; none where neither speckle nor microscope tell.
    pub kernel_per_step: Option<f64>,
    /// Height of the speckle's correlation with the scan before, `[time]`; empty where it was not tracked.
    #[serde(skip)]
    pub likeness: Vec<f64>,
}

/// Where the probes of all scans lie about a point of the sample.
#[derive(Debug, Clone)]
pub(crate) struct ProbesLeft {
    kernel: Kernel,
    row: Vec<f64>,
    col: Vec<f64>,
}

impl ProbesLeft {
    /// K² of the probes of two scans for speckle that sees `narrowing` of the movement's square.
    pub(crate) fn overlap(&self, first: usize, second: usize, narrowing: f64) -> f64 {
        let seen = narrowing.sqrt();
        let rows = self.row[first] - self.row[second];
        let cols = self.col[first] - self.col[second];
        self.kernel.value(seen * rows, seen * cols)
    }

    /// [`ProbesLeft::overlap`] as a function.
    pub(crate) fn likeness(&self) -> impl Fn(usize, usize, f64) -> f64 {
        |first, second, narrowing| self.overlap(first, second, narrowing)
    }
}

/// An error of more than this cannot place a whole step: rounding would shuffle positions.
const MAX_APPLIED_ERROR: f64 = 0.35;

/// An error of more than this, as v of the overlap, tells nothing of what is left below a step: it costs 2 % of the speckle of two scans.
const MAX_KNOWN_ERROR: f64 = 0.2;

/// Movement, root mean square about its mean, in units of its error, above which it is one.
const MIN_SIGNIFICANCE: f64 = 2.0;

/// As [`MIN_SIGNIFICANCE`], for images: their texture changes as the speckle does, all along the record, so that a still sample wanders by two
/// or three errors.
const MIN_IMAGE_SIGNIFICANCE: f64 = 4.0;

/// A direction of the images is used below this error; beyond, it is often a wrong peak.
const MAX_IMAGE_ERROR: f64 = 0.15;

/// Speckle that is this certain needs no help: an edge sharper than a step draws images toward whole steps.
const SUFFICIENT_ERROR: f64 = 0.15;

/// Estimates that differ by more than this many errors, and by [`MIN_DISAGREEMENT`], contradict each other.
const MAX_DISAGREEMENT: f64 = 4.0;

/// Differences below this many steps change nothing that is measured.
const MIN_DISAGREEMENT: f64 = 0.5;

impl Course {
    /// A course that nothing shows.
    fn unknown(n_times: usize) -> Self {
        Self {
            steps: vec![0.0; n_times],
            error: vec![f64::INFINITY; n_times],
            origin: DriftOrigin::Unknown,
            disagreement: None,
            expected_disagreement: None,
        }
    }

    fn given(steps: &[f64]) -> Self {
        Self {
            steps: from_first(steps.to_vec()),
            error: vec![0.0; steps.len()],
            origin: DriftOrigin::Given,
            disagreement: None,
            expected_disagreement: None,
        }
    }

    /// Root mean square of the errors.
    pub fn rms_error(&self) -> f64 {
        root_mean_square(&self.error)
    }

    /// Difference of the largest and the smallest displacement.
    pub fn range(&self) -> f64 {
        let largest = self.steps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = self.steps.iter().copied().fold(f64::INFINITY, f64::min);
        largest - smallest
    }

    /// Whether it is known well enough to be applied.
    pub fn is_certain(&self) -> bool {
        self.origin != DriftOrigin::Unknown && self.rms_error() <= MAX_APPLIED_ERROR
    }

    /// Whether it is more than its own error: a still sample seems to move by as much as that.
    pub fn is_significant(&self) -> bool {
        let needed = match self.origin {
            DriftOrigin::Unknown => return false,
            DriftOrigin::Images => MIN_IMAGE_SIGNIFICANCE,
            _ => MIN_SIGNIFICANCE,
        };
        root_mean_square(&centered(&self.steps)) > needed * self.rms_error()
    }

    /// Whether it is a movement, and one that is known well enough to be applied.
    fn is_followed(&self) -> bool {
        self.is_certain() && self.is_significant()
    }

    /// Whole steps to apply, `[time]`: zero where the course is not certain, or not distinguishable from rest.
    pub fn whole_steps(&self) -> Vec<i64> {
        if !self.is_followed() {
            return vec![0; self.steps.len()];
        }
        self.steps.iter().map(|step| step.round() as i64).collect()
    }

    /// What is left after whole steps were applied, `[time]`.
    fn left(&self) -> Vec<f64> {
        let whole = self.whole_steps();
        let steps = self.steps.iter().zip(whole);
        steps.map(|(step, whole)| step - whole as f64).collect()
    }

    /// Whether the two estimates contradict each other.
    pub fn is_contradicted(&self) -> bool {
        match (self.disagreement, self.expected_disagreement) {
            (Some(found), Some(expected)) => {
                found > MIN_DISAGREEMENT && found > MAX_DISAGREEMENT * expected
            }
            _ => false,
        }
    }

    fn combined(speckle: Option<(&[f64], &[f64])>, images: Option<(&[f64], &[f64])>) -> Self {
        let of = |(steps, error): (&[f64], &[f64]), origin| Self {
            steps: steps.to_vec(),
            error: error.to_vec(),
            origin,
            disagreement: None,
            expected_disagreement: None,
        };
        let images = images.filter(|(_, error)| root_mean_square(error) <= MAX_IMAGE_ERROR);
        match (speckle, images) {
            (None, None) => Self::unknown(0),
            (Some(speckle), None) => of(speckle, DriftOrigin::Speckle),
            (None, Some(images)) => of(images, DriftOrigin::Images),
            (Some(speckle), Some(images)) => {
                let mut course = of(speckle, DriftOrigin::Speckle);
                let difference: Vec<f64> = centered(
                    &speckle
                        .0
                        .iter()
                        .zip(images.0)
                        .map(|(speckle, images)| speckle - images)
                        .collect::<Vec<f64>>(),
                );
                let expected = libm::hypot(root_mean_square(speckle.1), root_mean_square(images.1));
                course.disagreement = Some(root_mean_square(&difference));
                course.expected_disagreement = Some(expected);
                if course.is_contradicted() {
                    return course;
                }
                // One weight a direction: a weight a scan would make steps where the errors change.
                let (a, b) = (root_mean_square(speckle.1), root_mean_square(images.1));
                let share = b * b / (a * a + b * b);
                if !share.is_finite() || a < SUFFICIENT_ERROR {
                    return course;
                }
                let (one, other) = (centered(speckle.0), centered(images.0));
                course.steps = from_first(
                    one.iter()
                        .zip(&other)
                        .map(|(one, other)| share * one + (1.0 - share) * other)
                        .collect(),
                );
                course.error = speckle
                    .1
                    .iter()
                    .zip(images.1)
                    .map(|(one, other)| libm::hypot(share * one, (1.0 - share) * other))
                    .collect();
                course.origin = DriftOrigin::Both;
                course
            }
        }
    }
}

impl Drift {
    /// The drift that the recipe gives.
    pub fn given(settings: &DriftSettings) -> Self {
        Self {
            row: Course::given(&settings.row_steps),
            col: Course::given(&settings.col_steps),
            kernel_per_step: None,
            likeness: Vec::new(),
        }
    }

    /// Puts both estimates together. Images say nothing where speckle stays at its position.
    pub fn combine(
        n_times: usize,
        speckle: Result<Tracking, Untracked>,
        images: Option<&Registration>,
    ) -> Self {
        let images = images.filter(|_| speckle != Err(Untracked::NoOverlap { still: true }));
        let speckle = speckle.ok();
        let course = |speckle: Option<(&[f64], &[f64])>, images: Option<(&[f64], &[f64])>| {
            let course = Course::combined(speckle, images);
            if course.origin == DriftOrigin::Unknown {
                Course::unknown(n_times)
            } else {
                course
            }
        };
        Self {
            row: course(
                speckle
                    .as_ref()
                    .map(|tracking| (&tracking.row[..], &tracking.row_error[..])),
                images.map(|images| (&images.row[..], &images.row_error[..])),
            ),
            col: course(
                speckle
                    .as_ref()
                    .map(|tracking| (&tracking.col[..], &tracking.col_error[..])),
                images.map(|images| (&images.col[..], &images.col_error[..])),
            ),
            kernel_per_step: speckle.as_ref().map(|tracking| tracking.kernel_per_step),
            likeness: speckle.map_or_else(Vec::new, |tracking| tracking.likeness),
        }
    }

    /// Whether a direction is known below a step: not from images, which follow the texture of speckle as well.
    fn is_known_below_a_step(&self, course: &Course) -> bool {
        let error = self.kernel_per_step.unwrap_or(f64::INFINITY) * course.rms_error();
        course.is_followed() && course.origin != DriftOrigin::Images && error <= MAX_KNOWN_ERROR
    }

    /// How far apart the probes of two scans are after whole steps were applied; none where nothing moved, or where that is not known.
    pub(crate) fn probes_left(&self) -> Option<ProbesLeft> {
        let kernel = Kernel {
            per_step: self.kernel_per_step?,
        };
        let left = |course: &Course| {
            let known = self.is_known_below_a_step(course);
            known.then(|| course.left())
        };
        let (row, col) = (left(&self.row), left(&self.col));
        let still = |course: &Course| vec![0.0; course.steps.len()];
        let moved = row.is_some() || col.is_some();
        moved.then(|| ProbesLeft {
            kernel,
            row: row.unwrap_or_else(|| still(&self.row)),
            col: col.unwrap_or_else(|| still(&self.col)),
        })
    }

    /// Whether all movement is known well enough to be reckoned with below a step.
    pub(crate) fn is_known(&self) -> bool {
        let is_known =
            |course: &Course| self.is_known_below_a_step(course) || !course.is_significant();
        is_known(&self.row) && is_known(&self.col)
    }

    /// The relaxation time that a still speckle would seem to have, before (`corrected` false) or after whole steps were applied;
    /// infinite where the drift forgets nothing, none where the overlap of probes or the drift is not known.
    ///
    /// ```text
    /// R(t) = ⟨K²(d(t1) − d(t1 + t))⟩ over t1,   R(t)/R(first lag) = exp[−2 (t − first lag)/limit],   the smallest for t from T/4 to T/2
    /// ```
    ///
    /// What is lost at the first lag already lowers the contrast, not tau.
    pub fn limit_s(&self, times_s: &[f64], corrected: bool) -> Option<f64> {
        let kernel = Kernel {
            per_step: self.kernel_per_step?,
        };
        if self.row.origin == DriftOrigin::Unknown && self.col.origin == DriftOrigin::Unknown {
            return None;
        }
        let left = |course: &Course| {
            if corrected {
                course.left()
            } else {
                course.steps.clone()
            }
        };
        let (row, col) = (left(&self.row), left(&self.col));
        let n = times_s.len();
        let likeness = |lag: usize| -> (f64, f64) {
            let (mut sum, mut elapsed) = (0.0, 0.0);
            for first in 0..n - lag {
                let second = first + lag;
                sum += kernel.value(row[first] - row[second], col[first] - col[second]);
                elapsed += times_s[second] - times_s[first];
            }
            let pairs = (n - lag) as f64;
            (sum / pairs, elapsed / pairs)
        };
        if n < 3 {
            return None;
        }
        let (first, first_s) = likeness(1);
        // What remainders take at short lags they do not take again; long lags rest on few pairs.
        let limit = ((n / 4).max(2)..=(n / 2).max(2))
            .map(|lag| {
                let (left, elapsed_s) = likeness(lag);
                let rate = -libm::log(left / first) / (2.0 * (elapsed_s - first_s));
                if rate > 0.0 {
                    1.0 / rate
                } else {
                    f64::INFINITY
                }
            })
            .fold(f64::INFINITY, f64::min);
        Some(limit)
    }
}

/// The value at an index from the values at some indices: straight lines between them, constant beyond.
fn between(known: &[usize], values: &[f64], at: usize) -> f64 {
    let above = known.partition_point(|&index| index < at);
    match (above.checked_sub(1), known.get(above)) {
        (_, Some(&index)) if index == at => values[above],
        (Some(below), Some(&index)) => {
            let share = (at - known[below]) as f64 / (index - known[below]) as f64;
            values[below] + share * (values[above] - values[below])
        }
        (Some(below), None) => values[below],
        (None, Some(_)) => values[above],
        (None, None) => f64::NAN,
    }
}

/// The course less its first value.
fn from_first(mut course: Vec<f64>) -> Vec<f64> {
    let first = course.first().copied().unwrap_or(0.0);
    course.iter_mut().for_each(|value| *value -= first);
    course
}

fn centered(course: &[f64]) -> Vec<f64> {
    let mean = course.iter().sum::<f64>() / course.len() as f64;
    course.iter().map(|value| value - mean).collect()
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drift along rows, some scan steps a scan.
    fn steady(n_times: u32, steps: f64) -> Drift {
        Drift::given(&DriftSettings {
            method: DriftMethod::Given,
            row_steps: (0..n_times).map(|time| steps * f64::from(time)).collect(),
            col_steps: vec![0.0; n_times as usize],
            ..DriftSettings::default()
        })
    }

    #[test]
    fn scans_left_out_lie_on_a_line() {
        let filled: Vec<f64> = (0..6).map(|at| between(&[1, 4], &[2.0, 5.0], at)).collect();
        assert_eq!(filled, [2.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
    }

    #[test]
    fn a_steady_drift_limits_tau_until_it_is_corrected() {
        let times_s: Vec<f64> = (0..60).map(|time| 10.0 * f64::from(time)).collect();
        let mut drift = steady(60, 0.1);
        assert_eq!(drift.limit_s(&times_s, false), None);
        drift.kernel_per_step = Some(0.64);
        let limit = drift.limit_s(&times_s, false).expect("both are known");
        // Over 30 lags, three steps, K² falls to 0.37: half of exp(−2 · 290 s / limit).
        assert!((300.0..700.0).contains(&limit), "{limit}");
        let after = drift.limit_s(&times_s, true).expect("both are known");
        assert!(after > 10.0 * limit, "{after}");
    }

    #[test]
    fn what_is_left_is_known_from_good_courses_alone() {
        let mut drift = steady(20, 0.3);
        assert!(drift.probes_left().is_none() && !drift.is_known());
        drift.kernel_per_step = Some(1.3);
        let left = drift.probes_left().expect("a movement that is known");
        // 0.3 of a step to the one side, 0.4 of one to the other.
        let expected = Kernel { per_step: 1.3 }.value(0.7, 0.0);
        assert!((left.overlap(1, 2, 1.0) - expected).abs() < 1e-12);
        assert!(left.overlap(1, 2, 0.5) > expected && drift.is_known());
        // A step of 2 nm turns a tenth of it into another speckle.
        drift.row.error = vec![0.1; 20];
        assert!(drift.probes_left().is_some());
        drift.kernel_per_step = Some(8.0);
        assert!(drift.probes_left().is_none() && !drift.is_known());
        drift.row.error = vec![0.01; 20];
        drift.row.origin = DriftOrigin::Images;
        assert!(drift.probes_left().is_none() && !drift.is_known());
    }

    #[test]
    fn uncertain_courses_are_not_applied() {
        let mut course = Course::given(&[0.0, 1.6, 3.2]);
        assert_eq!(course.whole_steps(), [0, 2, 3]);
        course.error = vec![0.6; 3];
        assert_eq!(course.whole_steps(), [0, 0, 0]);
        // Images of a still sample wander by two or three errors.
        course.error = vec![0.34; 3];
        course.origin = DriftOrigin::Speckle;
        assert_eq!(course.whole_steps(), [0, 2, 3]);
        course.origin = DriftOrigin::Images;
        assert_eq!(course.whole_steps(), [0, 0, 0]);
    }
}
