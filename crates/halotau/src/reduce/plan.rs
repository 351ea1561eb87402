//! Everything about the pass that is decided before the first frame is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::gather::{Gather, Grid};
use super::{Reduction, Shard, Totals, exact, shards};
use crate::axes::{QRange, TimeAxis, TimeBasis};
use crate::calibrate::dark::check_shapes;
use crate::calibrate::{Calibration, moved_pixel};
use crate::error::{Error, Result};
use crate::recipe::Region;
use crate::ring::select::{Shift, native_pixels};
use crate::ring::{Annulus, RingSeries};
use crate::series::{ChunkShape, FrameRun, SampleType, SeriesHeader, SeriesShape, Stated};
use crate::simd::Isa;
use crate::source::FrameSource;

/// A shard's cube of counts stays below this, so that a few of them and the reading buffer fit in a small memory.
const SHARD_BYTES: usize = 64 << 20;

/// Shards that a small series is cut into where it has the rows: a crash then loses an eighth of the work, and so many
/// processes can share it.
const FEWEST_SHARDS: usize = 8;

/// Shards below this are not made smaller for that: they take longer to flush to the disk than to make again.
const SMALL_SHARD_BYTES: usize = 1 << 20;

/// Number type of the counts that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each variant is the number type that it names")]
pub enum CountType {
    U8,
    U16,
    U32,
    F32,
}

impl CountType {
    /// The narrowest type that holds every sum of `n_native` samples; `F32` for samples that can be negative or
    /// broken and after dark or gain correction.
    pub fn holding(sample_type: SampleType, n_native: usize, corrected: bool) -> Self {
        let highest = sample_type.highest_count().filter(|_| !corrected);
        match highest.map(|highest| u64::from(highest).saturating_mul(n_native as u64)) {
            None => Self::F32,
            Some(sum) if sum <= u64::from(u8::MAX) => Self::U8,
            Some(sum) if sum <= u64::from(u16::MAX) => Self::U16,
            // A sum of 32-bit counts beyond 32 bits does not occur; the pass says so if it does.
            Some(_) => Self::U32,
        }
    }

    /// Bytes of one count.
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }
}

/// What a person decides about the pass.
#[derive(Debug, Clone)]
pub struct ReduceSettings {
    /// The analyzed part of the scan.
    pub region: Region,
    /// Native pixels summed along each side.
    pub bin: usize,
    /// The annulus that is kept.
    pub q_range: QRange,
    /// Geometry and pixels.
    pub calibration: Calibration,
    /// Dark pattern, subtracted, `[pattern row, pattern col]`.
    pub dark: Option<Array2<f64>>,
    /// Gain pattern, divided by after the dark.
    pub gain: Option<Array2<f64>>,
    /// Start of each scan.
    pub time: TimeAxis,
    /// Temperature of the sample.
    pub temperature_k: f64,
    /// Distance of neighboring positions; NaN where not known.
    pub step_nm: f64,
}

/// The plan of one pass: which native pixels are summed into which count, shard by shard.
#[derive(Debug)]
pub struct ReducePlan {
    pub(super) settings: ReduceSettings,
    pub(super) name: String,
    pub(super) shape: SeriesShape,
    pub(super) sample_type: SampleType,
    pub(super) missing: Vec<FrameRun>,
    pub(super) annulus: Annulus,
    pub(super) count_type: CountType,
    pub(super) q_bins: Vec<QRange>,
    pub(super) q_pixels: Vec<u64>,
    pub(super) shift_row: Array2<i32>,
    pub(super) shift_col: Array2<i32>,
    pub(super) tables: BTreeMap<Shift, ShiftTables>,
    /// The moves of the pattern during the record.
    pub(super) moves: Vec<Move>,
    /// Index into `moves` of each scan.
    pub(super) move_of: Vec<usize>,
    /// What is subtracted from each native sample before that.
    pub(super) dark: Option<Vec<f64>>,
    /// How frames are summed.
    pub(super) kernel: Kernel,
    pub(super) chunk: ChunkShape,
    pub(super) shard_rows: usize,
    pub(super) shard_cols: usize,
}

