//! The exact kernel keeps what the plain one keeps, bit for bit, whatever is read together.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use ndarray::Array2;

use super::super::plan::{Kernel, ReduceSettings};
use super::super::{ReducePlan, Reduction};
use super::ShardSums;
use crate::axes::QRange;
use crate::calibrate::{Calibration, CenterPath, Descan};
use crate::recipe::Region;
use crate::ring::{RingCounts, RingSeries};
use crate::series::{
    ChunkShape, FrameBlock, FrameRun, Sample, SampleType, Samples, SeriesHeader, SeriesShape,
};
use crate::simd::Isa;
use crate::source::{EventBlock, EventSource, FrameSource, MemorySeries};
use crate::{with_counts, with_samples};

const SHAPE: SeriesShape = SeriesShape {
    n_times: 7,
    n_rows: 4,
    n_cols: 6,
    pattern_rows: 46,
    pattern_cols: 150,
};

/// Settings under which frames are summed differently.
#[derive(Clone, Copy)]
struct Case {
    bin: usize,
    masked: bool,
    descan: bool,
    moves: bool,
    region: Region,
    chunk: ChunkShape,
}

const WHOLE: Region = Region {
    rows: [0, 4],
    cols: [0, 6],
};

/// A part of each row, which is no run of the file.
const NARROW: Region = Region {
    rows: [1, 4],
    cols: [1, 6],
};

const ONE: ChunkShape = ChunkShape {
    n_times: 1,
    n_rows: 1,
    n_cols: 1,
};

/// Scans, rows and columns that divide nothing.
const CHUNKED: ChunkShape = ChunkShape {
    n_times: 3,
    n_rows: 1,
    n_cols: 4,
};

fn plan(source: &MemorySeries, case: Case) -> ReducePlan {
    let header = crate::source::FrameSource::header(source);
    let valid = |(row, col): (usize, usize)| !case.masked || (row * 7 + col) % 23 != 5;
    let valid = Array2::from_shape_fn((SHAPE.pattern_rows, SHAPE.pattern_cols), valid);
    let mut calibration = Calibration::centered((22.0, 75.0), 0.1, valid);
    if case.descan {
        calibration.descan = Descan {
            row_per_row: 1.4,
            col_per_col: -0.9,
            ..Descan::default()
        };
    }
    if case.moves {
        let path = CenterPath::new(vec![[0.0, 0.0, 0.0], [2.0, 1.2, -1.8], [5.0, -2.1, 3.0]]);
        calibration.follow(path, SHAPE.n_times);
    }
    let mut settings = ReduceSettings::of(header, calibration, QRange::new(0.6, 2.9)).unwrap();
    settings.bin = case.bin;
    settings.region = case.region;
    ReducePlan::new(header, settings).unwrap()
}

fn series(samples: Samples, chunk: ChunkShape) -> MemorySeries {
    let mut header = SeriesHeader::new("test", "memory", SHAPE, samples.sample_type());
    header.times_s = Some((0..SHAPE.n_times).map(|time| time as f64).collect());
    header.chunk = chunk;
    header.missing = vec![FrameRun {
        first_time: 2,
        n_times: 2,
        first_frame: 9,
        n_frames: 2,
    }];
    MemorySeries::new(header, samples).unwrap()
}

/// All that the pass keeps, as bits.
fn kept(
    source: &MemorySeries,
    case: Case,
    kernel: Option<Kernel>,
    n_threads: usize,
    buffer_bytes: usize,
) -> Vec<u64> {
    let mut plan = plan(source, case);
    plan.kernel = kernel.unwrap_or(plan.kernel);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .unwrap();
    let (reduction, rings) = pool.install(|| plan.reduce(source, buffer_bytes)).unwrap();
    bits(&reduction, &rings)
}

fn bits(reduction: &Reduction, rings: &[RingSeries]) -> Vec<u64> {
    let floats = reduction
        .mean_pattern
        .iter()
        .chain(&reduction.virtual_image)
        .chain(&reduction.q_sums)
        .map(|value| value.to_bits());
    let mut all: Vec<u64> = floats.collect();
    all.extend([reduction.n_saturated, reduction.n_missing_frames]);
    for ring in rings {
        with_counts!(&ring.counts, counts => {
            all.extend(counts.iter().map(|&count| f64::from(count).to_bits()));
        });
        all.extend(ring.frame_valid.iter().map(|&valid| u64::from(valid)));
    }
    all
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bin in 1..=4 {
        for (masked, descan, moves) in [
            (false, false, false),
            (true, true, false),
            (false, true, true),
            (true, true, true),
        ] {
            let (region, chunk) = if masked {
                (NARROW, CHUNKED)
            } else {
                (WHOLE, ONE)
            };
            cases.push(Case {
                bin,
                masked,
                descan,
                moves,
                region,
                chunk,
            });
        }
    }
    cases
}

