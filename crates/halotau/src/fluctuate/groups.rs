//! Sums over groups of pixels, each for all scans at once, and what V is made of.
//!
//! A group is a ring in a sector, or a ring in a part of the directions. What is asked of a group is linear in the sums of its pixels, so
//! pixels that belong to the same groups are summed once and added to each of them. The sums of counts are integers: exact in any order.

use crate::simd::{Isa, dispatch};

/// Rows of sums that every group has.
pub(super) const N: usize = 0;
pub(super) const SUM: usize = 1;
pub(super) const SQUARE: usize = 2;
/// Sum of counts over coverage: the variance that an electron adds, at unit gain.
pub(super) const SHOT: usize = 3;
/// Of the products with the next scan.
pub(super) const PRODUCT: usize = 4;

/// Where samples are missing, of the pixels that the next scan has as well: number, sum here, sum there.
pub(super) const BOTH: [usize; 3] = [5, 6, 7];

/// What V of each scan is made of, times the number of pixels; and that number.
pub(super) const PARTS: usize = 5;

/// How the rows of a group lie in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Padded times and one more vector, so that what follows a time is always there.
    pub(super) stride: usize,
    /// Whether samples are missing.
    pub(super) has_gaps: bool,
}

impl Layout {
    /// Numbers of a group.
    pub(super) fn len(self) -> usize {
        self.stride * if self.has_gaps { 8 } else { 5 }
    }
}

/// The sums of some groups, `[group, row, time]`.
#[derive(Debug)]
pub(super) struct Groups {
    layout: Layout,
    values: Vec<f64>,
}

impl Groups {
    pub(super) fn new(n_groups: usize, layout: Layout) -> Self {
        Self {
            layout,
            values: vec![0.0; n_groups * layout.len()],
        }
    }

    /// Adds the sums of some pixels, or takes them away, to those of a group.
    pub(super) fn add(&mut self, group: usize, sums: &[f64], sign: f64) {
        let len = self.layout.len();
        add_rows(
            Isa::best(),
            &mut self.values[group * len..][..len],
            sums,
            sign,
        );
    }

    /// Group after group.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.layout.len())
    }

    /// The sums of one group.
    pub(super) fn sums(&self, group: usize) -> &[f64] {
        let len = self.layout.len();
        &self.values[group * len..][..len]
    }

    /// Sets all sums to zero.
    pub(super) fn clear(&mut self) {
        self.values.fill(0.0);
    }
}

dispatch! {
    fn add_rows(target: &mut [f64], sums: &[f64], sign: f64) {
        add_all(target, sums, sign)
    }
}

#[inline(always)]
fn add_all(target: &mut [f64], sums: &[f64], sign: f64) {
    for (target, sum) in target.iter_mut().zip(sums) {
        *target += sign * sum;
    }
}

dispatch! {
    /// Adds what V of a group is made of, times its pixels, to `parts`, `[raw, shot, finite shot, two frames, pixels]` by time.
    pub(super) fn add_parts(group: &[f64], layout: Layout, parts: &mut [f64]) {
        add_parts_in_vectors(group, layout, parts)
    }
}

#[inline(always)]
fn add_parts_in_vectors(group: &[f64], layout: Layout, parts: &mut [f64]) {
    let stride = layout.stride;
    // The last vector of a row is there to be looked at from before alone.
    let len = stride.saturating_sub(crate::ring::pixel_series::TIME_PAD);
    let row = |row: usize, shift: usize| &group[row * stride + shift..][..len];
    let (n, sum, square, shot, product) = (
        row(N, 0),
        row(SUM, 0),
        row(SQUARE, 0),
        row(SHOT, 0),
        row(PRODUCT, 0),
    );
    let (both, here, there) = if layout.has_gaps {
        let [both, here, there] = BOTH;
        (row(both, 0), row(here, 0), row(there, 0))
    } else {
        (n, sum, row(SUM, 1))
    };
    let mut rows = parts.chunks_exact_mut(stride);
    let mut next = || rows.next().map_or(&mut [][..], |row| &mut row[..len]);
    let (raw, noise, finite, two_frame, weight) = (next(), next(), next(), next(), next());
    for time in 0..len {
        let n = n[time];
        let mean_square = sum[time] * sum[time];
        let shot = shot[time] * n / mean_square;
        let own = [
            n * (square[time] * n / mean_square - 1.0),
            n * shot,
            // What is left of it after the pixels' own mean was taken: 1 − 1/n of it.
            (n - 1.0) * shot,
            n * (product[time] * both[time] / (here[time] * there[time]) - 1.0),
        ];
        // A ring without pixels has no value and no weight.
        let [own_raw, own_noise, own_finite, own_two] =
            own.map(|value| if n > 0.0 { value } else { 0.0 });
        raw[time] += own_raw;
        noise[time] += own_noise;
        finite[time] += own_finite;
        two_frame[time] += own_two;
        weight[time] += n;
    }
}
