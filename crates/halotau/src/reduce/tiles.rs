//! Which frames of a shard are read together?
//!
//! What a file decodes at once is read at once. Beyond that a tile holds several scans of its positions, so that the sums of a
//! position go through the cache once for all of them, and no more positions than fit in the memory given. Where a file decodes more
//! rows at once than a shard holds, shards are read in groups.
//!
//! What is asked of a disk and what is taken from it are not the same: tiles are large, so that a disk is busy, and they are taken in
//! pieces, so that what was copied is still in the cache when it is summed.

use std::ops::Range;

use super::Shard;
use super::listed::list_bytes;
use super::plan::ReducePlan;
use crate::source::FrameSource;

/// Scans of a position of which patterns are summed while its sums are in the cache.
const TIMES_AT_ONCE: usize = 8;

/// A tile is at most this large, a MiB a scan: beyond what a request to a disk costs; larger ones only leave the caches.
const MAX_TILE_BYTES: usize = 8 << 20;

/// A tile is taken in pieces of this size, which stay in the second cache of a processor with what is kept of them, or of one unit that
/// the file decodes at once.
const PIECE_BYTES: usize = 512 << 10;

/// Groups of positions that a thread takes at least, one after another, where there are several threads.
const GROUPS_A_THREAD: usize = 3;

/// How a shard is read.
pub(super) struct Tiles {
    /// Positions that are read together, in one run of frames of each scan.
    pub(super) groups: Vec<Range<usize>>,
    /// The groups cut into what is read and summed at once.
    pieces: Vec<Range<usize>>,
    /// Scans that are read together.
    pub(super) n_times: usize,
    /// Groups in memory at once.
    pub(super) n_at_once: usize,
}

impl Tiles {
    /// Tiles of whole chunks of the file that fit in the buffer together; one at least.
    pub(super) fn of(
        plan: &ReducePlan,
        source: &dyn FrameSource,
        shard: &Shard,
        buffer_bytes: usize,
    ) -> Self {
        let units = plan.units(shard);
        let list_bytes = plan.events_of(source).map(list_bytes);
        let frame_bytes = list_bytes.unwrap_or(plan.pattern_bytes());
        // So many lists that they are as long as the sums they are added to, which leave the cache between one tile and the next.
        let times_at_once = list_bytes.map_or(TIMES_AT_ONCE, |list_bytes| {
            let sum_bytes = plan.shape.frame_len() * size_of::<u32>();
            (sum_bytes / list_bytes).max(TIMES_AT_ONCE)
        });
        let n_times = plan.times_per_read(buffer_bytes, shard.n_rows, (frame_bytes, times_at_once));
        let n_read = |positions: &Range<usize>| plan.frames_of(shard, positions).len();
        let largest = units.iter().map(n_read).max().unwrap_or(1);
        let frames_fit = |bytes: usize| bytes / (n_times * frame_bytes).max(1);
        let n_threads = rayon::current_num_threads();
        let n_at_once = (frames_fit(buffer_bytes) / largest).clamp(1, n_threads);
        let most = frames_fit((buffer_bytes / n_at_once).min(MAX_TILE_BYTES)).max(largest);
        // Threads get equal numbers of groups, and more than one, so that none waits long for another.
        let n_frames = n_read(&(0..shard.n_rows * shard.n_cols));
        let least = if n_at_once > 1 {
            GROUPS_A_THREAD * n_at_once
        } else {
            1
        };
        let n_groups = n_frames
            .div_ceil(most)
            .max(least)
            .next_multiple_of(n_at_once);
        let n_frames = n_frames.div_ceil(n_groups).max(largest);
        // Frames of a narrow block follow one another within its rows alone, unless the file decodes whole rows anyway.
        let is_narrow = shard.n_cols < plan.shape.n_cols && !plan.decodes_rows(shard.n_rows);
        let same_run =
            |first: usize, next: usize| !is_narrow || first / shard.n_cols == next / shard.n_cols;
        // Threads that share a tile share all of it. Lists of events are decoded in large blocks of the file.
        let n_together = if n_at_once < n_threads || list_bytes.is_some() {
            n_frames
        } else {
            frames_fit(PIECE_BYTES)
        };
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut pieces: Vec<Range<usize>> = Vec::new();
        for unit in units {
            let extend = |last: &mut Range<usize>, most: usize| {
                let fits =
                    n_read(&(last.start..unit.end)) <= most && same_run(last.start, unit.start);
                if fits {
                    last.end = unit.end;
                }
                fits
            };
            let same_group = groups
                .last_mut()
                .is_some_and(|group| extend(group, n_frames));
            let same_piece = same_group
                && pieces
                    .last_mut()
                    .is_some_and(|piece| extend(piece, n_together));
            if !same_piece {
                pieces.push(unit.clone());
            }
            if !same_group {
                groups.push(unit);
            }
        }
        Self {
            groups,
            pieces,
            n_times,
            n_at_once,
        }
    }

