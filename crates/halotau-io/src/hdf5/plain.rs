//! Which bytes of an HDF5 file hold the frames of a run?
//!
//! Frames that are not compressed lie in the file as they are kept in memory, in one piece or in blocks of whole frames. They are read to
//! their places, and those that follow each other in one read; compressed blocks are decoded first. In either case the file
//! hears what will be read, so that the disk is busy meanwhile.
//!
//! ```text
//! frame n of a dataset in one piece   address of the dataset + n · bytes of a frame
//! frame n of a block of whole frames  address of its block + (place of n in the block) · bytes of a frame
//! ```

use halotau::series::{FrameBlock, FrameRun};

use super::source::{Hdf5Source, Storage};
use crate::error::Result;
use crate::sample_bytes::little_endian_mut;

/// Bytes of the file that are frames of a run as they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    address: u64,
    n_bytes: u64,
    /// Index of the first frame in the run.
    first: usize,
}

impl Hdf5Source {
    /// Where the frames of a run lie; `None` where they are not stored as they are kept, or were not all written.
    pub(super) fn stretches(&self, run: &FrameRun) -> Option<Vec<Stretch>> {
        let is_kept_so = self.number.number_type.is_sample()
            && !self.number.big_endian
            && cfg!(target_endian = "little");
        if !is_kept_so {
            return None;
        }
        let shape = &self.header.shape;
        let frame_bytes = shape.frame_len() as u64 * self.grid.sample_bytes;
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut push = |address: u64, n_frames: u64, first: usize| {
            let n_bytes = n_frames * frame_bytes;
            match stretches.last_mut() {
                Some(last)
                    if last.address + last.n_bytes == address
                        && last.first as u64 + last.n_bytes / frame_bytes == first as u64 =>
                {
                    last.n_bytes += n_bytes;
                }
                _ => stretches.push(Stretch {
                    address,
                    n_bytes,
                    first,
                }),
            }
        };
        match &self.storage {
            Storage::Contiguous(address) => {
                for number in 0..run.n_times {
                    let time = run.first_time + number;
                    let frame = (time * shape.n_positions() + run.first_frame) as u64;
                    let first = number * run.n_frames;
                    push(address + frame * frame_bytes, run.n_frames as u64, first);
                }
            }
            Storage::Chunks if !self.dataset.is_filtered() && self.grid.holds_whole_frames() => {
                let index = self.dataset.index().ok()?;
                let block_bytes = self.grid.chunk.iter().product::<u64>() * self.grid.sample_bytes;
                for (block, pieces) in self.grid.pieces(shape, run) {
                    // Blocks of whole frames have one block along the axes of the pattern.
                    let whole = [block.as_slice(), &[0, 0]].concat();
                    let stored = index.find(self.numbers(&whole).0);
                    let stored = stored.filter(|stored| stored.n_bytes == block_bytes)?;
                    for piece in pieces {
                        let start = self.grid.frame_in_block(&piece) * frame_bytes;
                        push(stored.address + start, piece.n_frames, piece.out);
                    }
                }
            }
            _ => return None,
        }
        Some(stretches)
    }

    /// Fills a prepared block from where its frames lie.
    pub(super) fn read_stretches(
        &self,
        stretches: &[Stretch],
        block: &mut FrameBlock,
    ) -> Result<()> {
        for stretch in stretches {
            let start = stretch.first * self.header.shape.frame_len();
            let n_samples = (stretch.n_bytes / self.grid.sample_bytes) as usize;
            if let Some(bytes) = little_endian_mut(&mut block.samples, start..start + n_samples) {
                self.dataset.file.read_samples(stretch.address, bytes)?;
            }
        }
        Ok(())
    }