/// Counts of which some are the highest of their type.
fn counts(highest: usize) -> impl Iterator<Item = usize> {
    let len = SHAPE.n_times * SHAPE.n_positions() * SHAPE.frame_len();
    (0..len).map(move |at| {
        if at % 3001 == 17 {
            highest
        } else {
            (at * at + 31 * at) % 251
        }
    })
}

#[test]
fn exact_sums_are_the_plain_ones() {
    let of_u8 = Samples::U8(counts(255).map(|count| count as u8).collect());
    let of_u16 = Samples::U16(counts(65_535).map(|count| count as u16).collect());
    for samples in [of_u8, of_u16] {
        for case in cases() {
            let source = series(samples.clone(), case.chunk);
            assert!(matches!(plan(&source, case).kernel, Kernel::Exact(_)));
            let plain = kept(&source, case, Some(Kernel::Plain), 1, 1 << 20);
            for isa in Isa::all() {
                let exact = kept(&source, case, Some(Kernel::Exact(isa)), 1, 1 << 20);
                assert!(exact == plain, "{isa:?}, bin {}", case.bin);
            }
        }
    }
}

/// A series whose frames are listed event by event, the counts of some pixels in two parts.
struct Listed<'a>(&'a MemorySeries);

impl FrameSource for Listed<'_> {
    fn header(&self) -> &SeriesHeader {
        self.0.header()
    }

    fn read(&self, _: &FrameRun, _: &mut FrameBlock) -> crate::error::Result<()> {
        panic!("patterns of lists are not made");
    }

    fn events(&self) -> Option<&dyn EventSource> {
        Some(self)
    }
}

impl EventSource for Listed<'_> {
    fn events_per_frame(&self) -> f64 {
        9.0
    }

    fn read_events(&self, run: &FrameRun, block: &mut EventBlock) -> crate::error::Result<()> {
        let mut patterns = FrameBlock::empty(self.header().sample_type);
        self.0.read(run, &mut patterns)?;
        with_samples!(&patterns.samples, samples => {
            for pattern in samples.chunks(SHAPE.frame_len()) {
                block.begin_frame();
                for part in 0..2 {
                    for (pixel, sample) in pattern.iter().enumerate() {
                        let count = sample.to_f64() as u32;
                        let count = [count / 2, count - count / 2][part];
                        if count > 0 {
                            *block.count_mut(pixel).unwrap() += count;
                        }
                    }
                }
            }
        });
        Ok(())
    }
}

