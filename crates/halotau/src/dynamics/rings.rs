//! Is tau the same at every Q?
//!
//! ```text
//! x_j = ln tau of the mean curve of ring j          de Gennes: tau follows S(Q) where relaxation is collective
//! T²  of the differences of x_j from their mean, by the covariance of their pseudo-values among tiles
//! ```
//!
//! Rings nearer than the width of a speckle see the same speckles in part; the covariance among tiles holds that. All positions
//! of a region enter the mean of each ring, a mixture over places as the map's ensemble curve is.

use serde::{Deserialize, Serialize};

use super::covariance::zero_p_value;
use super::measure::CurveSettings;
use super::tiles::{Tiles, p_value, without_each};
use super::{interval_text, p_text};
use crate::relax::Stretch;
use crate::series::Position;
use crate::statistics::Estimate;

/// tau of rings of Q.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingTimes {
    /// One a ring, from the lowest Q.
    pub rings: Vec<RingTime>,
    /// Positions whose curves were averaged.
    pub n_positions: usize,
    /// Probability of differences so large where tau is the same at every Q.
    #[serde(with = "crate::nonfinite")]
    pub p_value: f64,
    /// Slope of ln tau over Q, nm.
    pub slope_nm: Estimate,
    /// Probability of such a slope where tau is the same at every Q.
    #[serde(with = "crate::nonfinite")]
    pub slope_p_value: f64,
}

/// One ring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RingTime {
    /// Lower end of the ring.
    pub q_min_per_nm: f64,
    /// Upper end.
    pub q_max_per_nm: f64,
    /// Mean Q of its pixels.
    pub q_per_nm: f64,
    /// Pixels of the ring at a position.
    pub n_pixels: usize,
    /// tau of its mean curve.
    pub tau_s: Estimate,
    /// Contrast of its mean curve.
    pub contrast: Estimate,
    /// Mean counts a pixel and scan: the halo that tau may follow.
    #[serde(with = "crate::nonfinite")]
    pub mean_counts: f64,
}

impl RingTimes {
    /// What it says.
    pub fn sentence(&self) -> String {
        let range = match (self.rings.first(), self.rings.last()) {
            (Some(first), Some(last)) => {
                format!("{:.1}-{:.1} 1/nm", first.q_min_per_nm, last.q_max_per_nm)
            }
            _ => String::new(),
        };
        let slope = format!("slope of ln τ {} per 1/nm", interval_text(&self.slope_nm));
        if self.p_value.is_nan() {
            format!(
                "Whether τ depends on Q over {range} cannot be told: τ of a ring is beyond what the record shows."
            )
        } else if self.p_value < 0.05 {
            format!(
                "τ depends on Q over {range} ({}; {slope}): a map of another ring is a map of another time.",
                p_text(self.p_value)
            )
        } else {
            format!(
                "No dependence of τ on Q over {range} beyond chance ({}; {slope}).",
                p_text(self.p_value)
            )
        }
    }
}

/// What is known of a ring besides its curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RingGeometry {
    /// Lower end.
    pub q_min_per_nm: f64,
    /// Upper end.
    pub q_max_per_nm: f64,
    /// Mean Q of its pixels.
    pub q_per_nm: f64,
    /// Pixels at a position.
    pub n_pixels: usize,
}

/// Sums over positions of the curves of several rings, by tile.
#[derive(Debug)]
pub struct RingCurves {
    settings: CurveSettings,
    tiles: Tiles,
    rings: Vec<RingGeometry>,
    /// `[ring][tile]`: sum of curves less the baseline, sum of mean counts, number of positions.
    sums: Vec<Vec<(Vec<f64>, f64, f64)>>,
    n_positions: usize,
}

impl RingCurves {
    /// No curve yet.
    pub fn new(settings: CurveSettings, tiles: Tiles, rings: Vec<RingGeometry>) -> Self {
        let empty = (vec![0.0; settings.lag_s.len()], 0.0, 0.0);
        Self {
            sums: vec![vec![empty; tiles.len()]; rings.len()],
            n_positions: 0,
            settings,
            tiles,
            rings,
        }
    }

