//! What does a sample of the frames show?
//!
//! Geometry and pixels are measured before the one pass over all frames, from as many frames as fit in a budget: a
//! stride over time and scan rows. Neighboring times and neighboring positions show nearly the same speckle, so frames that
//! lie far apart say more than as many close together.
//!
//! ```text
//! mean, variance, extremes     of each pixel, over all sampled frames     in the frame of the detector
//! block means                  of each pixel, over a block of positions   for the movement of the pattern over the scan
//! period means                 of each pixel, over a part of the record   for its movement over time
//! ```
//!
//! Spikes of single frames are left out of all of them: a few would make hot pixels of good ones. Some frames are kept whole, for
//! what only whole frames show.
//!
//! Nothing is shifted here: the beam stop stays on the detector while the pattern moves.

use ndarray::{Array2, Array3};

use crate::calibrate::dark::check_shapes;
use crate::calibrate::spikes::SpikeLimits;
use crate::error::{Error, Result};
use crate::recipe::Region;
use crate::series::{FrameBlock, FrameRun, Sample, SampleType, SeriesHeader, SeriesShape};
use crate::source::FrameSource;
use crate::with_samples;

/// Scan blocks along a side at most: enough for a plane, a quadratic and a jackknife of each.
const MAX_BLOCKS: usize = 8;

/// Memory of all block means at most; larger patterns get fewer blocks.
const BLOCK_BYTES: usize = 256 << 20;

/// Parts of the record whose patterns are kept apart.
const MAX_PERIODS: usize = 8;

/// Times that are sampled before scan rows are left out: the speckle of a glass renews itself with time, too.
const MIN_TIMES: usize = 8;

/// One read is at most about this large, so that the memory of a survey does not depend on the file.
const READ_BYTES: usize = 32 << 20;

/// Memory of the frames that are kept whole at most, and their number.
const KEPT_BYTES: usize = 32 << 20;
const MAX_KEPT: usize = 2048;

/// Frames with spikes that are listed.
const MAX_LISTED: usize = 1000;

/// Which frames a survey reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyPlan {
    region: Region,
    /// (first time, number of times) of each unit of time.
    times: Vec<(usize, usize)>,
    /// (first row, number of rows) of each unit of scan rows.
    rows: Vec<(usize, usize)>,
}

impl SurveyPlan {
    /// Takes frames of a region of the scan, spread over the record, of at most about `budget_bytes`; at least one chunk
    /// of the file.
    pub fn new(header: &SeriesHeader, region: Region, budget_bytes: u64) -> Self {
        let shape = &header.shape;
        let frame_bytes = shape.frame_len() * header.sample_type.n_bytes();
        let unit_times = header.chunk.n_times.clamp(1, shape.n_times.max(1));
        let unit_rows = header.chunk.n_rows.clamp(1, shape.n_rows.max(1));
        let unit_bytes = (frame_bytes * shape.n_cols)
            .saturating_mul(unit_times * unit_rows)
            .max(1);
        let n_units = usize::try_from(budget_bytes / unit_bytes as u64)
            .unwrap_or(usize::MAX)
            .max(1);
        let time_units = units(0, shape.n_times, unit_times);
        let row_units = units(region.rows[0], region.rows[1], unit_rows);
        let min_times = MIN_TIMES.min(time_units.len());
        let n_times = (n_units / row_units.len().max(1)).clamp(min_times, time_units.len().max(1));
        let n_rows = (n_units / n_times.max(1)).clamp(1, row_units.len().max(1));
        Self {
            region,
            times: spread(&time_units, n_times),
            rows: spread(&row_units, n_rows),
        }
    }

    /// Frames that are read.
    pub fn n_frames(&self, shape: &SeriesShape) -> u64 {
        let times: usize = self.times.iter().map(|(_, n)| n).sum();
        let rows: usize = self.rows.iter().map(|(_, n)| n).sum();
        (times * rows * shape.n_cols) as u64
    }
}