#[test]
fn lists_of_events_give_what_patterns_give() {
    let few = |highest| {
        let counts = counts(highest).enumerate();
        counts.map(|(at, count)| {
            if at % 17 == 0 || count > 250 {
                count
            } else {
                0
            }
        })
    };
    let of_u8 = Samples::U8(few(255).map(|count| count as u8).collect());
    let of_u16 = Samples::U16(few(65_535).map(|count| count as u16).collect());
    let of_u32 = Samples::U32(few(u32::MAX as usize).map(|count| count as u32).collect());
    for samples in [of_u8, of_u16, of_u32] {
        for case in cases() {
            let overflows = samples.sample_type() == SampleType::U32 && case.bin > 1;
            let series = series(samples.clone(), case.chunk);
            let list = Listed(&series);
            for (n_threads, buffer_bytes) in [(1, 1 << 20), (3, 1)] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
                let reduced = |source: &dyn FrameSource| {
                    plan(&series, case)
                        .reduce(source, buffer_bytes)
                        .map(|(reduction, rings)| bits(&reduction, &rings))
                };
                let (of_lists, of_patterns) = pool
                    .build()
                    .unwrap()
                    .install(|| (reduced(&list), reduced(&series)));
                assert_eq!(of_patterns.is_err(), overflows, "bin {}", case.bin);
                match (of_lists, of_patterns) {
                    (Ok(of_lists), Ok(of_patterns)) => assert!(of_lists == of_patterns),
                    (of_lists, of_patterns) => {
                        let say = |found: crate::error::Result<_>| found.unwrap_err().to_string();
                        assert_eq!(say(of_lists), say(of_patterns));
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_read_together_changes_no_bit() {
    let of_u16 = Samples::U16(counts(65_535).map(|count| count as u16).collect());
    let of_f32 = Samples::F32(counts(999).map(|count| count as f32 * 0.37).collect());
    for samples in [of_u16, of_f32] {
        for case in [cases()[4], cases()[15]] {
            let source = series(samples.clone(), case.chunk);
            let one = kept(&source, case, None, 1, 1 << 30);
            for (n_threads, buffer_bytes) in [(2, 1 << 20), (3, 1), (8, 200_000)] {
                let other = kept(&source, case, None, n_threads, buffer_bytes);
                assert!(other == one, "{n_threads} threads, {buffer_bytes} bytes");
            }
        }
    }
}

#[test]
fn sums_beyond_the_type_of_the_counts_are_an_error() {
    let len = SHAPE.n_times * SHAPE.n_positions() * SHAPE.frame_len();
    let case = Case {
        bin: 2,
        ..cases()[0]
    };
    let source = series(Samples::U32(vec![u32::MAX; len]), ONE);
    let plan = plan(&source, case);
    assert!(matches!(
        plan.reduce(&source, 1 << 20),
        Err(crate::error::Error::CountOverflow { bin: 2 })
    ));
    // A shard without binning keeps them.
    let case = Case { bin: 1, ..case };
    let (_, rings) = self::plan(&source, case).reduce(&source, 1 << 20).unwrap();
    assert!(
        matches!(&rings[0].counts, RingCounts::U32(counts) if counts[[0, 0, 0, 0]] == u32::MAX)
    );
}

/// All that a shard gives; missing frames are NaN, which is compared as bits.
fn shard_bits((ring, sums): &(RingSeries, ShardSums)) -> (RingSeries, Vec<u64>) {
    let floats = sums.pattern_sum.iter().chain(&sums.pattern_count);
    let floats = floats.chain(&sums.virtual_image).chain(&sums.q_sums);
    let mut bits: Vec<u64> = floats.map(|value| value.to_bits()).collect();
    bits.extend([sums.n_nonfinite, sums.n_saturated]);
    bits.extend([sums.n_negative, sums.n_missing_frames]);
    (ring.clone(), bits)
}

/// A series that notes what is read of it, all of which but the first it wants to have been told before.
struct Noted<'a> {
    series: &'a MemorySeries,
    runs: std::sync::Mutex<Vec<FrameRun>>,
    expected: std::sync::Mutex<Vec<FrameRun>>,
}

impl FrameSource for Noted<'_> {
    fn header(&self) -> &SeriesHeader {
        self.series.header()
    }

    fn read(&self, run: &FrameRun, block: &mut FrameBlock) -> crate::error::Result<()> {
        let mut runs = self.runs.lock().unwrap();
        assert!(runs.is_empty() || self.expected.lock().unwrap().contains(run));
        runs.push(*run);
        self.series.read(run, block)
    }

    fn expect(&self, run: &FrameRun) {
        self.expected.lock().unwrap().push(*run);
    }
}

#[test]
fn what_a_file_decodes_at_once_is_read_once_and_gives_the_same_bits() {
    let chunk = ChunkShape {
        n_times: 3,
        n_rows: 3,
        n_cols: 4,
    };
    let samples = Samples::U16(counts(65_535).map(|count| count as u16).collect());
    let series = series(samples, chunk);
    // Whole rows, and parts of a row; the whole scan, and a part of it that cuts chunks.
    for (shard_rows, shard_cols, region) in [(1, 6, WHOLE), (1, 4, WHOLE), (1, 5, NARROW)] {
        let case = Case {
            region,
            ..cases()[1]
        };
        let mut plan = plan(&series, case);
        (plan.shard_rows, plan.shard_cols) = (shard_rows, shard_cols);
        let shards = plan.shards();
        let source = Noted {
            series: &series,
            runs: Vec::new().into(),
            expected: Vec::new().into(),
        };
        assert_eq!(plan.rows_decoded(), 3);
        let groups = plan.groups(&shards, 3);
        assert_eq!(groups.len(), 2);
        let next = groups.iter().copied().skip(1).chain([&[][..]]);
        let together: Vec<_> = std::iter::zip(&groups, next)
            .flat_map(|(group, next)| {
                let reduced = plan.reduce_shards(&source, group, next, 1, &|_| true);
                reduced.unwrap()
            })
            .collect();
        for (shard, together) in shards.iter().zip(&together) {
            let alone = plan.reduce_shard(&series, shard, 1, &|_| true).unwrap();
            assert!(shard_bits(&alone) == shard_bits(together), "{shard:?}");
        }
        assert_eq!(together.len(), shards.len());
        let runs = source.runs.into_inner().unwrap();
        let mut decoded: Vec<_> = runs
            .iter()
            .flat_map(|run| {
                let frames = run.first_frame..run.first_frame + run.n_frames;
                let blocks = frames.map(|frame| {
                    let (row, col) = (frame / SHAPE.n_cols, frame % SHAPE.n_cols);
                    (run.first_time, row / chunk.n_rows, col / chunk.n_cols)
                });
                blocks.collect::<std::collections::BTreeSet<_>>()
            })
            .collect();
        assert!(runs.iter().all(|run| run.first_time % chunk.n_times == 0));
        decoded.sort_unstable();
        let n_decoded = decoded.len();
        decoded.dedup();
        assert_eq!(decoded.len(), n_decoded, "{runs:?}");
        // A shard that is there already is left out.
        let rest = [shards[0], shards[shards.len() / 3]];
        let rest = plan
            .reduce_shards(&series, &rest, &[], 1, &|_| true)
            .unwrap();
        assert!(shard_bits(&rest[1]) == shard_bits(&together[shards.len() / 3]));
    }
}