/// How the frames of a position are summed. The results are the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Samples of any type, corrected or not, as floats.
    Plain,
    /// Unsigned counts, uncorrected, with sums of 32 bits a pixel.
    Exact(Isa),
}

/// A move of the pattern on the detector by whole pixels, the same at all positions of a scan.
#[derive(Debug)]
pub(super) struct Move {
    /// What it adds to the index of a native pixel.
    pub(super) offset: isize,
    /// What each native sample is multiplied by for sums over the detector: 0 where invalid, else 1/gain.
    pub(super) weight: Vec<f64>,
    /// All bits for each valid pixel, none for others; absent where all are valid.
    pub(super) mask: Option<Vec<u32>>,
}

impl Move {
    /// `pixel_valid` is that of the pattern before the move.
    fn new(
        pixel_valid: &Array2<bool>,
        gain: Option<&Array2<f64>>,
        (down, across): Shift,
    ) -> Result<Self> {
        let (_, n_cols) = pixel_valid.dim();
        let mut weight = vec![0.0; pixel_valid.len()];
        let offset = down as isize * n_cols as isize + across as isize;
        for (at, _) in pixel_valid.indexed_iter().filter(|(_, valid)| **valid) {
            let moved = moved_pixel(at, (down, across), pixel_valid.dim()).ok_or_else(|| {
                Error::Setting {
                    key: "pattern.center_path".to_owned(),
                    value: format!("{down} rows, {across} columns"),
                    problem: format!(
                        "moves the valid pixel {at:?} off the detector; Calibration::follow leaves such pixels out"
                    ),
                }
            })?;
            weight[moved.0 * n_cols + moved.1] = 1.0 / gain.map_or(1.0, |gain| gain[moved]);
        }
        let mask = weight.contains(&0.0).then(|| {
            let bits = weight
                .iter()
                .map(|&weight| if weight == 0.0 { 0 } else { u32::MAX });
            bits.collect()
        });
        Ok(Self {
            offset,
            weight,
            mask,
        })
    }
}

/// Stands for the annulus pixel of a valid native pixel that belongs to none.
pub(super) const OUTSIDE: u32 = u32::MAX - 1;

/// Stands for the annulus pixel of a native pixel that is not valid.
pub(super) const INVALID: u32 = u32::MAX;

/// Look-up tables for positions whose pattern is shifted alike.
#[derive(Debug)]
pub(super) struct ShiftTables {
    /// Native pixels of each annulus pixel, one after another.
    pub(super) native: Vec<u32>,
    /// Where the native pixels of each annulus pixel end in `native`.
    pub(super) end: Vec<u32>,
    /// q bin of each native pixel; `u16::MAX` for none.
    pub(super) q_bin: Vec<u16>,
    /// The same as `native` for frames that are summed exactly.
    pub(super) gather: Gather,
    /// Annulus pixels with their full coverage.
    pub(super) valid: Vec<bool>,
    /// Where an event of each native pixel is added, made where events are listed.
    pixel_of: OnceLock<Vec<u32>>,
}

impl ReduceSettings {
    /// The whole scan, unbinned and uncorrected, with the axes that the header states.
    ///
    /// # Errors
    ///
    /// As [`TimeAxis::of`].
    pub fn of(header: &SeriesHeader, calibration: Calibration, q_range: QRange) -> Result<Self> {
        let shape = header.shape;
        let value =
            |stated: &Option<Stated>| stated.as_ref().map_or(f64::NAN, |stated| stated.value);
        Ok(Self {
            region: Region {
                rows: [0, shape.n_rows],
                cols: [0, shape.n_cols],
            },
            bin: 1,
            q_range,
            calibration,
            dark: None,
            gain: None,
            time: TimeAxis::of(header, TimeBasis::Auto)?.0,
            temperature_k: value(&header.temperature_k),
            step_nm: value(&header.step_nm),
        })
    }
}

