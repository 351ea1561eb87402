//! From a data block of the recipe to a source and everything that must be known before the pass.
//!
//! What the recipe states wins over what the file states. A sample of frames is read where the center is not given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halotau::Error as CoreError;
use halotau::axes::TimeAxis;
use halotau::calibrate::center::{self, Center};
use halotau::calibrate::dark::Dark;
use halotau::calibrate::scale::{self, ScaleOrigin};
use halotau::calibrate::{Calibration, CenterOrigin, CenterPath, Descan, Ellipse, mask};
use halotau::ndarray::Array2;
use halotau::recipe::{DataBlock, Find, Recipe, Region};
use halotau::reduce::{ReducePlan, ReduceSettings};
use halotau::ring::Annulus;
use halotau::series::{FrameBlock, FrameRun, Sample, SeriesHeader, Stated, Warning};
use halotau::source::{CleanedFrames, FrameSource};
use halotau::with_samples;
use halotau_io::{BoxedSource, OpenRequest};

use crate::calibrate::{Calibrated, Record, contradictions, measured, uncalibratable};
use crate::context::Context;
use crate::error::Result;
use crate::recipe_file::Loaded;

/// Frames of the sample from which the center is found: enough to average speckle out, few enough to read in seconds.
const SAMPLE_FRAMES: usize = 600;

/// Bytes of the sample at most; large patterns need fewer frames, because each holds more speckles.
const SAMPLE_BYTES: usize = 256 << 20;

/// A series that is open, with all that the pass needs.
pub struct Prepared {
    /// Delivers the frames.
    pub source: BoxedSource,
    /// The file's header with the recipe's statements in place.
    pub header: SeriesHeader,
    /// The plan of the pass.
    pub plan: ReducePlan,
    /// What was measured of the microscope, where the recipe says `auto`.
    pub calibrated: Option<Box<Calibrated>>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// A series that is open, with what recipe and calibration file state about its patterns.
pub(crate) struct Opened {
    pub(crate) source: BoxedSource,
    /// The file's header with the recipe's statements in place.
    pub(crate) header: SeriesHeader,
    pub(crate) time: TimeAxis,
    pub(crate) region: Region,
    /// Pixels that the user leaves.
    pub(crate) usable: Array2<bool>,
    /// Of single values or of dark frames.
    pub(crate) dark: Option<Dark>,
    pub(crate) gain: Option<Array2<f64>>,
    pub(crate) known: StatedPattern,
    pub(crate) warnings: Vec<Warning>,
}

/// What is stated and therefore not measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatedPattern {
    pub(crate) center: Option<(f64, f64)>,
    pub(crate) descan: Option<Descan>,
    pub(crate) center_path: Option<CenterPath>,
    pub(crate) ellipse: Option<Ellipse>,
    /// From a calibration file; what the recipe states is in the header.
    pub(crate) q_step_per_nm: Option<f64>,
    /// Whether the mask of a calibration file is part of the usable pixels.
    pub(crate) mask: bool,
    /// Whether a calibration file tells of spikes of single frames.
    pub(crate) spikes: bool,
}

impl Opened {
    /// The scale without a look at the patterns: as the recipe or a calibration file states it, from the camera length, as
    /// the data file states it.
    ///
    /// # Errors
    ///
    /// [`CoreError::Setting`] where nothing states it.
    pub(crate) fn q_step(&self, recipe: &Recipe) -> Result<(f64, ScaleOrigin), CoreError> {
        if let Some(value) = recipe.pattern.q_step_per_nm.or(self.known.q_step_per_nm) {
            return Ok((value, ScaleOrigin::Given));
        }
        let settings = &recipe.calibration;
        let voltage = self.header.voltage_kv.as_ref().map(|stated| stated.value);
        if let (Some(pixel_um), Some(length_mm), Some(voltage_kv)) =
            (settings.pixel_um, settings.camera_length_mm, voltage)
        {
            let value = scale::from_camera_length(pixel_um, length_mm, voltage_kv);
            return Ok((value, ScaleOrigin::CameraLength));
        }
        required(
            &self.header.q_step_per_nm,
            "pattern.q_step_per_nm",
            &self.header.name,
        )
        .map(|value| (value, ScaleOrigin::File))
    }
}

