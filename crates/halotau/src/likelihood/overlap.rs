//! Which speckle do two scans share, however slowly the glass moves?
//!
//! A drift is followed in whole steps, so that probes at one point of the sample still lie up to half a step apart, and by how much is known.
//! Their speckle is alike by `J`, which multiplies what relaxation leaves. A filter needs it as a sum of products:
//!
//! ```text
//! J_ij = K²(r_i − r_j)  ≈  Σ_m h_m(i) h_m(j) + rest_i δ_ij        r what is left of the drift, K² overlap of two probes
//! ```
//!
//! J is smooth in r, so that few terms do: three where the drift went one way, six to ten else. They are the columns of a Cholesky
//! decomposition that takes the scan first of which least is known, and ends where next to nothing is unknown of any; rest_i is what
//! it leaves, so that J_ii = 1 stays true. Each term has a hidden process of its own, as the value of a field at a point and its slopes would.
//!
//! Source: G. H. Golub, C. F. Van Loan, Matrix Computations (2013), section 4.2.8, for the decomposition with pivots.

/// Terms at most.
pub(crate) const MAX_TERMS: usize = 12;

/// The speckle that scans share by where their probes were.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Overlap {
    n_terms: usize,
    scans: Vec<Shares>,
}

/// What one scan has of the terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    /// h of the module; zero beyond the terms.
    pub(crate) terms: [f64; MAX_TERMS],
    /// Speckle that no other scan shares.
    pub(crate) rest: f64,
}

impl Overlap {
    /// Of probes that stayed where they were.
    pub(crate) fn whole(n_times: usize) -> Self {
        let mut terms = [0.0; MAX_TERMS];
        terms[0] = 1.0;
        Self {
            n_terms: 1,
            scans: vec![Shares { terms, rest: 0.0 }; n_times],
        }
    }

    /// Of scans whose speckle is alike by `likeness(i, j)`, 1 for i = j. Of no scan more than `max_rest` of the speckle is left out; it is taken for noise.
    pub(crate) fn new(
        n_times: usize,
        max_rest: f64,
        likeness: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let none = Shares {
            terms: [0.0; MAX_TERMS],
            rest: 1.0,
        };
        let mut scans = vec![none; n_times];
        let mut n_terms = 0;
        while n_terms < MAX_TERMS {
            let least_known = (0..n_times).max_by(|&a, &b| {
                let by_rest = scans[a].rest.total_cmp(&scans[b].rest);
                by_rest.then(b.cmp(&a))
            });
            let Some(pivot) = least_known.filter(|&pivot| scans[pivot].rest > max_rest) else {
                break;
            };
            let (known, root) = (scans[pivot].terms, scans[pivot].rest.sqrt());
            for (time, scan) in scans.iter_mut().enumerate() {
                let products = known.iter().zip(&scan.terms).map(|(a, b)| a * b);
                let term = if time == pivot {
                    root
                } else {
                    (likeness(pivot, time) - products.sum::<f64>()) / root
                };
                scan.terms[n_terms] = term;
                scan.rest = (scan.rest - term * term).max(0.0);
            }
            n_terms += 1;
        }
        Self { n_terms, scans }
    }

    /// That of some of the scans.
    pub(crate) fn of_times(&self, times: &[usize]) -> Self {
        Self {
            n_terms: self.n_terms,
            scans: times.iter().map(|&time| self.scans[time]).collect(),
        }
    }

    /// Number of terms.
    pub(crate) fn n_terms(&self) -> usize {
        self.n_terms
    }

    /// One a scan.
    pub(crate) fn scans(&self) -> &[Shares] {
        &self.scans
    }

    /// J of two scans.
    #[cfg(test)]
    pub(crate) fn between(&self, first: usize, second: usize) -> f64 {
        let (one, other) = (&self.scans[first], &self.scans[second]);
        let products = one.terms.iter().zip(&other.terms).map(|(a, b)| a * b);
        let shared: f64 = products.sum();
        if first == second {
            shared + one.rest
        } else {
            shared
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_terms_say_what_a_drift_left() {
        // Half steps to either side along both directions, of probes that share 0.64 a step apart.
        let left = |time: usize| {
            let along = |rate: f64| (rate * time as f64 + 0.5).rem_euclid(1.0) - 0.5;
            (along(0.0118), along(0.0277))
        };
        let likeness = |first: usize, second: usize| {
            let ((a, b), (c, d)) = (left(first), left(second));
            libm::exp(-0.45 * ((a - c).powi(2) + (b - d).powi(2)))
        };
        let overlap = Overlap::new(106, 0.001, likeness);
        assert!(
            (4..=8).contains(&overlap.n_terms()),
            "{}",
            overlap.n_terms()
        );
        for first in 0..106 {
            assert!((overlap.between(first, first) - 1.0).abs() < 1e-12);
            for second in 0..106 {
                let off = overlap.between(first, second) - likeness(first, second);
                assert!(off.abs() < 0.002, "{off} between {first} and {second}");
            }
        }
        let some = overlap.of_times(&[3, 50]);
        assert_eq!(some.between(0, 1), overlap.between(3, 50));
    }

    #[test]
    fn probes_that_stay_share_all() {
        assert_eq!(Overlap::new(7, 0.001, |_, _| 1.0), Overlap::whole(7));
    }
}
