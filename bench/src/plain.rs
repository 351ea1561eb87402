//! The same job without any care for speed: one loop an equation.

use halotau::axes::QRange;
use halotau::ndarray::{Array2, Array3, Array4, ArrayView5};
use halotau::reduce::Reduction;
use halotau::ring::{Ring, RingSeries};
use halotau::with_counts;

/// What the pass keeps.
pub(crate) struct Reduced {
    /// `[row, col, time, pixel]`.
    ring: Array4<u16>,
    mean_pattern: Array2<f64>,
    /// `[time, row, col]`.
    virtual_image: Array3<f64>,
    /// `[row, col, q]`.
    q_sums: Array3<f64>,
}

/// Counts on the annulus, mean pattern, virtual images and sums per q, pattern by pattern.
pub(crate) fn reduce(
    counts: ArrayView5<'_, u16>,
    center: [f64; 2],
    q_step: f64,
    annulus: QRange,
) -> Reduced {
    let (n_times, n_rows, n_cols, pattern_rows, pattern_cols) = counts.dim();
    let q = Array2::from_shape_fn((pattern_rows, pattern_cols), |(row, col)| {
        (row as f64 - center[0]).hypot(col as f64 - center[1]) * q_step
    });
    let pixels: Vec<(usize, usize)> = q
        .indexed_iter()
        .filter(|(_, q)| annulus.contains(**q))
        .map(|(at, _)| at)
        .collect();
    let q_bin = q.mapv(|q| (q / q_step) as usize);
    let n_bins = q_bin.iter().max().map_or(0, |bin| bin + 1);
    let mut reduced = Reduced {
        ring: Array4::zeros((n_rows, n_cols, n_times, pixels.len())),
        mean_pattern: Array2::zeros((pattern_rows, pattern_cols)),
        virtual_image: Array3::zeros((n_times, n_rows, n_cols)),
        q_sums: Array3::zeros((n_rows, n_cols, n_bins)),
    };
    for time in 0..n_times {
        for row in 0..n_rows {
            for col in 0..n_cols {
                for pattern_row in 0..pattern_rows {
                    for pattern_col in 0..pattern_cols {
                        let count = f64::from(counts[[time, row, col, pattern_row, pattern_col]]);
                        reduced.mean_pattern[[pattern_row, pattern_col]] += count;
                        reduced.virtual_image[[time, row, col]] += count;
                        reduced.q_sums[[row, col, q_bin[[pattern_row, pattern_col]]]] += count;
                    }
                }
                for (pixel, &(pattern_row, pattern_col)) in pixels.iter().enumerate() {
                    reduced.ring[[row, col, time, pixel]] =
                        counts[[time, row, col, pattern_row, pattern_col]];
                }
            }
        }
    }
    reduced.mean_pattern /= (n_times * n_rows * n_cols) as f64;
    reduced
}

impl Reduced {
    /// Panics unless halotau's pass kept the same: sums of integers, hence exactly.
    pub(crate) fn assert_same(&self, reduction: &Reduction, series: &[RingSeries]) {
        assert_eq!(self.mean_pattern, reduction.mean_pattern);
        assert_eq!(self.virtual_image, reduction.virtual_image);
        for (at, &sum) in reduction.q_sums.indexed_iter() {
            assert_eq!(sum, self.q_sums[at], "q bin at {at:?}");
        }
        for block in series {
            with_counts!(&block.counts, counts => {
                for ((row, col, time, pixel), &count) in counts.indexed_iter() {
                    let plain = self.ring[[block.first_row + row, block.first_col + col, time, pixel]];
                    assert_eq!(f64::from(count), f64::from(plain));
                }
            });
        }
    }
}

/// g of every position from eq. (1) and (2), pair of scans by pair of scans.
pub(crate) fn correlate(series: &[RingSeries], ring: &Ring) -> Vec<f64> {
    let mut curves = Vec::new();
    for block in series {
        let (n_rows, n_cols, n_times, _) = block.dim();
        for row in 0..n_rows {
            for col in 0..n_cols {
                let counts = block.position(row, col, &ring.pixels);
                let n_pixels = counts.ncols() as f64;
                let mean: Vec<f64> = counts
                    .rows()
                    .into_iter()
                    .map(|scan| scan.iter().sum::<f64>() / n_pixels)
                    .collect();
                for lag in 1..n_times {
                    let mut sum = 0.0;
                    for first in 0..n_times - lag {
                        let mut product = 0.0;
                        for (early, late) in counts.row(first).iter().zip(counts.row(first + lag)) {
                            product += early * late;
                        }
                        sum += product / n_pixels / (mean[first] * mean[first + lag]);
                    }
                    curves.push(sum / (n_times - lag) as f64);
                }
            }
        }
    }
    curves
}