    /// Adds the curves g of a position, one a ring with its mean counts, where none lacks a lag that the record holds.
    pub fn add(&mut self, position: Position, curves: &[(Vec<f64>, f64)]) {
        let Some(tile) = self.tiles.at(position.row, position.col) else {
            return;
        };
        let settings = &self.settings;
        if !curves
            .iter()
            .all(|(g, _)| settings.is_whole(g.iter().copied()))
        {
            return;
        }
        for ((g, counts), tiles) in curves.iter().zip(&mut self.sums) {
            let sums = &mut tiles[tile];
            let values = sums.0.iter_mut().zip(g);
            values.for_each(|(sum, g)| *sum += g - self.settings.baseline);
            sums.1 += counts;
            sums.2 += 1.0;
        }
        self.n_positions += 1;
    }

    /// Fits the mean curves and tests their equality. `None` with fewer than two rings or six tiles.
    pub fn finish(&self) -> Option<RingTimes> {
        let n_tiles = self.tiles.len();
        let errors = self.tiles.errors();
        if self.rings.len() < 2 || !self.tiles.are_enough() || self.n_positions < 2 * n_tiles {
            return None;
        }
        let settings = &self.settings;
        let stretch = match settings.stretch {
            Stretch::Free { .. } => Stretch::Fixed(1.0),
            fixed => fixed,
        };
        let fit = |ring: usize, without: Option<usize>| {
            let mut mean = vec![0.0; settings.lag_s.len()];
            let mut n = 0.0;
            let kept = self.sums[ring]
                .iter()
                .enumerate()
                .filter(|(tile, _)| Some(*tile) != without);
            for (_, (sum, _, count)) in kept {
                mean.iter_mut()
                    .zip(sum)
                    .for_each(|(mean, sum)| *mean += sum);
                n += count;
            }
            mean.iter_mut().for_each(|mean| *mean /= n);
            settings.fit(&mean, &settings.valid, stretch)
        };
        let full: Vec<_> = (0..self.rings.len()).map(|ring| fit(ring, None)).collect();
        let replicates: Vec<Vec<_>> = (0..self.rings.len())
            .map(|ring| (0..n_tiles).map(|tile| fit(ring, Some(tile))).collect())
            .collect();
        let rings: Vec<RingTime> = self
            .rings
            .iter()
            .enumerate()
            .map(|(ring, geometry)| {
                let taus: Vec<f64> = replicates[ring].iter().map(|fit| fit.tau_s).collect();
                let (counts, n) = self.sums[ring]
                    .iter()
                    .fold((0.0, 0.0), |(counts, n), sums| {
                        (counts + sums.1, n + sums.2)
                    });
                RingTime {
                    q_min_per_nm: geometry.q_min_per_nm,
                    q_max_per_nm: geometry.q_max_per_nm,
                    q_per_nm: geometry.q_per_nm,
                    n_pixels: geometry.n_pixels,
                    tau_s: errors.of_log(full[ring].tau_s, &taus, settings.level),
                    contrast: without_each(errors, settings.level, |without| match without {
                        None => full[ring].contrast,
                        Some(tile) => replicates[ring][tile].contrast,
                    }),
                    mean_counts: counts / n,
                }
            })
            .collect();
        let ln_tau = |ring: usize, without: Option<usize>| {
            let fit = without.map_or(&full[ring], |tile| &replicates[ring][tile]);
            if fit.tau_s < 0.99 * settings.tau_bounds_s[1] {
                libm::log(fit.tau_s)
            } else {
                f64::NAN
            }
        };
        let n_rings = self.rings.len();
        // Pseudo-values of the differences from ring to ring: all of them are zero where tau is the same.
        let m = n_tiles as f64;
        let pseudo: Vec<Vec<f64>> = (0..n_tiles)
            .map(|tile| {
                (1..n_rings)
                    .map(|ring| {
                        let difference =
                            |without| ln_tau(ring, without) - ln_tau(ring - 1, without);
                        m * difference(None) - (m - 1.0) * difference(Some(tile))
                    })
                    .collect()
            })
            .collect();
        let middle = rings.iter().map(|ring| ring.q_per_nm).sum::<f64>() / n_rings as f64;
        let below: f64 = rings
            .iter()
            .map(|ring| (ring.q_per_nm - middle).powi(2))
            .sum();
        let slope_nm = without_each(errors, settings.level, |without| {
            let above: f64 = rings
                .iter()
                .enumerate()
                .map(|(at, ring)| (ring.q_per_nm - middle) * ln_tau(at, without))
                .sum();
            above / below
        });
        Some(RingTimes {
            p_value: zero_p_value(&pseudo, errors.widening),
            slope_p_value: p_value(&slope_nm, n_tiles),
            slope_nm,
            rings,
            n_positions: self.n_positions,
        })
    }
}
