//! How fast is this machine at what the work is made of?
//!
//! Disk, memory, the kernels, and from them the time that data of a given size will take. Each part checks its answer, so that a
//! fast wrong number is no number. A clock is handed in; nothing is left behind.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use halotau::calibrate::Calibration;
use halotau::correlate::products;
use halotau::ndarray::{Array2, Array3, Array4};
use halotau::recipe::Recipe;
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::relax::{
    BaselineMode, ExponentFactor, FitOutcome, KwwFitter, KwwProblem, Stretch, lag_weights,
};
use halotau::ring::{PixelSeries, RingCounts, RingSeries};
use halotau::series::{SampleType, Samples, SeriesHeader, SeriesShape, Stated};
use halotau::source::{FrameSource, MemorySeries};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};

/// Each part is repeated for so long, and at least three times; the least time counts.
const REPEAT_S: f64 = 0.4;

/// A disk is read for so long at most.
const LONGEST_READ_S: f64 = 10.0;

/// Bytes of one request: large against its cost, as the pass reads.
const REQUEST: usize = 16 << 20;

/// Scans, ring pixels and lags of the paper's experiment.
const N_TIMES: usize = 106;
const N_PIXELS: usize = 209;

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchSettings {
    /// The file that is read; without it one is made in `folder` and is gone again afterwards.
    pub file: Option<PathBuf>,
    /// Where a file is made.
    pub folder: PathBuf,
    /// Its bytes.
    pub made_bytes: u64,
    /// Bytes of data to say the time of.
    pub size_bytes: Option<u64>,
}

/// How fast this machine is. Rates are in units of 10⁹.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bench {
    /// Threads that the pass uses.
    pub n_threads: usize,
    /// Reading a file from its start.
    pub disk: DiskSpeed,
    /// Copying memory, one thread; bytes copied.
    pub copy_gb_per_s: f64,
    /// The pass over frames of 264 × 264 pixels in memory, binned 4 × 4, on all threads; bytes of frames.
    pub reduce_gb_per_s: f64,
    /// The two-time product, 106 scans by 209 pixels, counted as a full product; one thread.
    pub product_gflop_per_s: f64,
    /// Fits with a free stretch on 105 lags; one thread.
    pub fits_per_s: f64,
    /// How long data of the size asked for take.
    pub expected: Option<Expected>,
}

/// How fast a file was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiskSpeed {
    /// Which.
    pub file: PathBuf,
    /// Bytes read.
    pub bytes: u64,
    /// Rate.
    pub gb_per_s: f64,
    /// Share that the disk delivered; the rest was in the page cache. Absent where the system does not tell.
    pub from_disk: Option<f64>,
    /// Rate of writing and flushing, where the file was made.
    pub write_gb_per_s: Option<f64>,
}

/// What the pass over some data will take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// Bytes of the data.
    pub size_bytes: u64,
    /// Seconds of reading.
    pub read_s: f64,
    /// Seconds of reducing, which goes on meanwhile.
    pub reduce_s: f64,
    /// The longer of the two.
    pub pass_s: f64,
}

/// Measures.
///
/// # Errors
///
/// Files that cannot be read or made; [`Error::Bench`] where an answer is wrong.
pub fn bench(
    settings: &BenchSettings,
    clock: &(dyn Fn() -> f64 + Sync),
    context: &Context<'_>,
) -> Result<Bench> {
    let step = |name: &str| context.note(format!("measuring {name}"));
    step("the disk");
    let disk = match &settings.file {
        Some(file) => read_file(file, clock)?,
        None => make_and_read(&settings.folder, settings.made_bytes, clock)?,
    };
    step("memory");
    let copy_gb_per_s = copy(clock, context)?;
    step("the pass");
    let reduce_gb_per_s = reduce(clock, context)?;
    step("the two-time product");
    let product_gflop_per_s = product(clock)?;
    step("the fit");
    let fits_per_s = fits(clock)?;
    let expected = settings.size_bytes.map(|size_bytes| {
        let seconds = |gb_per_s: f64| size_bytes as f64 / (gb_per_s * 1e9);
        let (read_s, reduce_s) = (seconds(disk.gb_per_s), seconds(reduce_gb_per_s));
        Expected {
            size_bytes,
            read_s,
            reduce_s,
            pass_s: read_s.max(reduce_s),
        }
    });
    Ok(Bench {
        n_threads: context.n_threads(),
        disk,
        copy_gb_per_s,
        reduce_gb_per_s,
        product_gflop_per_s,
        fits_per_s,
        expected,
    })
}

/// The least seconds of a piece of work.
fn fastest<T>(
    clock: &(dyn Fn() -> f64 + Sync),
    mut work: impl FnMut() -> Result<T>,
) -> Result<(f64, T)> {
    let begin = clock();
    let (mut least_s, mut n_runs) = (f64::INFINITY, 0);
    loop {
        let start = clock();
        let answer = work()?;
        least_s = least_s.min(clock() - start);
        n_runs += 1;
        if n_runs >= 3 && clock() - begin > REPEAT_S {
            return Ok((least_s.max(1e-9), answer));
        }
    }
}

