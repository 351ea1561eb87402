//! What is a series of scans made of?
//!
//! A series is five-dimensional: `(time, scan row, scan column, pattern row, pattern column)`, the last
//! index fastest. A *frame* is one diffraction pattern; the frames of one scan are numbered row by row.
//! No type here holds the five-dimensional array: it is read in blocks and reduced.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Lengths of the five axes of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesShape {
    /// Scans, one a time point.
    pub n_times: usize,
    /// Scan rows.
    pub n_rows: usize,
    /// Scan columns.
    pub n_cols: usize,
    /// Rows of a diffraction pattern.
    pub pattern_rows: usize,
    /// Columns of a diffraction pattern.
    pub pattern_cols: usize,
}

impl SeriesShape {
    /// Positions (frames) of one scan.
    pub fn n_positions(&self) -> usize {
        self.n_rows * self.n_cols
    }

    /// Samples of one pattern.
    pub fn frame_len(&self) -> usize {
        self.pattern_rows * self.pattern_cols
    }

    /// Bytes of the whole series, or `None` where that overflows 64 bits.
    pub fn n_bytes(&self, sample_type: SampleType) -> Option<u64> {
        [
            self.n_times,
            self.n_rows,
            self.n_cols,
            self.pattern_rows,
            self.pattern_cols,
        ]
        .iter()
        .try_fold(sample_type.n_bytes() as u64, |n, &len| {
            n.checked_mul(len as u64)
        })
    }

    /// The run of all frames of all times.
    pub fn whole(&self) -> FrameRun {
        FrameRun {
            first_time: 0,
            n_times: self.n_times,
            first_frame: 0,
            n_frames: self.n_positions(),
        }
    }
}

impl fmt::Display for SeriesShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time {} · scan {} x {} · pattern {} x {}",
            self.n_times, self.n_rows, self.n_cols, self.pattern_rows, self.pattern_cols
        )
    }
}

/// A scan position, in scan pixels from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Scan row.
    pub row: usize,
    /// Scan column.
    pub col: usize,
}

/// The number type of samples in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleType {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Floating point, 32 bits.
    F32,
    /// Floating point, 64 bits.
    F64,
}

impl SampleType {
    /// Bytes of one sample.
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The highest count, at which a sample is saturated; `None` where samples can be negative or broken, so that they are not counts.
    pub fn highest_count(self) -> Option<u32> {
        match self {
            Self::U8 => Some(u8::MAX.into()),
            Self::U16 => Some(u16::MAX.into()),
            Self::U32 => Some(u32::MAX),
            Self::I16 | Self::I32 | Self::F32 | Self::F64 => None,
        }
    }

    /// Whether samples are counts, which can be neither negative nor broken.
    pub fn is_unsigned(self) -> bool {
        self.highest_count().is_some()
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// Frames to read at once: the same range of frames of each of several consecutive scans.
///
/// Frames are numbered within their scan, row by row. Chunked files hold several scans in one chunk;
/// a run over all of a chunk's times decodes it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRun {
    /// First scan.
    pub first_time: usize,
    /// Number of scans.
    pub n_times: usize,
    /// First frame in each scan.
    pub first_frame: usize,
    /// Number of frames of each scan.
    pub n_frames: usize,
}

impl FrameRun {
    /// Checks that the run lies inside a series.
    ///
    /// # Errors
    ///
    /// [`Error::RunOutside`].
    pub fn check(&self, shape: &SeriesShape) -> Result<()> {
        let end_time = self.first_time.saturating_add(self.n_times);
        let end_frame = self.first_frame.saturating_add(self.n_frames);
        if end_time <= shape.n_times && end_frame <= shape.n_positions() {
            return Ok(());
        }
        Err(Error::RunOutside {
            first_frame: self.first_frame,
            end_frame,
            first_time: self.first_time,
            end_time,
            n_times: shape.n_times,
            n_frames: shape.n_positions(),
        })
    }
}

/// Samples in the number type of their file.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is the number type that it names")]
pub enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Calls `$body` with `$samples` bound to the typed vector inside a [`Samples`].
///
/// The one place where the seven number types are told apart.
#[macro_export]
macro_rules! with_samples {
    ($value:expr, $samples:ident => $body:expr) => {
        match $value {
            $crate::series::Samples::U8($samples) => $body,
            $crate::series::Samples::U16($samples) => $body,
            $crate::series::Samples::U32($samples) => $body,
            $crate::series::Samples::I16($samples) => $body,
            $crate::series::Samples::I32($samples) => $body,
            $crate::series::Samples::F32($samples) => $body,
            $crate::series::Samples::F64($samples) => $body,
        }
    };
}

impl Samples {
    /// No samples, of a type.
    pub fn empty(sample_type: SampleType) -> Self {
        match sample_type {
            SampleType::U8 => Self::U8(Vec::new()),
            SampleType::U16 => Self::U16(Vec::new()),
            SampleType::U32 => Self::U32(Vec::new()),
            SampleType::I16 => Self::I16(Vec::new()),
            SampleType::I32 => Self::I32(Vec::new()),
            SampleType::F32 => Self::F32(Vec::new()),
            SampleType::F64 => Self::F64(Vec::new()),
        }
    }