/// Opens a data block and reads what is stated about its patterns.
pub(crate) fn open(loaded: &Loaded, block: &DataBlock) -> Result<Opened> {
    let recipe = &loaded.recipe;
    let source = halotau_io::open(&OpenRequest::from_block(block, &loaded.folder))?;
    let header = merged_header(source.header(), recipe, block);
    let (time, warnings) = TimeAxis::of(&header, recipe.time.basis)?;
    let shape = header.shape;
    let pattern = &recipe.pattern;
    let native = (shape.pattern_rows, shape.pattern_cols);
    let too_wide = |cols: &usize| *cols > native.1;
    if let Some(cols) = pattern.common_mode_cols.filter(too_wide) {
        let setting = CoreError::Setting {
            key: "pattern.common_mode_cols".to_owned(),
            value: cols.to_string(),
            problem: format!("a row of the patterns has {} pixels", native.1),
        };
        return Err(setting.into());
    }
    let read = |file: &Option<PathBuf>| {
        file.as_deref()
            .map(|file| read_pattern(&loaded.folder, file))
            .transpose()
    };
    let mask_file = read(&pattern.mask_file)?.map(|values| values.mapv(|value| value != 0.0));
    let mut usable = mask::pixel_valid(native, mask_file.as_ref(), pattern.crop, &pattern.mask)?;
    let mut known = StatedPattern {
        center: pattern.center.map(|[row, col]| (row, col)),
        descan: pattern.descan,
        center_path: pattern.center_path.clone(),
        ellipse: pattern.ellipse,
        ..StatedPattern::default()
    };
    if let Some(file) = &block.calibration {
        let stored = Record::read(&loaded.folder.join(file))?.calibration;
        let center = stored
            .center
            .as_ref()
            .map(|center| (center.value[0], center.value[1]));
        known.center = known.center.or(center);
        known.descan = known.descan.or(stored.descan());
        known.center_path = known.center_path.or(stored.center_path());
        known.ellipse = known.ellipse.or(stored.ellipse());
        known.q_step_per_nm = stored.q_scale.as_ref().map(|scale| scale.q_step_per_nm);
        if let Some(mask) = read(&stored.mask_file)? {
            let stored = mask.mapv(|value| value != 0.0);
            let both = mask::pixel_valid(native, Some(&stored), pattern.crop, &pattern.mask)?;
            usable.zip_mut_with(&both, |usable, valid| *usable &= valid);
            known.mask = true;
        }
        known.spikes = stored.spikes.is_some();
    }
    let dark = match &pattern.dark_file {
        Some(file) => {
            let frames = halotau_io::read_patterns(&loaded.folder.join(file))?;
            Some(Dark::of_frames(frames.view())?)
        }
        None => None,
    };
    for at in dark.iter().flat_map(Dark::noisy) {
        // A dark of another shape is refused with its own words where it is used.
        if let Some(usable) = usable.get_mut(at) {
            *usable = false;
        }
    }
    Ok(Opened {
        time,
        region: recipe.scan.region.unwrap_or(Region {
            rows: [0, shape.n_rows],
            cols: [0, shape.n_cols],
        }),
        usable,
        dark,
        gain: read(&pattern.gain_file)?,
        known,
        warnings,
        source,
        header,
    })
}

