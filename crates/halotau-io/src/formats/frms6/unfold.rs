//! How do the two stored halves become a pattern?

/// Sizes of stored frames and of patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Rows in the file, each of both halves.
    pub(super) stored_rows: usize,
    /// Rows of the two halves above each other.
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// Rows of the detector that the camera summed to one.
    pub(super) bin: usize,
    /// How often each row is repeated in the pattern.
    pub(super) repeat: usize,
}

impl Geometry {
    /// Calls a function with each row of the unfolded frame: its number, its stored pixels, and whether they are backward.
    fn for_each_row<T>(&self, stored: &[T], mut with: impl FnMut(usize, &[T], bool)) {
        let rows = stored.chunks_exact(2 * self.n_cols).take(self.stored_rows);
        for (row_idx, row) in rows.enumerate() {
            let (upper, lower) = row.split_at(self.n_cols);
            with(row_idx, upper, false);
            with(self.n_rows - 1 - row_idx, lower, true);
        }
    }

    /// Where a row of the unfolded frame begins in the pattern.
    fn start(&self, row_idx: usize) -> usize {
        row_idx * self.repeat * self.n_cols
    }

    /// Repeats a row that is written in the pattern.
    fn repeat_row<T: Copy>(&self, row_idx: usize, pattern: &mut [T]) {
        let start = self.start(row_idx);
        for copy in 1..self.repeat {
            pattern.copy_within(start..start + self.n_cols, start + copy * self.n_cols);
        }
    }
}

/// Unfolds and repeats rows.
pub(super) fn unfold<T: Copy>(stored: &[T], pattern: &mut [T], geometry: &Geometry) {
    geometry.for_each_row(stored, |row_idx, from, is_backward| {
        let start = geometry.start(row_idx);
        let to = &mut pattern[start..start + geometry.n_cols];
        if is_backward {
            to.iter_mut()
                .zip(from.iter().rev())
                .for_each(|(to, from)| *to = *from);
        } else {
            to.copy_from_slice(from);
        }
        geometry.repeat_row(row_idx, pattern);
    });
}

/// Unfolds, subtracts the dark (of an unfolded frame), repeats rows, multiplies by the gain (of a pattern).
pub(super) fn correct(
    stored: &[u16],
    dark: Option<&[f32]>,
    gain: Option<&[f32]>,
    pattern: &mut [f32],
    geometry: &Geometry,
) {
    geometry.for_each_row(stored, |row_idx, from, is_backward| {
        let start = geometry.start(row_idx);
        let to = &mut pattern[start..start + geometry.n_cols];
        if is_backward {
            to.iter_mut()
                .zip(from.iter().rev())
                .for_each(|(to, &from)| *to = f32::from(from));
        } else {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, &from)| *to = f32::from(from));
        }
        if let Some(dark) = dark {
            let dark = &dark[row_idx * geometry.n_cols..][..geometry.n_cols];
            to.iter_mut().zip(dark).for_each(|(to, dark)| *to -= dark);
        }
        geometry.repeat_row(row_idx, pattern);
    });
    if let Some(gain) = gain {
        pattern
            .iter_mut()
            .zip(gain)
            .for_each(|(to, gain)| *to *= gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_half_is_stored_backward_and_from_below() {
        // Two stored rows of 2 + 2 pixels.
        let stored = [1_u16, 2, 13, 12, 3, 4, 11, 10];
        let geometry = |repeat| Geometry {
            stored_rows: 2,
            n_rows: 4,
            n_cols: 2,
            bin: 2,
            repeat,
        };
        let mut pattern = [0; 8];
        unfold(&stored, &mut pattern, &geometry(1));
        assert_eq!(pattern, [1, 2, 3, 4, 10, 11, 12, 13]);
        let mut pattern = [0; 16];
        unfold(&stored, &mut pattern, &geometry(2));
        assert_eq!(
            pattern,
            [1, 2, 1, 2, 3, 4, 3, 4, 10, 11, 10, 11, 12, 13, 12, 13]
        );
        let mut corrected = [0.0; 16];
        let dark: Vec<f32> = (0..8).map(|n| n as f32 * 0.5).collect();
        let gain: Vec<f32> = (0..16).map(|n| n as f32).collect();
        correct(
            &stored,
            Some(&dark),
            Some(&gain),
            &mut corrected,
            &geometry(2),
        );
        // Row 3 of the unfolded frame is 12, 13; its dark 3.0, 3.5; its second copy begins at 14.
        assert_eq!(corrected[14..], [14.0 * 9.0, 15.0 * 9.5]);
        assert_eq!(corrected[..2], [0.0, 1.5]);
    }
}
