//! Which samples of a pattern are summed into which pixel of the annulus, in pieces that vectors can take.
//!
//! The pixels of an annulus follow one another in runs along the rows of the grid, a dozen at a time. A run is cut into pieces of
//! fixed length, so that a piece needs no decision. The last piece of a run is longer than what is left of it: what it
//! writes too much is overwritten by the next. Pixels that lack some of their native pixels are summed one by one, last of all.

use super::exact::Unsigned;
use super::position::Count;

/// Binned pixels of a piece.
const PIECE: usize = 16;

/// The look-up table of one shift of the pattern.
#[derive(Debug)]
pub(super) struct Gather {
    bin: usize,
    n_cols: usize,
    n_pixels: usize,
    /// First native pixel and first annulus pixel of each piece, in the order of the annulus.
    pieces: Vec<(u32, u32)>,
    /// Annulus pixels that no piece takes, and where their native pixels end in `native`.
    single: Vec<(u32, u32)>,
    native: Vec<u32>,
}

/// The patterns that a table is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Native pixels along the side of a binned one.
    pub(super) bin: usize,
    /// Columns of a pattern.
    pub(super) n_cols: usize,
    /// Pixels of a pattern.
    pub(super) frame_len: usize,
    /// The most that a move adds to the index of a native pixel.
    pub(super) largest_offset: isize,
}

impl Gather {
    /// The table for annulus pixels whose native pixels are given, row by row where all are there.
    pub(super) fn new<P: AsRef<[u32]>>(native: &[P], grid: Grid) -> Self {
        let Grid { bin, n_cols, .. } = grid;
        let mut gather = Self {
            bin,
            n_cols,
            n_pixels: native.len(),
            pieces: Vec::new(),
            single: Vec::new(),
            native: Vec::new(),
        };
        let is_whole = |pixel: usize| native[pixel].as_ref().len() == bin * bin;
        let first = |pixel: usize| native[pixel].as_ref()[0];
        // What a piece reads and writes too much must lie inside as well, wherever the pattern moves.
        let fits = |pixel: usize| {
            let end = first(pixel) as usize + (bin - 1) * n_cols + PIECE * bin;
            end as isize + grid.largest_offset.max(0) <= grid.frame_len as isize
                && pixel + PIECE <= native.len()
        };
        let follows =
            |pixel: usize, next: usize| is_whole(next) && first(next) == first(pixel) + bin as u32;
        let mut pixel = 0;
        while pixel < native.len() {
            if !(is_whole(pixel) && fits(pixel)) {
                gather.native.extend(native[pixel].as_ref());
                let end = gather.native.len() as u32;
                gather.single.push((pixel as u32, end));
                pixel += 1;
                continue;
            }
            gather.pieces.push((first(pixel), pixel as u32));
            let start = pixel;
            pixel += 1;
            while pixel < start + PIECE && pixel < native.len() && follows(pixel - 1, pixel) {
                pixel += 1;
            }
        }
        gather
    }

    /// Number of annulus pixels.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.n_pixels
    }

    /// Takes the annulus out of one pattern, which a move has brought `offset` native pixels on.
    #[inline(always)]
    pub(super) fn take<S: Unsigned, C: Count>(&self, pattern: &[S], offset: isize, kept: &mut [C]) {
        match self.bin {
            1 => self.take_binned::<1, PIECE, S, C>(pattern, offset, kept),
            2 => self.take_binned::<2, { 2 * PIECE }, S, C>(pattern, offset, kept),
            4 => self.take_binned::<4, { 4 * PIECE }, S, C>(pattern, offset, kept),
            _ => self.take_any(pattern, offset, kept),
        }
        let mut start = 0;
        for &(pixel, end) in &self.single {
            let native = &self.native[start..end as usize];
            let sum = native
                .iter()
                .map(|&at| -> u32 { pattern[moved(at, offset)].into() })
                .sum();
            kept[pixel as usize] = C::from_exact(sum);
            start = end as usize;
        }
    }

    /// Pieces of blocks of `BIN` x `BIN` native pixels, `WIDTH` of them along a row.
    #[inline(always)]
    fn take_binned<const BIN: usize, const WIDTH: usize, S: Unsigned, C: Count>(
        &self,
        pattern: &[S],
        offset: isize,
        kept: &mut [C],
    ) {
        for &(from, to) in &self.pieces {
            let from = moved(from, offset);
            let mut sums = [0_u32; WIDTH];
            for row in 0..BIN {
                let samples = &pattern[from + row * self.n_cols..][..WIDTH];
                for at in 0..WIDTH {
                    sums[at] += samples[at].into();
                }
            }
            let (blocks, _) = sums.as_chunks::<BIN>();
            let kept = &mut kept[to as usize..][..PIECE];
            for (kept, block) in kept.iter_mut().zip(blocks) {
                *kept = C::from_exact(block.iter().sum());
            }
        }
    }

    /// As [`Self::take_binned`] for a binning that has no kernel of its own.
    #[inline(always)]
    fn take_any<S: Unsigned, C: Count>(&self, pattern: &[S], offset: isize, kept: &mut [C]) {
        for &(from, to) in &self.pieces {
            let from = moved(from, offset);
            for (at, kept) in kept[to as usize..][..PIECE].iter_mut().enumerate() {
                let mut sum = 0;
                for row in 0..self.bin {
                    let start = from + row * self.n_cols + at * self.bin;
                    for &sample in &pattern[start..start + self.bin] {
                        let count: u32 = sample.into();
                        sum += count;
                    }
                }
                *kept = C::from_exact(sum);
            }
        }
    }
}

/// Index of a native pixel after a move; valid pixels stay on the detector.
#[inline(always)]
pub(super) fn moved(at: u32, offset: isize) -> usize {
    (at as isize + offset) as usize
}