/// Opens one data block and plans its pass. Where the patterns cannot be calibrated, `pictures` is the folder for a picture
/// that shows why.
///
/// # Errors
///
/// What is wrong with the file, or between the recipe and the file.
pub fn prepare(
    loaded: &Loaded,
    block: &DataBlock,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Prepared> {
    let opened = open(loaded, block)?;
    let found = calibration(&opened, &loaded.recipe, pictures, context)?;
    plan_pass(opened, &loaded.recipe, found)
}

/// As [`prepare`], with a calibration that was found before.
///
/// # Errors
///
/// As [`prepare`].
pub fn prepare_with(
    loaded: &Loaded,
    block: &DataBlock,
    calibration: Calibration,
) -> Result<Prepared> {
    let opened = open(loaded, block)?;
    plan_pass(opened, &loaded.recipe, (calibration, None, Vec::new()))
}

/// Plans the pass over a series whose calibration is known.
fn plan_pass(
    opened: Opened,
    recipe: &Recipe,
    (calibration, calibrated, mut warnings): Found,
) -> Result<Prepared> {
    let Opened {
        source,
        header,
        time,
        region,
        dark,
        gain,
        warnings: of_time,
        ..
    } = opened;
    warnings.extend(of_time);
    let (source, header) = match &calibrated {
        Some(found) if found.cleans() => {
            let cleaned =
                CleanedFrames::new(source, found.spikes.clone(), found.common_mode.clone());
            let sample_type = cleaned.header().sample_type;
            let header = SeriesHeader {
                sample_type,
                ..header
            };
            (Box::new(cleaned) as BoxedSource, header)
        }
        _ => (source, header),
    };
    let settings = ReduceSettings {
        region,
        bin: recipe.pattern.bin,
        q_range: recipe.annulus_range(),
        calibration,
        dark: dark.map(|dark| dark.mean),
        gain,
        time,
        temperature_k: header
            .temperature_k
            .as_ref()
            .map_or(f64::NAN, |stated| stated.value),
        step_nm: header
            .step_nm
            .as_ref()
            .map_or(f64::NAN, |stated| stated.value),
    };
    warnings.extend(header.warnings.iter().cloned());
    let plan = ReducePlan::new(&header, settings)?;
    check_rings(plan.annulus(), recipe)?;
    Ok(Prepared {
        source,
        header,
        plan,
        calibrated,
        warnings,
    })
}

/// What is used of the patterns, what was measured of them, and what a person should know.
type Found = (Calibration, Option<Box<Calibrated>>, Vec<Warning>);

/// What is used of the patterns: as stated, as measured where the recipe says `auto`, or from a quick look for the center.
fn calibration(
    opened: &Opened,
    recipe: &Recipe,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Found> {
    let known = &opened.known;
    if asks(recipe, known) {
        let settings = &recipe.calibration;
        let found = measured(opened, recipe, settings, pictures, context)?;
        let warnings = found.warnings.clone();
        return Ok((found.calibration.clone(), Some(Box::new(found)), warnings));
    }
    let native = opened.usable.dim();
    let mut calibration = Calibration {
        center_row: (native.0 as f64 - 1.0) / 2.0,
        center_col: (native.1 as f64 - 1.0) / 2.0,
        center_error: 0.0,
        center_origin: CenterOrigin::Given,
        descan: known.descan.unwrap_or_default(),
        center_path: CenterPath::default(),
        ellipse: known.ellipse.unwrap_or_default(),
        q_step_per_nm: opened.q_step(recipe)?.0,
        pixel_valid: opened.usable.clone(),
    };
    let path = known.center_path.clone().unwrap_or_default();
    let n_times = opened.header.shape.n_times;
    if let Some((row, col)) = known.center {
        calibration.follow(path, n_times);
        (calibration.center_row, calibration.center_col) = (row, col);
        let warnings = contradictions(&opened.header, recipe, &calibration, None);
        return Ok((calibration, None, warnings));
    }
    // A quick look takes the patterns where the path moves them, and pixels as they are on the detector.
    calibration.center_path = path.clone();
    let mut mean = context.install(|| sample_mean(&opened.source, &calibration, opened.region))?;
    if let Some(dark) = &opened.dark {
        mean -= &dark.mean;
    }
    if let Some(gain) = &opened.gain {
        mean /= gain;
    }
    let found = center::find(&mean, &calibration.pixel_valid, calibration.ellipse);
    let Center { row, col, error } =
        found.map_err(|error| uncalibratable(opened, &mean, error, recipe, pictures, context))?;
    calibration.follow(path, n_times);
    (calibration.center_row, calibration.center_col) = (row, col);
    calibration.center_error = error;
    calibration.center_origin = CenterOrigin::Halo;
    let mut warnings = contradictions(&opened.header, recipe, &calibration, None);
    // A tenth of a binned pixel changes V by a per cent.
    if error > 0.3 * recipe.pattern.bin as f64 {
        warnings.push(Warning::new(
            "W061",
            format!(
                "The center ({row:.2}, {col:.2}) was found only to ±{error:.2} native pixels; look at the figure of the \
                 mean pattern, mask the beam stop, or give pattern.center."
            ),
        ));
    }
    Ok((calibration, None, warnings))
}

/// Whether anything must be measured that is not stated.
fn asks(recipe: &Recipe, known: &StatedPattern) -> bool {
    let settings = &recipe.calibration;
    let asked = |find: Find, is_known: bool| find == Find::Auto && !is_known;
    asked(settings.center, known.center.is_some())
        || asked(settings.descan, known.descan.is_some())
        || asked(settings.center_path, known.center_path.is_some())
        || asked(settings.ellipse, known.ellipse.is_some())
        || asked(settings.beam_stop, known.mask)
        || asked(settings.bad_pixels, known.mask && !known.spikes)
        || recipe.pattern.common_mode_cols.is_some()
        || (settings.ring_per_nm.is_some()
            && recipe
                .pattern
                .q_step_per_nm
                .or(known.q_step_per_nm)
                .is_none())
}

/// The header with what the recipe states instead of what the file does.
pub fn merged_header(header: &SeriesHeader, recipe: &Recipe, block: &DataBlock) -> SeriesHeader {
    let mut header = header.clone();
    let replace = |stated: &mut Option<Stated>, given: Option<f64>| {
        if let Some(value) = given {
            *stated = Some(Stated::new(value, "recipe"));
        }
    };
    replace(&mut header.temperature_k, block.temperature_k);
    replace(&mut header.period_s, block.period_s);
    replace(&mut header.total_s, block.total_s);
    replace(&mut header.dwell_ms, block.dwell_ms);
    replace(&mut header.step_nm, recipe.scan.step_nm);
    replace(&mut header.q_step_per_nm, recipe.pattern.q_step_per_nm);
    replace(&mut header.voltage_kv, recipe.microscope.voltage_kv);
    replace(
        &mut header.convergence_mrad,
        recipe.microscope.convergence_mrad,
    );
    if let Some(times_s) = &block.times_s {
        let mut times_s = times_s.clone();
        // Where only the first scans are taken, the list may be of all.
        times_s.truncate(block.n_times.unwrap_or(usize::MAX));
        header.times_s = Some(times_s);
    }
    header
}

/// The recipe of one series: what the file states is filled in where the recipe is silent.
pub fn completed_recipe(recipe: &Recipe, header: &SeriesHeader) -> Recipe {
    let mut recipe = recipe.clone();
    let fill = |given: &mut Option<f64>, stated: &Option<Stated>| {
        *given = given.or(stated.as_ref().map(|stated| stated.value));
    };
    fill(&mut recipe.microscope.voltage_kv, &header.voltage_kv);
    fill(
        &mut recipe.microscope.convergence_mrad,
        &header.convergence_mrad,
    );
    fill(&mut recipe.scan.step_nm, &header.step_nm);
    fill(&mut recipe.pattern.q_step_per_nm, &header.q_step_per_nm);
    recipe
}

/// Checks the rings that will be analyzed before hours are spent on a pass that does not hold them.
fn check_rings(annulus: &Annulus, recipe: &Recipe) -> Result<(), CoreError> {
    let q_per_nm = &annulus.q_per_nm;
    let available_max_per_nm = q_per_nm.iter().copied().fold(0.0, f64::max);
    for range in [
        recipe.dynamics.q_range_per_nm,
        recipe.structure.q_range_per_nm,
    ] {
        if range.min_per_nm > available_max_per_nm {
            return Err(CoreError::RingOutside {
                what: "the detector",
                q_min_per_nm: range.min_per_nm,
                q_max_per_nm: range.max_per_nm,
                available_min_per_nm: 0.0,
                available_max_per_nm,
            });
        }
        annulus.ring(range)?;
    }
    Ok(())
}

fn required(stated: &Option<Stated>, key: &str, name: &str) -> Result<f64, CoreError> {
    stated
        .as_ref()
        .map(|stated| stated.value)
        .ok_or_else(|| CoreError::Setting {
            key: key.to_owned(),
            value: "not given".to_owned(),
            problem: format!("{name} does not state it; add it to the recipe"),
        })
}

fn read_pattern(folder: &Path, file: &Path) -> Result<Array2<f64>> {
    Ok(halotau_io::read_pattern(&folder.join(file))?)
}

/// Mean over a sample of frames, each shifted to the common center.
fn sample_mean(
    source: &BoxedSource,
    calibration: &Calibration,
    region: Region,
) -> Result<Array2<f64>> {
    let header = source.header();
    let shape = header.shape;
    let frame_len = shape.frame_len();
    let frame_bytes = frame_len * header.sample_type.n_bytes();
    let n_frames = SAMPLE_FRAMES.min(SAMPLE_BYTES / frame_bytes.max(1)).max(1);
    let n_cols = region.cols[1] - region.cols[0];
    let n_rows = region.rows[1] - region.rows[0];
    let n_times = shape.n_times.clamp(1, 4);
    let n_sampled_rows = (n_frames / (n_times * n_cols)).clamp(1, n_rows);
    let mut sums: BTreeMap<(i32, i32), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut block = FrameBlock::empty(header.sample_type);
    for sample_time in 0..n_times {
        for sample_row in 0..n_sampled_rows {
            let row = region.rows[0] + sample_row * n_rows / n_sampled_rows;
            let first_frame = row * shape.n_cols + region.cols[0];
            let first_time = sample_time * shape.n_times / n_times;
            let run = FrameRun {
                first_time,
                n_times: 1,
                first_frame,
                n_frames: n_cols.min(n_frames),
            };
            source.read(&run, &mut block)?;
            for frame in 0..run.n_frames {
                let offset = calibration.center_offset(
                    row,
                    region.cols[0] + frame,
                    shape.n_rows,
                    shape.n_cols,
                );
                let (down, across) = calibration.center_path.whole(first_time);
                let shift = (
                    offset.0.round() as i32 + down,
                    offset.1.round() as i32 + across,
                );
                let (sum, n) = sums
                    .entry(shift)
                    .or_insert_with(|| (vec![0.0; frame_len], vec![0.0; frame_len]));
                with_samples!(&block.samples, samples => {
                    for (at, sample) in samples[frame * frame_len..(frame + 1) * frame_len].iter().enumerate() {
                        let value = sample.to_f64();
                        if value.is_finite() {
                            sum[at] += value;
                            n[at] += 1.0;
                        }
                    }
                });
            }
        }
    }
    Ok(Array2::from_shape_fn(
        (shape.pattern_rows, shape.pattern_cols),
        |(row, col)| {
            let (mut sum, mut n) = (0.0, 0.0);
            for (&(shift_row, shift_col), (sums, ns)) in &sums {
                let at = (
                    row as i64 + i64::from(shift_row),
                    col as i64 + i64::from(shift_col),
                );
                let inside = (0..shape.pattern_rows as i64).contains(&at.0)
                    && (0..shape.pattern_cols as i64).contains(&at.1);
                if inside && calibration.pixel_valid[[at.0 as usize, at.1 as usize]] {
                    let at = at.0 as usize * shape.pattern_cols + at.1 as usize;
                    sum += sums[at];
                    n += ns[at];
                }
            }
            sum / n
        },
    ))
}