    /// The pieces of a group, in their order.
    pub(super) fn pieces<'a>(
        &'a self,
        group: &'a Range<usize>,
    ) -> impl Iterator<Item = &'a Range<usize>> {
        self.pieces
            .iter()
            .filter(|piece| group.start <= piece.start && piece.end <= group.end)
    }
}

impl ReducePlan {
    /// Whether a block of so many scan rows is read by rows, because the file decodes several of them at once.
    fn decodes_rows(&self, n_rows: usize) -> bool {
        n_rows > 1 && self.chunk.n_rows > 1
    }

    /// The frames of a scan from the first to the last of a range of a block's positions.
    pub(super) fn frames_of(&self, shard: &Shard, positions: &Range<usize>) -> Range<usize> {
        match positions.clone().last() {
            Some(last) => self.frame_of(shard, positions.start)..self.frame_of(shard, last) + 1,
            None => 0..0,
        }
    }

    /// The positions of a block in the pieces that the file decodes at once.
    fn units(&self, shard: &Shard) -> Vec<Range<usize>> {
        let region = &self.settings.region;
        if self.decodes_rows(shard.n_rows) {
            let of_row = |row: usize| row * shard.n_cols;
            let first_row = region.rows[0] + shard.first_row;
            return cuts(first_row, shard.n_rows, self.chunk.n_rows)
                .map(|rows| of_row(rows.start)..of_row(rows.end))
                .collect();
        }
        let first_col = region.cols[0] + shard.first_col;
        (0..shard.n_rows)
            .flat_map(|row| {
                cuts(first_col, shard.n_cols, self.chunk.n_cols.max(1))
                    .map(move |cols| row * shard.n_cols + cols.start..row * shard.n_cols + cols.end)
            })
            .collect()
    }

    /// The most frames of a scan that are read at once at least, of a block of so many rows.
    fn largest_unit(&self, n_rows: usize) -> usize {
        if self.decodes_rows(n_rows) {
            self.chunk.n_rows.min(n_rows) * self.shape.n_cols
        } else {
            self.chunk.n_cols.clamp(1, self.shape.n_cols.max(1))
        }
    }

    /// Scans that are read at once within a memory budget for the reading buffer: whole chunks, at least one.
    fn times_per_read(
        &self,
        buffer_bytes: usize,
        n_rows: usize,
        (frame_bytes, times_at_once): (usize, usize),
    ) -> usize {
        let chunk = self.chunk.n_times.clamp(1, self.shape.n_times.max(1));
        let chunk_bytes = self.largest_unit(n_rows) * chunk * frame_bytes;
        let wanted = (times_at_once / chunk).max(1);
        let chunks = (buffer_bytes / chunk_bytes.max(1)).clamp(1, wanted);
        (chunks * chunk).min(self.shape.n_times.max(1))
    }

    /// Bytes that are read at once at least, whatever the budget, of a block of so many rows.
    pub fn smallest_read_bytes(&self, n_rows: usize) -> usize {
        let bytes = self.pattern_bytes();
        self.largest_unit(n_rows) * self.times_per_read(0, n_rows, (bytes, 1)) * bytes
    }

    fn pattern_bytes(&self) -> usize {
        self.shape.frame_len() * self.sample_type.n_bytes()
    }

    /// Scan rows that the file decodes at once, where they are more than those of a shard: to reduce them together spares decoding
    /// the same bytes for each shard.
    pub fn rows_decoded(&self) -> usize {
        let (shard_rows, _) = self.shard_shape();
        let (n_rows, _) = self.shift_row.dim();
        self.chunk.n_rows.clamp(shard_rows, n_rows.max(shard_rows))
    }

    /// Shards, given in their order, in groups of so many scan rows of what the file decodes at once; each alone where that is no
    /// more than the rows of a shard.
    pub fn groups<'a>(&self, shards: &'a [Shard], n_rows: usize) -> Vec<&'a [Shard]> {
        let (shard_rows, _) = self.shard_shape();
        if n_rows <= shard_rows {
            return shards.chunks(1).collect();
        }
        let chunk_rows = self.chunk.n_rows.max(1);
        let place = |shard: &Shard| {
            let row = self.settings.region.rows[0] + shard.first_row;
            (row / chunk_rows, row % chunk_rows / n_rows)
        };
        shards
            .chunk_by(|first, next| place(first) == place(next))
            .collect()
    }
}

/// Cuts `len` indices from `first` on at the multiples of a step; ranges count from `first`.
fn cuts(first: usize, len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let to_next = step - (first + start) % step;
        let range = start..(start + to_next).min(len);
        start = range.end;
        (!range.is_empty()).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lie_at_multiples_of_the_chunk_in_the_file() {
        let found: Vec<_> = cuts(5, 9, 4).collect();
        assert_eq!(found, [0..3, 3..7, 7..9]);
        assert!(cuts(4, 3, 8).eq(std::iter::once(0..3)));
        assert_eq!(cuts(0, 0, 8).count(), 0);
    }
}