fn check(part: &'static str, holds: bool) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Bench { part })
    }
}

/// Bytes that this process had from disks so far, where the system counts them.
fn bytes_from_disk() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    let line = text.lines().find(|line| line.starts_with("read_bytes:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn read_file(path: &Path, clock: &(dyn Fn() -> f64 + Sync)) -> Result<DiskSpeed> {
    let failed = |source| Error::read(path, source);
    let mut file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    read(&mut file, path, clock)
}

fn read(file: &mut File, path: &Path, clock: &(dyn Fn() -> f64 + Sync)) -> Result<DiskSpeed> {
    let failed = |source| Error::read(path, source);
    let mut request = vec![0; REQUEST];
    let before = bytes_from_disk();
    let begin = clock();
    let mut bytes = 0;
    while clock() - begin < LONGEST_READ_S {
        match file.read(&mut request).map_err(failed)? {
            0 => break,
            n => bytes += n as u64,
        }
    }
    let seconds = (clock() - begin).max(1e-9);
    if bytes == 0 {
        return Err(Error::content(
            path,
            "it is empty: there is nothing to read",
        ));
    }
    let from_disk = before.zip(bytes_from_disk()).map(|(before, after)| {
        let share = after.saturating_sub(before) as f64 / bytes as f64;
        // The system reads ahead of what was asked for.
        share.min(1.0)
    });
    Ok(DiskSpeed {
        file: path.to_owned(),
        bytes,
        gb_per_s: bytes as f64 / seconds / 1e9,
        from_disk,
        write_gb_per_s: None,
    })
}

/// Makes a file whose name is gone before it is filled, so that nothing is left however the process ends.
fn make_and_read(
    folder: &Path,
    n_bytes: u64,
    clock: &(dyn Fn() -> f64 + Sync),
) -> Result<DiskSpeed> {
    let path = folder.join(format!(".halotau-bench-{}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|source| Error::create(&path, source))?;
    let _gone = Gone::of(&path);
    let mut request = vec![0; REQUEST];
    let mut random = Random(1);
    // Noise, so that no disk makes it smaller.
    request.fill_with(|| random.next() as u8);
    let begin = clock();
    let mut left = n_bytes.max(1);
    while left > 0 {
        let n = left.min(REQUEST as u64) as usize;
        file.write_all(&request[..n])
            .map_err(|source| Error::write(&path, source))?;
        left -= n as u64;
    }
    file.sync_all()
        .map_err(|source| Error::write(&path, source))?;
    let write_s = (clock() - begin).max(1e-9);
    file.seek(SeekFrom::Start(0))
        .map_err(|source| Error::read(&path, source))?;
    let speed = read(&mut file, folder, clock)?;
    Ok(DiskSpeed {
        write_gb_per_s: Some(n_bytes as f64 / write_s / 1e9),
        ..speed
    })
}

/// Removes a file at once where the system keeps what is open, else at the end.
struct Gone(Option<PathBuf>);

impl Gone {
    fn of(path: &Path) -> Self {
        let removed = cfg!(unix) && fs::remove_file(path).is_ok();
        Self((!removed).then(|| path.to_owned()))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It is in the temporary name of a process that ends; the next one is told where it stands.
            let _ = fs::remove_file(path);
        }
    }
}

/// Numbers that look random, the same each time: a linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

fn copy(clock: &(dyn Fn() -> f64 + Sync), context: &Context<'_>) -> Result<f64> {
    // Far beyond any cache, far below the limit.
    let n_bytes = (256 << 20).min(context.memory_limit() / 8).max(1 << 20) as usize;
    let from = vec![3_u8; n_bytes];
    let mut to = vec![0_u8; n_bytes];
    let (seconds, ()) = fastest(clock, || {
        to.copy_from_slice(std::hint::black_box(&from));
        Ok(())
    })?;
    check("memory", std::hint::black_box(&to) == &from)?;
    Ok(n_bytes as f64 / seconds / 1e9)
}

fn reduce(clock: &(dyn Fn() -> f64 + Sync), context: &Context<'_>) -> Result<f64> {
    let shape = SeriesShape {
        n_times: 12,
        n_rows: 4,
        n_cols: 8,
        pattern_rows: 264,
        pattern_cols: 264,
    };
    let n_frames = shape.n_times * shape.n_positions();
    let mut random = Random(2);
    let samples: Vec<u16> = (0..n_frames * shape.frame_len())
        .map(|_| (random.next() & 7) as u16)
        .collect();
    let total = |frame: usize| -> u64 {
        let frame = &samples[frame * shape.frame_len()..][..shape.frame_len()];
        frame.iter().map(|&count| u64::from(count)).sum()
    };
    let last = total(n_frames - 1);
    let mut header = SeriesHeader::new("bench", "memory", shape, SampleType::U16);
    header.period_s = Some(Stated::new(10.0, "bench"));
    let n_bytes = 2 * samples.len();
    let source = MemorySeries::new(header, Samples::U16(samples))?;
    let valid = Array2::from_elem((shape.pattern_rows, shape.pattern_cols), true);
    let calibration = Calibration::centered((131.5, 131.5), 0.058, valid);
    let plan = || -> Result<ReducePlan> {
        let range = Recipe::default().annulus_range();
        let settings = ReduceSettings::of(source.header(), calibration.clone(), range)?;
        let settings = ReduceSettings { bin: 4, ..settings };
        Ok(ReducePlan::new(source.header(), settings)?)
    };
    let planned = plan()?;
    let (seconds, sums) = fastest(clock, || {
        context.install(|| {
            let mut last = None;
            for shard in planned.shards() {
                let (_, sums) = planned.reduce_shard(&source, &shard, 64 << 20, &|_| true)?;
                last = Some(sums);
            }
            Ok(last)
        })
    })?;
    let found = sums.and_then(|sums| sums.virtual_image.last().copied());
    check("the pass", found == Some(last as f64))?;
    Ok(n_bytes as f64 / seconds / 1e9)
}

fn product(clock: &(dyn Fn() -> f64 + Sync)) -> Result<f64> {
    // About a millisecond: short enough that other work does not interrupt each of them.
    const N_PRODUCTS: usize = 10;
    let mut random = Random(3);
    let dim = (1, 1, N_TIMES, N_PIXELS);
    let counts = Array4::from_shape_simple_fn(dim, || (random.next() & 31) as u16);
    let rings = RingSeries {
        first_row: 0,
        first_col: 0,
        counts: RingCounts::U16(counts.clone()),
        frame_valid: Array3::from_elem((1, 1, N_TIMES), true),
        pixel_valid: None,
    };
    let pixels: Vec<usize> = (0..N_PIXELS).collect();
    let series = PixelSeries::gather(&rings, (0, 0), &pixels, None);
    let (seconds, found) = fastest(clock, || {
        let mut found = products(std::hint::black_box(&series));
        for _ in 1..N_PRODUCTS {
            found = products(std::hint::black_box(&series));
        }
        Ok(found)
    })?;
    let count = |time, pixel| u64::from(counts[[0, 0, time, pixel]]);
    let plain = |(first, second)| -> u64 {
        (0..N_PIXELS)
            .map(|pixel| count(first, pixel) * count(second, pixel))
            .sum()
    };
    let exact = found
        .indexed_iter()
        .all(|(at, &product)| product == plain(at) as f64);
    check("the two-time product", exact)?;
    let flops = 2 * N_TIMES * N_TIMES * N_PIXELS * N_PRODUCTS;
    Ok(flops as f64 / seconds / 1e9)
}

fn fits(clock: &(dyn Fn() -> f64 + Sync)) -> Result<f64> {
    const N_FITS: usize = 64;
    const STEP_S: f64 = 10.0;
    let lag_s: Vec<f64> = (1..N_TIMES).map(|lag| lag as f64 * STEP_S).collect();
    let n_pairs: Vec<usize> = (1..N_TIMES).rev().collect();
    let weights = lag_weights(&n_pairs, Recipe::default().relaxation.weights);
    let truth: Vec<(f64, f64)> = (0..N_FITS)
        .map(|curve| {
            let share = curve as f64 / N_FITS as f64;
            (50.0 * 20.0_f64.powf(share), 0.6 + share)
        })
        .collect();
    let curves: Vec<Vec<f64>> = truth
        .iter()
        .map(|(tau_s, stretch)| {
            let g = |lag_s: &f64| 1.0 + 0.3 * (-2.0 * (lag_s / tau_s).powf(*stretch)).exp();
            lag_s.iter().map(g).collect()
        })
        .collect();
    let fitter = KwwFitter::new(&KwwProblem {
        lag_s: &lag_s,
        g: &[],
        weights: &weights,
        exponent_factor: ExponentFactor::Two,
        stretch: Stretch::Free { min: 0.3, max: 3.0 },
        baseline: BaselineMode::Given(1.0),
        tau_bounds_s: [1.0, 1e5],
        finite_window: None,
    });
    let (seconds, found) = fastest(clock, || {
        Ok(curves.iter().map(|g| fitter.fit(g)).collect::<Vec<_>>())
    })?;
    let right = found.iter().zip(&truth).all(|(fit, (tau_s, _))| {
        fit.outcome == FitOutcome::Converged && (fit.tau_s / tau_s - 1.0).abs() < 1e-3
    });
    check("the fit", right)?;
    Ok(N_FITS as f64 / seconds)
}