    /// The number type.
    pub fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::U16(_) => SampleType::U16,
            Self::U32(_) => SampleType::U32,
            Self::I16(_) => SampleType::I16,
            Self::I32(_) => SampleType::I32,
            Self::F32(_) => SampleType::F32,
            Self::F64(_) => SampleType::F64,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        with_samples!(self, samples => samples.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A sample of any of the file's number types, as `f64` (exact for all but large 64-bit integers, which do not occur).
pub trait Sample: Copy + Send + Sync + 'static {
    /// The value.
    fn to_f64(self) -> f64;

    /// Whether this is the highest value of an integer type; never for floats.
    fn is_saturated(self) -> bool;

    /// Whether this is saturated, negative, NaN or infinite: what a pass counts apart, and few frames hold.
    fn is_unusual(self) -> bool;
}

macro_rules! impl_sample {
    ($($t:ty: $saturated:expr),*) => {$(
        impl Sample for $t {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn is_saturated(self) -> bool {
                let highest: Option<$t> = $saturated;
                highest == Some(self)
            }

            #[inline(always)]
            fn is_unusual(self) -> bool {
                let value = self.to_f64();
                self.is_saturated() || value < 0.0 || !value.is_finite()
            }
        }
    )*};
}
impl_sample!(
    u8: Some(u8::MAX),
    u16: Some(u16::MAX),
    u32: Some(u32::MAX),
    i16: Some(i16::MAX),
    i32: Some(i32::MAX),
    f32: None,
    f64: None
);

/// The patterns of a [`FrameRun`], `[time, frame, pattern row, pattern col]`, last index fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameBlock {
    /// Which frames these are.
    pub run: FrameRun,
    /// Rows of a pattern.
    pub pattern_rows: usize,
    /// Columns of a pattern.
    pub pattern_cols: usize,
    /// `n_times * n_frames * pattern_rows * pattern_cols` samples.
    pub samples: Samples,
}

impl FrameBlock {
    /// An empty block for a source to fill; its buffer is reused from read to read.
    pub fn empty(sample_type: SampleType) -> Self {
        Self {
            run: FrameRun {
                first_time: 0,
                n_times: 0,
                first_frame: 0,
                n_frames: 0,
            },
            pattern_rows: 0,
            pattern_cols: 0,
            samples: Samples::empty(sample_type),
        }
    }

    /// Samples of one pattern.
    pub fn frame_len(&self) -> usize {
        self.pattern_rows * self.pattern_cols
    }
}

/// A number from the file or the user, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// The value, in the unit of the field's name.
    pub value: f64,
    /// In words: "attribute q_step_per_nm of dataset data", "recipe", "nominal".
    pub origin: String,
}