impl ReducePlan {
    /// Plans a pass over a series.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for a region outside the scan, a bin of 0 or larger than the pattern; [`Error::Shape`] for
    /// dark or gain of another shape; [`Error::RingOutside`] and [`Error::EmptyRing`].
    pub fn new(header: &SeriesHeader, settings: ReduceSettings) -> Result<Self> {
        let shape = header.shape;
        let Region { rows, cols } = settings.region;
        if !(rows[0] < rows[1]
            && rows[1] <= shape.n_rows
            && cols[0] < cols[1]
            && cols[1] <= shape.n_cols)
        {
            return Err(Error::Setting {
                key: "scan.region".to_owned(),
                value: format!("rows {rows:?}, cols {cols:?}"),
                problem: format!(
                    "the scan has {} rows and {} columns",
                    shape.n_rows, shape.n_cols
                ),
            });
        }
        let bin = settings.bin;
        if bin == 0 || bin > shape.pattern_rows.min(shape.pattern_cols) {
            return Err(Error::Setting {
                key: "pattern.bin".to_owned(),
                value: bin.to_string(),
                problem: format!(
                    "patterns have {} x {} pixels",
                    shape.pattern_rows, shape.pattern_cols
                ),
            });
        }
        let native = (shape.pattern_rows, shape.pattern_cols);
        check_shapes(native, settings.dark.as_ref(), settings.gain.as_ref())?;
        let calibration = &settings.calibration;
        let (n_rows, n_cols) = (rows[1] - rows[0], cols[1] - cols[0]);
        let offset = |row: usize, col: usize| {
            calibration.center_offset(rows[0] + row, cols[0] + col, shape.n_rows, shape.n_cols)
        };
        let whole = |offset: f64| libm::round(offset) as i32;
        let shift_row =
            Array2::from_shape_fn((n_rows, n_cols), |(row, col)| whole(offset(row, col).0));
        let shift_col =
            Array2::from_shape_fn((n_rows, n_cols), |(row, col)| whole(offset(row, col).1));
        let shifts: BTreeSet<Shift> = shift_row
            .iter()
            .copied()
            .zip(shift_col.iter().copied())
            .collect();
        // Centers that are off the common grid by up to half a pixel in both directions.
        let moves = calibration.descan != crate::calibrate::Descan::default();
        let margin_px = if moves {
            std::f64::consts::FRAC_1_SQRT_2
        } else {
            0.0
        };
        let annulus = Annulus::new(calibration, bin, settings.q_range, &shifts, margin_px)?;

        let q_width = calibration.q_step_per_nm * bin as f64;
        let (q_bins, q_bin_of) = detector_bins(calibration, native, q_width);
        let q_pixels = (0..q_bins.len())
            .map(|bin| {
                let valid = calibration.pixel_valid.iter();
                q_bin_of
                    .iter()
                    .zip(valid)
                    .filter(|&(&of, &valid)| valid && usize::from(of) == bin)
                    .count() as u64
            })
            .collect();
        let path = &calibration.center_path;
        let wholes: Vec<Shift> = (0..shape.n_times).map(|time| path.whole(time)).collect();
        let mut distinct = wholes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let move_of = wholes
            .iter()
            .filter_map(|whole| distinct.binary_search(whole).ok())
            .collect();
        let moves = distinct
            .iter()
            .map(|&whole| Move::new(&calibration.pixel_valid, settings.gain.as_ref(), whole))
            .collect::<Result<Vec<Move>>>()?;
        let largest_offset = moves.iter().map(|own| own.offset).max().unwrap_or(0);
        let tables = shifts
            .iter()
            .map(|&shift| {
                (
                    shift,
                    ShiftTables::new(&annulus, calibration, &q_bin_of, shift, largest_offset),
                )
            })
            .collect();
        let dark = settings
            .dark
            .as_ref()
            .map(|dark| dark.iter().copied().collect());
        let corrected = settings.dark.is_some() || settings.gain.is_some();
        let fits = matches!(header.sample_type, SampleType::U8 | SampleType::U16)
            && shape.n_times <= exact::MAX_TIMES
            && bin <= exact::MAX_BIN;
        let kernel = if fits && !corrected {
            Kernel::Exact(Isa::best())
        } else {
            Kernel::Plain
        };
        let count_type = CountType::holding(header.sample_type, bin * bin, corrected);
        let position_bytes = shape.n_times * annulus.len() * count_type.n_bytes();
        let (shard_rows, shard_cols) = shard_shape(header, n_rows, n_cols, position_bytes);
        Ok(Self {
            name: header.name.clone(),
            shape,
            sample_type: header.sample_type,
            missing: header.missing.clone(),
            kernel,
            chunk: header.chunk,
            annulus,
            count_type,
            q_bins,
            q_pixels,
            shift_row,
            shift_col,
            tables,
            moves,
            move_of,
            dark,
            shard_rows,
            shard_cols,
            settings,
        })
    }