/// Cuts a range into units that begin at multiples of their length.
fn units(first: usize, end: usize, len: usize) -> Vec<(usize, usize)> {
    let mut units = Vec::new();
    let mut start = first;
    while start < end {
        let next = ((start / len + 1) * len).min(end);
        units.push((start, next - start));
        start = next;
    }
    units
}

/// `n` units at even distances, the first and the last among them where there are two.
fn spread(units: &[(usize, usize)], n: usize) -> Vec<(usize, usize)> {
    let last = units.len().saturating_sub(1);
    (0..n.min(units.len()))
        .map(|at| units[at * last / (n - 1).max(1)])
        .collect()
}

/// Sums of the frames that were read.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Shape of the series.
    pub shape: SeriesShape,
    /// Number type of the file's samples.
    pub sample_type: SampleType,
    /// The part of the scan that was sampled.
    pub region: Region,
    /// Frames that hold data.
    pub n_frames: u64,
    /// Mean over frames, after dark and gain, `[pattern row, pattern col]`; NaN for pixels without a finite sample.
    pub mean: Array2<f64>,
    /// Variance over frames, after gain.
    pub variance: Array2<f64>,
    /// Smallest sample, as stored.
    pub lowest: Array2<f64>,
    /// Largest sample, as stored.
    pub highest: Array2<f64>,
    /// Samples at the highest value of their type.
    pub n_saturated: Array2<u32>,
    /// Samples that were NaN or infinite.
    pub n_nonfinite: Array2<u32>,
    /// Samples of single frames that are brighter than electrons can be; they are in none of the sums.
    pub n_spikes: Array2<u32>,
    /// Frames that hold such samples.
    pub n_spiked_frames: u64,
    /// The first of them, as time, scan row and scan column.
    pub spiked_frames: Vec<[usize; 3]>,
    /// Frames as stored, evenly over those that were read, `[frame, pattern row, pattern col]`; spikes at the mean of their pixel.
    pub frames: Array3<f32>,
    /// Means over blocks of positions; none is empty.
    pub blocks: Vec<ScanBlock>,
    /// Means over parts of the record, in order; none is empty.
    pub periods: Vec<Period>,
}

/// The mean pattern of a block of scan positions.
#[derive(Debug, Clone)]
pub struct ScanBlock {
    /// Scan row of the block's center of counts, in the scan of the file.
    pub row: f64,
    /// Scan column of the block's center of counts.
    pub col: f64,
    /// Frames in the mean.
    pub n_frames: u64,
    /// Mean over frames, after dark and gain, `[pattern row, pattern col]`.
    pub mean: Array2<f64>,
}

/// The mean pattern of a part of the record.
#[derive(Debug, Clone)]
pub struct Period {
    /// Mean index of its scans.
    pub time: f64,
    /// Mean over frames, after dark and gain, `[pattern row, pattern col]`.
    pub mean: Array2<f64>,
}

/// Sums of one group of frames while it is made.
#[derive(Debug, Clone)]
struct Group {
    sum: Vec<f64>,
    n_frames: u64,
    /// Sums of counts, and of counts times scan row, column and time.
    counts: f64,
    moments: [f64; 3],
}

impl Group {
    fn new(frame_len: usize) -> Self {
        Self {
            sum: vec![0.0; frame_len],
            n_frames: 0,
            counts: 0.0,
            moments: [0.0; 3],
        }
    }

    fn add(&mut self, frame: &[f64], total: f64, place: [f64; 3]) {
        for (sum, value) in self.sum.iter_mut().zip(frame) {
            *sum += value;
        }
        self.n_frames += 1;
        // A dark frame must not make the weights of all places zero.
        let weight = total.max(0.0) + 1e-9;
        self.counts += weight;
        for (moment, at) in self.moments.iter_mut().zip(place) {
            *moment += weight * at;
        }
    }

    fn place(&self, axis: usize) -> f64 {
        self.moments[axis] / self.counts
    }
}