impl Stated {
    /// A value with its origin.
    pub fn new(value: f64, origin: impl Into<String>) -> Self {
        Self {
            value,
            origin: origin.into(),
        }
    }
}

/// How many frames one source says there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameCount {
    /// Frames.
    pub n_frames: u64,
    /// In words: "length of the file", "Frames in Acquisition of the .hdr file".
    pub origin: String,
}

impl FrameCount {
    /// A count with its origin.
    pub fn new(n_frames: u64, origin: impl Into<String>) -> Self {
        Self {
            n_frames,
            origin: origin.into(),
        }
    }
}

/// Something a person should know about the data or the result, with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Such as `W021`.
    pub code: String,
    /// One or two full sentences.
    pub text: String,
}

impl Warning {
    /// A warning with its code.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
        }
    }
}

/// Whether frames can be asked for in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Any run at any time.
    Random,
    /// Only in the order of acquisition.
    Forward,
}

/// The block that a source decodes at once; reads that are multiples of it decode nothing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkShape {
    /// Scans in a chunk.
    pub n_times: usize,
    /// Scan rows in a chunk.
    pub n_rows: usize,
    /// Scan columns in a chunk.
    pub n_cols: usize,
}

/// All that is known of a series before its frames are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesHeader {
    /// What a person calls it: the file's or folder's name.
    pub name: String,
    /// The container, in words: "HDF5", "Zarr v3", "memory".
    pub format: String,
    /// Lengths of the axes.
    pub shape: SeriesShape,
    /// Number type of the samples.
    pub sample_type: SampleType,
    /// Distance of neighboring scan positions.
    pub step_nm: Option<Stated>,
    /// Spatial frequency (1/d, no 2π) a pattern pixel.
    pub q_step_per_nm: Option<Stated>,
    /// Acceleration voltage.
    pub voltage_kv: Option<Stated>,
    /// Convergence semi-angle.
    pub convergence_mrad: Option<Stated>,
    /// Exposure of one pattern.
    pub dwell_ms: Option<Stated>,
    /// Nominal time from scan to scan.
    pub period_s: Option<Stated>,
    /// Time from the start of the first scan to the end of the last.
    pub total_s: Option<Stated>,
    /// Temperature of the sample.
    pub temperature_k: Option<Stated>,
    /// Measured start of each scan, from the first, `[time]`.
    pub times_s: Option<Vec<f64>>,
    /// Start of the first frame, nanoseconds since 1970 in UTC, where the file states it.
    #[serde(default)]
    pub start_unix_ns: Option<i64>,
    /// Where the lengths of the scan's axes came from, where the file has them from elsewhere than its own axes.
    #[serde(default)]
    pub scan_origin: Option<String>,
    /// How many frames there are according to each source that says so: header, length of the file, sidecar.
    #[serde(default)]
    pub frame_counts: Vec<FrameCount>,
    /// Frames that the file does not hold or that were lost.
    pub missing: Vec<FrameRun>,
    /// What is decoded at once.
    pub chunk: ChunkShape,
    /// Order in which frames can be had.
    pub access: Access,
    /// Whether the file is still being written.
    pub growing: bool,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

impl SeriesHeader {
    /// A header that knows nothing but shape and type.
    pub fn new(
        name: impl Into<String>,
        format: impl Into<String>,
        shape: SeriesShape,
        sample_type: SampleType,
    ) -> Self {
        Self {
            name: name.into(),
            format: format.into(),
            shape,
            sample_type,
            step_nm: None,
            q_step_per_nm: None,
            voltage_kv: None,
            convergence_mrad: None,
            dwell_ms: None,
            period_s: None,
            total_s: None,
            temperature_k: None,
            times_s: None,
            start_unix_ns: None,
            scan_origin: None,
            frame_counts: Vec::new(),
            missing: Vec::new(),
            chunk: ChunkShape {
                n_times: 1,
                n_rows: 1,
                n_cols: 1,
            },
            access: Access::Random,
            growing: false,
            warnings: Vec::new(),
        }
    }
}