    /// The shards of the pass.
    pub fn shards(&self) -> Vec<Shard> {
        let (n_rows, n_cols) = self.shift_row.dim();
        shards(n_rows, n_cols, self.shard_rows, self.shard_cols)
    }

    /// The pixels that are kept.
    pub fn annulus(&self) -> &Annulus {
        &self.annulus
    }

    /// Number type of the counts.
    pub fn count_type(&self) -> CountType {
        self.count_type
    }

    /// Geometry and pixels.
    pub fn calibration(&self) -> &Calibration {
        &self.settings.calibration
    }

    /// The analyzed part of the scan.
    pub fn region(&self) -> Region {
        self.settings.region
    }

    /// The pattern that is subtracted.
    pub fn dark_pattern(&self) -> Option<&Array2<f64>> {
        self.settings.dark.as_ref()
    }

    /// The pattern that is divided by.
    pub fn gain_pattern(&self) -> Option<&Array2<f64>> {
        self.settings.gain.as_ref()
    }

    /// Rows and columns of a shard.
    pub fn shard_shape(&self) -> (usize, usize) {
        (self.shard_rows, self.shard_cols)
    }

    /// Bytes of a shard's counts and sums while it is made.
    pub fn shard_bytes(&self) -> usize {
        self.shard_rows * self.shard_cols * self.position_bytes()
    }

    /// The same of so many whole rows.
    pub fn bytes_of_rows(&self, n_rows: usize) -> usize {
        let (_, n_cols) = self.shift_row.dim();
        n_rows * n_cols * self.position_bytes()
    }

    fn position_bytes(&self) -> usize {
        let pixel_bytes = match self.kernel {
            Kernel::Exact(_) => 4,
            Kernel::Plain => 8,
        };
        self.shape.n_times * (self.annulus.len() * self.count_type.n_bytes() + 9)
            + pixel_bytes * self.shape.frame_len() * self.moves.len()
            + 8 * self.q_bins.len()
    }

    /// Whether samples are multiplied or something is subtracted.
    pub(super) fn is_corrected(&self) -> bool {
        self.settings.dark.is_some() || self.settings.gain.is_some()
    }

    /// The whole pass of a series whose counts fit in memory: the reduction, and the counts of each shard.
    ///
    /// # Errors
    ///
    /// As [`ReducePlan::reduce_shard`].
    pub fn reduce(
        self,
        source: &dyn FrameSource,
        buffer_bytes: usize,
    ) -> Result<(Reduction, Vec<RingSeries>)> {
        let shards = self.shards();
        let mut rings = Vec::with_capacity(shards.len());
        let mut totals = Totals::new(&self);
        for shard in &shards {
            let (ring, sums) = self.reduce_shard(source, shard, buffer_bytes, &|_| true)?;
            rings.push(ring);
            totals.add(&sums)?;
        }
        Ok((self.finish(totals)?, rings))
    }
}

/// Rows and columns of a shard: as many rows as stay below [`SHARD_BYTES`], fewer where that gives [`FEWEST_SHARDS`], whole chunks of
/// the file where a chunk is not too large, and part of a row only where one row is too large.
fn shard_shape(
    header: &SeriesHeader,
    n_rows: usize,
    n_cols: usize,
    position_bytes: usize,
) -> (usize, usize) {
    let fit = (SHARD_BYTES / position_bytes.max(1)).max(1);
    if fit < n_cols {
        return (1, fit);
    }
    let most = (fit / n_cols).clamp(1, n_rows);
    let small = SMALL_SHARD_BYTES.div_ceil((position_bytes * n_cols).max(1));
    let rows = most.min(n_rows.div_ceil(FEWEST_SHARDS).max(small));
    let chunk_rows = header.chunk.n_rows.max(1);
    let rows = if rows >= chunk_rows {
        rows / chunk_rows * chunk_rows
    } else if chunk_rows <= 4 * most {
        chunk_rows
    } else {
        // Chunks are decoded more than once whatever is done; then as seldom as may be.
        most
    };
    (rows.clamp(1, n_rows), n_cols)
}