/// Reads a survey. `dark` is subtracted and `gain` divided by; `read` is called with the bytes of each read and may return
/// `false` to stop.
///
/// # Errors
///
/// The source's errors; [`Error::Shape`] for dark or gain of another shape; [`Error::TooFew`] where no frame holds data;
/// [`Error::Stopped`].
pub fn survey(
    source: &dyn FrameSource,
    plan: &SurveyPlan,
    dark: Option<&Array2<f64>>,
    gain: Option<&Array2<f64>>,
    read: &dyn Fn(u64) -> bool,
) -> Result<Survey> {
    let header = source.header();
    let shape = header.shape;
    let native = (shape.pattern_rows, shape.pattern_cols);
    check_shapes(native, dark, gain)?;
    let mut sums = Sums::new(header, plan, dark);
    let mut block = FrameBlock::empty(header.sample_type);
    for &(first_time, n_times) in &plan.times {
        for run in runs(header, plan, first_time, n_times) {
            source.read(&run, &mut block)?;
            let bytes = block.samples.len() * header.sample_type.n_bytes();
            if !read(bytes as u64) {
                return Err(Error::Stopped);
            }
            sums.add(header, &block);
        }
    }
    sums.finish(header, dark, gain)
}

/// The reads of one unit of time: whole units of rows where they are small, else parts of rows.
fn runs(
    header: &SeriesHeader,
    plan: &SurveyPlan,
    first_time: usize,
    n_times: usize,
) -> Vec<FrameRun> {
    let shape = &header.shape;
    let frame_bytes = shape.frame_len() * header.sample_type.n_bytes() * n_times;
    let mut runs = Vec::new();
    for &(first_row, n_rows) in &plan.rows {
        let n_frames = n_rows * shape.n_cols;
        let fit = (READ_BYTES / frame_bytes.max(1)).max(header.chunk.n_cols.max(1));
        let per_run = if fit >= n_frames { n_frames } else { fit };
        for start in (0..n_frames).step_by(per_run) {
            runs.push(FrameRun {
                first_time,
                n_times,
                first_frame: first_row * shape.n_cols + start,
                n_frames: per_run.min(n_frames - start),
            });
        }
    }
    runs
}

/// All sums while frames are read.
struct Sums<'a> {
    dark: Option<&'a Array2<f64>>,
    limits: Option<SpikeLimits>,
    region: Region,
    n_block_rows: usize,
    n_block_cols: usize,
    blocks: Vec<Group>,
    periods: Vec<Group>,
    n_frames: u64,
    square: Vec<f64>,
    lowest: Vec<f64>,
    highest: Vec<f64>,
    n_saturated: Vec<u32>,
    n_nonfinite: Vec<u32>,
    n_spikes: Vec<u32>,
    n_spiked_frames: u64,
    spiked_frames: Vec<[usize; 3]>,
    kept: Vec<f32>,
    /// Every so many frames one is kept.
    keep_every: u64,
    /// The frame at hand, broken samples and spikes as 0.
    frame: Vec<f64>,
    /// Its spikes, in ascending order.
    spikes: Vec<usize>,
}

