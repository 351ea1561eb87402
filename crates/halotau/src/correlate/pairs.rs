//! Sums over pixels for every pair of times: additive over sectors of the ring.

use ndarray::{Array2, ArrayView2};

/// Sums over pixels that give G for every pair of times.
#[derive(Debug, Clone)]
pub(super) struct PairSums {
    /// `Σ I(t1) I(t2)`, `[time_1, time_2]`.
    product: Array2<f64>,
    means: Means,
}

/// Sums and numbers of pixels for the means in the denominator.
#[derive(Debug, Clone)]
enum Means {
    /// Every pixel has every time: `Σ I(t)` and the number of pixels.
    Whole { sums: Vec<f64>, n_pixels: f64 },
    /// Samples are missing: `Σ I(t1)` over the pixels that have both times, and their number.
    Pairwise {
        sums: Array2<f64>,
        n_pixels: Array2<f64>,
    },
}

impl PairSums {
    /// The sums of a set of pixels, `[time, pixel]`; NaN marks a missing sample.
    pub(super) fn of(ring: ArrayView2<'_, f64>) -> Self {
        if !ring.iter().any(|count| count.is_nan()) {
            return Self {
                product: ring.dot(&ring.t()),
                means: Means::Whole {
                    sums: ring.rows().into_iter().map(|counts| counts.sum()).collect(),
                    n_pixels: ring.ncols() as f64,
                },
            };
        }
        let there = ring.mapv(|count| f64::from(u8::from(!count.is_nan())));
        let counts = ring.mapv(|count| if count.is_nan() { 0.0 } else { count });
        Self {
            product: counts.dot(&counts.t()),
            means: Means::Pairwise {
                sums: counts.dot(&there.t()),
                n_pixels: there.dot(&there.t()),
            },
        }
    }

    /// Sums over both sets of pixels.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            product: &self.product + &other.product,
            means: self.means.combine(&other.means, 1.0),
        }
    }

    /// Sums over this set without a part of it.
    pub(super) fn minus(&self, part: &Self) -> Self {
        Self {
            product: &self.product - &part.product,
            means: self.means.combine(&part.means, -1.0),
        }
    }

    /// Mean over pixels of one scan.
    pub(super) fn mean_at(&self, time: usize) -> f64 {
        match &self.means {
            Means::Whole { sums, n_pixels } => sums[time] / n_pixels,
            Means::Pairwise { sums, n_pixels } => sums[[time, time]] / n_pixels[[time, time]],
        }
    }

    /// G of one pair of times.
    pub(super) fn at(&self, first: usize, second: usize) -> f64 {
        let product = self.product[[first, second]];
        match &self.means {
            Means::Whole { sums, n_pixels } => product * n_pixels / (sums[first] * sums[second]),
            Means::Pairwise { sums, n_pixels } => {
                product * n_pixels[[first, second]]
                    / (sums[[first, second]] * sums[[second, first]])
            }
        }
    }

    /// G of all pairs, `[time_1, time_2]`.
    pub(super) fn two_time(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.product.dim(), |(first, second)| self.at(first, second))
    }
}

impl Means {
    fn combine(&self, other: &Self, sign: f64) -> Self {
        match (self, other) {
            (
                Self::Whole { sums, n_pixels },
                Self::Whole {
                    sums: others,
                    n_pixels: n_others,
                },
            ) => Self::Whole {
                sums: sums
                    .iter()
                    .zip(others)
                    .map(|(sum, other)| sum + sign * other)
                    .collect(),
                n_pixels: n_pixels + sign * n_others,
            },
            _ => {
                let (sums, n_pixels) = self.pairwise();
                let (others, n_others) = other.pairwise();
                Self::Pairwise {
                    sums: sums + sign * others,
                    n_pixels: n_pixels + sign * n_others,
                }
            }
        }
    }

    fn pairwise(&self) -> (Array2<f64>, Array2<f64>) {
        match self {
            Self::Whole { sums, n_pixels } => (
                Array2::from_shape_fn((sums.len(), sums.len()), |(first, _)| sums[first]),
                Array2::from_elem((sums.len(), sums.len()), *n_pixels),
            ),
            Self::Pairwise { sums, n_pixels } => (sums.clone(), n_pixels.clone()),
        }
    }
}