/// Bins of spatial frequency over the whole detector, and the bin of each native pixel.
fn detector_bins(
    calibration: &Calibration,
    native: (usize, usize),
    width: f64,
) -> (Vec<QRange>, Vec<u16>) {
    let mut n_bins = 0_usize;
    let mut bin_of = Vec::with_capacity(native.0 * native.1);
    for row in 0..native.0 {
        for col in 0..native.1 {
            let (q, _) = calibration.polar(
                row as f64 - calibration.center_row,
                col as f64 - calibration.center_col,
            );
            let bin = ((q / width) as usize).min(usize::from(u16::MAX) - 1);
            n_bins = n_bins.max(bin + 1);
            bin_of.push(bin as u16);
        }
    }
    let bins = (0..n_bins)
        .map(|bin| QRange::new(bin as f64 * width, (bin + 1) as f64 * width))
        .collect();
    (bins, bin_of)
}

impl ShiftTables {
    fn new(
        annulus: &Annulus,
        calibration: &Calibration,
        q_bin_of: &[u16],
        shift: Shift,
        largest_offset: isize,
    ) -> Self {
        let pixel_valid = &calibration.pixel_valid;
        let (n_rows, n_cols) = pixel_valid.dim();
        let valid = annulus.valid_at(pixel_valid, shift);
        let mut native = Vec::new();
        let mut end = Vec::with_capacity(annulus.len());
        for pixel in 0..annulus.len() {
            let (row, col) = (annulus.row[pixel] as usize, annulus.col[pixel] as usize);
            native.extend(
                native_pixels(row, col, annulus.bin, shift, (n_rows, n_cols))
                    .filter(|&(row, col)| pixel_valid[[row, col]])
                    .map(|(row, col)| (row * n_cols + col) as u32),
            );
            end.push(native.len() as u32);
        }
        let mut q_bin = vec![u16::MAX; n_rows * n_cols];
        for ((row, col), &valid) in pixel_valid.indexed_iter() {
            let unshifted = (
                row as i64 - i64::from(shift.0),
                col as i64 - i64::from(shift.1),
            );
            let inside = (0..n_rows as i64).contains(&unshifted.0)
                && (0..n_cols as i64).contains(&unshifted.1);
            if valid && inside {
                q_bin[row * n_cols + col] =
                    q_bin_of[unshifted.0 as usize * n_cols + unshifted.1 as usize];
            }
        }
        let starts = std::iter::once(0).chain(end.iter().copied());
        let lists: Vec<&[u32]> = starts
            .zip(&end)
            .map(|(start, &end)| &native[start as usize..end as usize])
            .collect();
        let grid = Grid {
            bin: annulus.bin,
            n_cols,
            frame_len: n_rows * n_cols,
            largest_offset,
        };
        let gather = Gather::new(&lists, grid);
        Self {
            native,
            end,
            q_bin,
            gather,
            valid,
            pixel_of: OnceLock::new(),
        }
    }

    /// The annulus pixel of each native pixel, before the pattern moves; [`OUTSIDE`] of the annulus, [`INVALID`] pixels.
    pub(super) fn pixel_of(&self, pixel_valid: &Array2<bool>) -> &[u32] {
        self.pixel_of.get_or_init(|| {
            let outside = |&valid: &bool| if valid { OUTSIDE } else { INVALID };
            let mut pixel_of: Vec<u32> = pixel_valid.iter().map(outside).collect();
            let mut start = 0;
            for (pixel, &end) in self.end.iter().enumerate() {
                for &native in &self.native[start..end as usize] {
                    pixel_of[native as usize] = pixel as u32;
                }
                start = end as usize;
            }
            pixel_of
        })
    }
}