impl<'a> Sums<'a> {
    fn new(header: &SeriesHeader, plan: &SurveyPlan, dark: Option<&'a Array2<f64>>) -> Self {
        let shape = &header.shape;
        let len = shape.frame_len();
        let most = (BLOCK_BYTES / (8 * len).max(1)).max(1);
        let side = (libm::sqrt(most as f64) as usize).clamp(1, MAX_BLOCKS);
        let region = plan.region;
        let n_block_rows = side.min(region.rows[1] - region.rows[0]).max(1);
        let n_block_cols = side.min(region.cols[1] - region.cols[0]).max(1);
        // A chunk of the file may hold many times.
        let n_times = plan.times.iter().map(|(_, n)| n).sum::<usize>();
        let n_periods = MAX_PERIODS.min(most).min(n_times).max(1);
        let most_kept = (KEPT_BYTES / (4 * len).max(1)).clamp(1, MAX_KEPT) as u64;
        Self {
            dark,
            limits: None,
            region,
            n_block_rows,
            n_block_cols,
            blocks: vec![Group::new(len); n_block_rows * n_block_cols],
            periods: vec![Group::new(len); n_periods],
            n_frames: 0,
            square: vec![0.0; len],
            lowest: vec![f64::INFINITY; len],
            highest: vec![f64::NEG_INFINITY; len],
            n_saturated: vec![0; len],
            n_nonfinite: vec![0; len],
            n_spikes: vec![0; len],
            n_spiked_frames: 0,
            spiked_frames: Vec::new(),
            kept: Vec::new(),
            // Odd, so that not always the same columns are taken.
            keep_every: plan.n_frames(shape).div_ceil(most_kept) | 1,
            frame: vec![0.0; len],
            spikes: Vec::new(),
        }
    }

    fn add(&mut self, header: &SeriesHeader, block: &FrameBlock) {
        let shape = &header.shape;
        let len = block.frame_len();
        let run = block.run;
        if self.limits.is_none() {
            let native = (shape.pattern_rows, shape.pattern_cols);
            self.limits = with_samples!(&block.samples, samples => SpikeLimits::learned(samples, native, self.dark));
        }
        let missing: Vec<&FrameRun> = header
            .missing
            .iter()
            .filter(|missing| {
                missing.first_time < run.first_time + run.n_times
                    && run.first_time < missing.first_time + missing.n_times
                    && missing.first_frame < run.first_frame + run.n_frames
                    && run.first_frame < missing.first_frame + missing.n_frames
            })
            .collect();
        let Region { rows, cols } = self.region;
        for time in run.first_time..run.first_time + run.n_times {
            for frame in run.first_frame..run.first_frame + run.n_frames {
                let (row, col) = (frame / shape.n_cols, frame % shape.n_cols);
                let is_missing = missing.iter().any(|missing| {
                    (missing.first_time..missing.first_time + missing.n_times).contains(&time)
                        && (missing.first_frame..missing.first_frame + missing.n_frames)
                            .contains(&frame)
                });
                let inside = (rows[0]..rows[1]).contains(&row) && (cols[0]..cols[1]).contains(&col);
                if is_missing || !inside {
                    continue;
                }
                let start =
                    ((time - run.first_time) * run.n_frames + frame - run.first_frame) * len;
                with_samples!(&block.samples, samples => self.take(&samples[start..start + len]));
                self.note_spikes([time, row, col]);
                let total = self.frame.iter().sum::<f64>();
                let place = [row as f64, col as f64, time as f64];
                let block_row = (row - rows[0]) * self.n_block_rows / (rows[1] - rows[0]);
                let block_col = (col - cols[0]) * self.n_block_cols / (cols[1] - cols[0]);
                self.blocks[block_row * self.n_block_cols + block_col].add(
                    &self.frame,
                    total,
                    place,
                );
                let period = time * self.periods.len() / shape.n_times;
                self.periods[period].add(&self.frame, total, place);
                self.n_frames += 1;
            }
        }
    }

    /// Keeps the frame at hand where it is its turn, and lists it where it holds spikes.
    fn note_spikes(&mut self, place: [usize; 3]) {
        if !self.spikes.is_empty() {
            self.n_spiked_frames += 1;
            if self.spiked_frames.len() < MAX_LISTED {
                self.spiked_frames.push(place);
            }
        }
        if self.n_frames.is_multiple_of(self.keep_every) {
            let first = self.kept.len();
            self.kept
                .extend(self.frame.iter().map(|&value| value as f32));
            if let Some(limits) = &self.limits {
                for &at in &self.spikes {
                    self.kept[first + at] = limits.typical(at) as f32;
                }
            }
        }
    }