    /// The parts of the file that will be read for a run, in order, `(address, bytes)`.
    pub(super) fn stored_parts(&self, run: &FrameRun) -> Vec<(u64, u64)> {
        let mut parts: Vec<(u64, u64)> = Vec::new();
        let mut push = |address: u64, n_bytes: u64| match parts.last_mut() {
            Some((start, len)) if *start + *len == address => *len += n_bytes,
            _ => parts.push((address, n_bytes)),
        };
        match (self.stretches(run), &self.storage) {
            (Some(stretches), _) => {
                for stretch in stretches {
                    push(stretch.address, stretch.n_bytes);
                }
            }
            (None, Storage::Chunks) => {
                let Ok(index) = self.dataset.index() else {
                    return Vec::new();
                };
                for lead_block in self.grid.pieces(&self.header.shape, run).keys() {
                    for block in self.grid.tiles(lead_block) {
                        if let Some(stored) = index.find(self.numbers(&block).0) {
                            push(stored.address, stored.n_bytes);
                        }
                    }
                }
            }
            _ => {}
        }
        parts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::series::SeriesShape;
    use rust_hdf5::H5File;

    use super::super::dataset::Dataset;
    use super::super::file::Hdf5File;
    use super::*;

    const SHAPE: SeriesShape = SeriesShape {
        n_times: 3,
        n_rows: 4,
        n_cols: 5,
        pattern_rows: 6,
        pattern_cols: 7,
    };

    fn source(chunk: Option<[usize; 5]>, gzip: bool) -> Hdf5Source {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("series.h5");
        let file = H5File::create(&path).unwrap();
        let mut builder = file.new_dataset::<u16>().shape([3, 4, 5, 6, 7]);
        if let Some(chunk) = chunk {
            builder = builder.chunk(&chunk);
        }
        if gzip {
            builder = builder.shuffle_deflate(4);
        }
        let dataset = builder.create("frames").unwrap();
        let samples: Vec<u16> = (0..SHAPE.n_times * SHAPE.n_positions() * SHAPE.frame_len())
            .map(|n| n as u16)
            .collect();
        dataset.write_raw(&samples).unwrap();
        file.close().unwrap();
        let dataset = Dataset::find(&Hdf5File::open(&path).unwrap(), "frames").unwrap();
        let dims = dataset.dims.clone();
        Hdf5Source::new(dataset, dims, SHAPE, "series", "HDF5").unwrap()
    }

    #[test]
    fn frames_that_follow_each_other_are_read_at_once() {
        let frame_bytes = (SHAPE.frame_len() * 2) as u64;
        let rows = FrameRun {
            first_time: 1,
            n_times: 2,
            first_frame: 5,
            n_frames: 10,
        };
        let lens = |source: &Hdf5Source, run: &FrameRun| {
            let stretches = source.stretches(run).unwrap();
            let n_frames = stretches
                .iter()
                .map(|stretch| stretch.n_bytes / frame_bytes);
            n_frames.collect::<Vec<_>>()
        };
        let one_piece = source(None, false);
        assert_eq!(lens(&one_piece, &SHAPE.whole()), [60]);
        assert_eq!(lens(&one_piece, &rows), [10, 10]);
        let frame_each = source(Some([1, 1, 1, 6, 7]), false);
        assert_eq!(lens(&frame_each, &rows).iter().sum::<u64>(), 20);
        // As many as there are blocks that do not follow the one before.
        let index = frame_each.dataset.index().unwrap();
        let addresses: Vec<u64> = (0..60)
            .map(|number| index.find(number).unwrap().address)
            .collect();
        let follow = addresses
            .windows(2)
            .filter(|pair| pair[0] + frame_bytes == pair[1]);
        let n_stretches = 60 - follow.count();
        assert_eq!(lens(&frame_each, &SHAPE.whole()).len(), n_stretches);
        // The row of the next scan follows in the file, but not in the run.
        let all_times = source(Some([3, 1, 5, 6, 7]), false);
        assert_eq!(lens(&all_times, &rows), [5, 5, 5, 5]);
    }

    #[test]
    fn blocks_that_must_be_decoded_are_no_stretches_but_are_expected() {
        let parts_of = [
            source(Some([1, 1, 1, 6, 7]), true),
            source(Some([1, 4, 5, 3, 7]), false),
        ];
        for source in parts_of {
            let whole = SHAPE.whole();
            assert!(source.stretches(&whole).is_none());
            let index = source.dataset.index().unwrap();
            let stored = (0..index.len()).filter_map(|number| index.find(number));
            let n_bytes: u64 = stored.map(|stored| stored.n_bytes).sum();
            let parts = source.stored_parts(&whole);
            assert_eq!(parts.iter().map(|part| part.1).sum::<u64>(), n_bytes);
        }
    }
}