    /// Takes the samples of one frame, and what is said of each pixel alone.
    fn take<S: Sample>(&mut self, samples: &[S]) {
        self.spikes.clear();
        if let Some(limits) = &self.limits {
            limits.find(samples, &mut self.spikes);
        }
        let mut next_spike = 0;
        for (at, sample) in samples.iter().enumerate() {
            let mut value = sample.to_f64();
            if self.spikes.get(next_spike) == Some(&at) {
                next_spike += 1;
                self.n_spikes[at] += 1;
                self.n_saturated[at] += u32::from(sample.is_saturated());
                self.frame[at] = 0.0;
                continue;
            }
            if sample.is_unusual() {
                self.n_saturated[at] += u32::from(sample.is_saturated());
                if !value.is_finite() {
                    self.n_nonfinite[at] += 1;
                    self.frame[at] = 0.0;
                    continue;
                }
            }
            self.lowest[at] = self.lowest[at].min(value);
            self.highest[at] = self.highest[at].max(value);
            self.frame[at] = value;
            value *= value;
            self.square[at] += value;
        }
    }

    fn finish(
        self,
        header: &SeriesHeader,
        dark: Option<&Array2<f64>>,
        gain: Option<&Array2<f64>>,
    ) -> Result<Survey> {
        if self.n_frames == 0 {
            return Err(Error::TooFew {
                what: "a calibration (frames of the region that hold data)",
                needed: 1,
                found: 0,
            });
        }
        let shape = header.shape;
        let native = (shape.pattern_rows, shape.pattern_cols);
        let n_frames = self.n_frames as f64;
        // Broken samples and spikes are taken to be as rare in each group as in all.
        let share: Vec<f64> = self
            .n_nonfinite
            .iter()
            .zip(&self.n_spikes)
            .map(|(&n, &n_spikes)| {
                let share = 1.0 - f64::from(n + n_spikes) / n_frames;
                if share > 0.0 { share } else { f64::NAN }
            })
            .collect();
        let corrected = |at: usize, raw: f64| {
            let (row, col) = (at / native.1, at % native.1);
            let dark = dark.map_or(0.0, |dark| dark[[row, col]]);
            let gain = gain.map_or(1.0, |gain| gain[[row, col]]);
            (raw - dark) / gain
        };
        let pattern =
            |values: Vec<f64>| Array2::from_shape_vec(native, values).expect("one value a pixel");
        let mean_of = |sum: &[f64], n: u64| {
            let mean = sum.iter().enumerate();
            pattern(
                mean.map(|(at, sum)| corrected(at, sum / (n as f64 * share[at])))
                    .collect(),
            )
        };
        let mut total = vec![0.0; shape.frame_len()];
        for group in &self.blocks {
            for (total, sum) in total.iter_mut().zip(&group.sum) {
                *total += sum;
            }
        }
        let variance = (0..total.len())
            .map(|at| {
                let mean = total[at] / (n_frames * share[at]);
                let variance = self.square[at] / (n_frames * share[at]) - mean * mean;
                let gain = gain.map_or(1.0, |gain| gain[[at / native.1, at % native.1]]);
                variance.max(0.0) / (gain * gain)
            })
            .collect();
        let filled = |groups: Vec<Group>| groups.into_iter().filter(|group| group.n_frames > 0);
        Ok(Survey {
            shape,
            sample_type: header.sample_type,
            region: self.region,
            n_frames: self.n_frames,
            mean: mean_of(&total, self.n_frames),
            variance: pattern(variance),
            lowest: pattern(self.lowest),
            highest: pattern(self.highest),
            n_saturated: Array2::from_shape_vec(native, self.n_saturated)
                .expect("one number a pixel"),
            n_nonfinite: Array2::from_shape_vec(native, self.n_nonfinite)
                .expect("one number a pixel"),
            n_spikes: Array2::from_shape_vec(native, self.n_spikes).expect("one number a pixel"),
            n_spiked_frames: self.n_spiked_frames,
            spiked_frames: self.spiked_frames,
            frames: Array3::from_shape_vec(
                (
                    self.kept.len() / shape.frame_len().max(1),
                    native.0,
                    native.1,
                ),
                self.kept,
            )
            .expect("whole frames were kept"),
            blocks: filled(self.blocks)
                .map(|group| ScanBlock {
                    row: group.place(0),
                    col: group.place(1),
                    n_frames: group.n_frames,
                    mean: mean_of(&group.sum, group.n_frames),
                })
                .collect(),
            periods: filled(self.periods)
                .map(|group| Period {
                    time: group.place(2),
                    mean: mean_of(&group.sum, group.n_frames),
                })
                .collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use ndarray::Array5;

    use super::*;
    use crate::source::MemorySeries;

    /// Every sample says where it is: 1000 time + 100 row + 10 col + pattern row.
    fn series() -> MemorySeries {
        let counts = Array5::from_shape_fn((4, 2, 3, 4, 5), |(time, row, col, pattern_row, _)| {
            (1000 * time + 100 * row + 10 * col + pattern_row) as u16
        });
        MemorySeries::from_counts("numbered", counts.view()).unwrap()
    }

    const REGION: Region = Region {
        rows: [0, 2],
        cols: [1, 3],
    };

    #[test]
    fn sums_are_those_of_the_frames_read() {
        let series = series();
        let plan = SurveyPlan::new(series.header(), REGION, 1 << 20);
        let survey = survey(&series, &plan, None, None, &|_| true).unwrap();
        // All 4 times, 2 rows and 2 of 3 columns: mean 1500 + 50 + 15.
        assert_eq!(survey.n_frames, 16);
        assert_eq!(survey.mean[[2, 4]], 1567.0);
        assert_eq!(survey.lowest[[0, 0]], 10.0);
        assert_eq!(survey.highest[[0, 0]], 3120.0);
        // Variances of 0..4 thousands, 0..2 hundreds and 1..3 tens.
        assert!((survey.variance[[0, 0]] - (1.25e6 + 2500.0 + 25.0)).abs() < 1e-6);
        assert_eq!(survey.blocks.len(), 4);
        assert_eq!(survey.blocks[3].mean[[0, 0]], 1500.0 + 100.0 + 20.0);
        assert_eq!((survey.blocks[3].row, survey.blocks[3].col), (1.0, 2.0));
        assert_eq!(survey.periods.len(), 4);
        assert_eq!(survey.periods[2].mean[[0, 0]], 2065.0);
    }

    #[test]
    fn missing_frames_do_not_count_and_dark_and_gain_do() {
        let mut series = series();
        series.header_mut().missing = vec![FrameRun {
            first_time: 1,
            n_times: 3,
            first_frame: 0,
            n_frames: 6,
        }];
        let plan = SurveyPlan::new(series.header(), REGION, 1 << 20);
        let dark = Array2::from_elem((4, 5), 5.0);
        let gain = Array2::from_elem((4, 5), 2.0);
        let survey = survey(&series, &plan, Some(&dark), Some(&gain), &|_| true).unwrap();
        assert_eq!(survey.n_frames, 4);
        assert_eq!(survey.mean[[0, 0]], (65.0 - 5.0) / 2.0);
    }

    #[test]
    fn a_small_budget_spreads_over_time_and_rows() {
        let mut header = series().header().clone();
        header.shape.n_times = 100;
        header.shape.n_rows = 50;
        // A row of frames is 120 bytes: 20 of them.
        let region = Region {
            rows: [0, 50],
            cols: [0, 3],
        };
        let plan = SurveyPlan::new(&header, region, 2400);
        assert_eq!(plan.times.len(), 8);
        assert_eq!(plan.times[7], (99, 1));
        assert_eq!(plan.rows, [(0, 1), (49, 1)]);
        assert_eq!(plan.n_frames(&header.shape), 48);
    }
}
