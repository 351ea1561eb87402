//! Measures what the microscope did to the patterns of a series, for the recipe or for the pass that follows.
//!
//! What counts, in this order: what `pattern` of the recipe states, what a file of `halotau calibrate --write` states
//! (`calibration` of a data block), and what is measured from a sample of the frames where `calibration` says `auto`.

use std::path::{Path, PathBuf};

use halotau::Error as CoreError;
use halotau::calibrate::common_mode::CommonMode;
use halotau::calibrate::measure::{Measured, Request, WithError, independent_areas, measure};
use halotau::calibrate::scale::{self, Halo, Known, ScaleOrigin};
use halotau::calibrate::spikes::SpikeLimits;
use halotau::calibrate::{Calibration, CenterOrigin, CenterPath};
use halotau::ndarray::Array2;
use halotau::recipe::{CalibrationSettings, DataBlock, Find, Recipe, Region};
use halotau::series::{SeriesHeader, Stated, Warning};
use halotau::survey::{Survey, SurveyPlan, survey};
use halotau_figure::Figure;
use halotau_figure::figures::{self, CalibrationView};

use crate::context::{Context, Unit};
use crate::draw;
use crate::error::{Error, Result};
use crate::prepare::{Opened, completed_recipe, open};
use crate::recipe_file::Loaded;
use crate::results;

mod every_frame;
mod link;
mod record;
mod table;

pub use every_frame::{ConditionsRecord, MovementRecord, look_at_every_frame};
pub use record::{Record, Values};
pub(crate) use table::microscope;

/// What was measured of one series, and what is used.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// Name of the series.
    pub name: String,
    /// What is used.
    pub calibration: Calibration,
    /// What was measured.
    pub measured: Measured,
    /// As it is written for people and for the recipe.
    pub record: Record,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// What every frame shows, in lines for people; empty where only a sample was looked at.
    pub conditions_text: String,
    /// What samples of single frames may be, where some are more.
    pub spikes: Option<SpikeLimits>,
    /// The offset of row segments, where the recipe asks for it.
    pub common_mode: Option<CommonMode>,
    mean: Array2<f64>,
    scan: (usize, usize),
}

impl Calibrated {
    /// Whether frames are changed one by one before the pass.
    pub(crate) fn cleans(&self) -> bool {
        self.spikes.is_some() || self.common_mode.is_some()
    }
}

/// What was left by [`calibrate`].
#[derive(Debug, Clone)]
pub struct Written {
    /// The calibration.
    pub file: PathBuf,
    /// Whether the recipe names it now.
    pub linked: bool,
}

/// Measures everything of one data block that the recipe does not state.
///
/// # Errors
///
/// What is wrong with recipe or data; [`Error::Uncalibratable`] with a picture in `pictures` where nothing can be measured.
pub fn calibrate(
    loaded: &Loaded,
    block: &DataBlock,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Calibrated> {
    let opened = open(loaded, block)?;
    let settings = loaded.recipe.calibration.clone().auto();
    measured(&opened, &loaded.recipe, &settings, pictures, context)
}

/// Name of the files of a block's calibration, without ending: `calibration-633K`.
pub fn stem(calibrated: &Calibrated) -> String {
    if calibrated.record.temperature_k.is_finite() {
        format!("calibration-{}K", calibrated.record.temperature_k)
    } else {
        let plain = |c: char| if c.is_alphanumeric() { c } else { '-' };
        let name: String = calibrated.name.chars().map(plain).collect();
        format!("calibration-{name}")
    }
}

/// Writes calibration and mask beside the recipe and names them in its `idx`-th data block.
///
/// # Errors
///
/// [`Error::Create`] and [`Error::Write`]; the recipe is replaced last, and only by one that loads.
pub fn write(calibrated: &Calibrated, recipe: &Path, idx: usize, folder: &Path) -> Result<Written> {
    let stem = stem(calibrated);
    let mask = folder.join(format!("{stem}-mask.npy"));
    let valid = calibrated.measured.pixel_valid.mapv(u8::from);
    halotau_io::write_pattern(&mask, &valid)?;
    let file = folder.join(format!("{stem}.toml"));
    let mut record = calibrated.record.clone();
    record.calibration.mask_file = mask.file_name().map(PathBuf::from);
    results::write_file(&file, record.to_toml().as_bytes())?;
    let linked = link::link(recipe, idx, &format!("{stem}.toml"))?;
    Ok(Written { file, linked })
}

/// Draws the pictures of a calibration into a folder.
///
/// # Errors
///
/// [`Error::Create`], [`Error::Write`], those of the drawings.
pub fn draw_pictures(
    calibrated: &Calibrated,
    recipe: &Recipe,
    folder: &Path,
    context: &Context<'_>,
) -> Result<()> {
    draw::write(
        &pictures(calibrated, recipe)?,
        folder,
        &recipe.output,
        context,
    )
}

/// The pictures of a calibration.
pub(crate) fn pictures(calibrated: &Calibrated, recipe: &Recipe) -> Result<Vec<Figure>> {
    let view = CalibrationView {
        mean: &calibrated.mean,
        measured: &calibrated.measured,
        calibration: &calibrated.calibration,
        scan: calibrated.scan,
        dynamics: recipe.dynamics.q_range_per_nm,
        structure: recipe.structure.q_range_per_nm,
    };
    Ok(figures::of_calibration(&view)?)
}

/// What does not fit together of what the recipe and the file state and of what was measured.
pub(crate) fn contradictions(
    header: &SeriesHeader,
    recipe: &Recipe,
    calibration: &Calibration,
    halo: Option<Halo>,
) -> Vec<Warning> {
    let stated = |stated: &Option<Stated>| stated.as_ref().map(|stated| stated.value);
    let known = Known {
        q_step_per_nm: calibration.q_step_per_nm,
        halo,
        first_peak_per_nm: recipe.sample.first_peak_per_nm,
        voltage_kv: stated(&header.voltage_kv),
        convergence_mrad: stated(&header.convergence_mrad),
        probe_fwhm_nm: recipe.microscope.probe_fwhm_nm,
        dynamics: recipe.dynamics.q_range_per_nm,
        structure: recipe.structure.q_range_per_nm,
    };
    scale::check(&known, &|range| calibration.usable_share(range))
}

/// Measures what `settings` ask for and neither the recipe nor the block's calibration file states.
pub(crate) fn measured(
    opened: &Opened,
    recipe: &Recipe,
    settings: &CalibrationSettings,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Calibrated> {
    let header = &opened.header;
    let budget = settings.sample_mib.saturating_mul(1 << 20);
    let plan = SurveyPlan::new(header, opened.region, budget);
    let frame_bytes = header.shape.frame_len() * header.sample_type.n_bytes();
    context.stage(
        format!("calibrate {}", header.name),
        plan.n_frames(&header.shape) * frame_bytes as u64,
        Unit::Bytes,
    );
    let survey = survey(
        opened.source.as_ref(),
        &plan,
        opened.dark.as_ref().map(|dark| &dark.mean),
        opened.gain.as_ref(),
        &|bytes| {
            context.advance(bytes);
            true
        },
    )?;
    context.stage_done();
    let auto = |find: Find| find == Find::Auto;
    let known = &opened.known;
    let request = Request {
        usable: opened.usable.clone(),
        center: known.center,
        measure_descan: auto(settings.descan) && known.descan.is_none(),
        descan: known.descan.unwrap_or_default(),
        center_path: match &known.center_path {
            None if auto(settings.center_path) => None,
            path => Some(path.clone().unwrap_or_default()),
        },
        measure_ellipse: auto(settings.ellipse) && known.ellipse.is_none(),
        ellipse: known.ellipse.unwrap_or_default(),
        find_beam_stop: auto(settings.beam_stop) && !known.mask,
        grow_px: settings.grow_px,
        find_bad_pixels: auto(settings.bad_pixels) && !known.mask,
        n_areas: n_areas(opened, recipe),
    };
    let measured = match measure(&survey, &request) {
        Ok(measured) => measured,
        Err(error @ CoreError::CenterNotFound { .. }) => {
            return Err(uncalibratable(
                opened,
                &survey.mean,
                error,
                recipe,
                pictures,
                context,
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let (q_step, origin) = q_scale(opened, recipe, settings, &measured)?;
    let mut calibration = Calibration {
        center_row: measured.center[0].value,
        center_col: measured.center[1].value,
        center_error: measured
            .center
            .iter()
            .map(|at| at.error)
            .fold(0.0, f64::max),
        center_origin: if request.center.is_some() {
            CenterOrigin::Given
        } else {
            CenterOrigin::Halo
        },
        descan: match known.descan {
            Some(descan) => descan,
            None if measured.descan_matters => measured.descan,
            None => halotau::calibrate::Descan::default(),
        },
        center_path: CenterPath::default(),
        ellipse: measured.ellipse,
        q_step_per_nm: q_step.value,
        pixel_valid: measured.pixel_valid.clone(),
    };
    calibration.follow(measured.center_path.clone(), header.shape.n_times);
    let mut warnings = measured.warnings.clone();
    let halo = Halo {
        radius_px: measured.halo_radius_px,
        is_scale: origin == ScaleOrigin::Ring,
    };
    warnings.extend(contradictions(header, recipe, &calibration, Some(halo)));
    let (spikes, common_mode) = cleaning(opened, recipe, settings, &survey, &measured);
    let record = record::of(
        opened,
        recipe,
        &survey,
        &request,
        &measured,
        &calibration,
        (q_step, origin),
        &warnings,
    );
    Ok(Calibrated {
        name: header.name.clone(),
        calibration,
        measured,
        record,
        warnings,
        conditions_text: String::new(),
        spikes,
        common_mode,
        mean: survey.mean,
        scan: (header.shape.n_rows, header.shape.n_cols),
    })
}

/// What is done to single frames: spikes where there are any, and the common mode where it is asked for.
fn cleaning(
    opened: &Opened,
    recipe: &Recipe,
    settings: &CalibrationSettings,
    survey: &Survey,
    measured: &Measured,
) -> (Option<SpikeLimits>, Option<CommonMode>) {
    // The survey is after dark and gain, frames are before.
    let one = Array2::from_elem(survey.mean.dim(), 1.0);
    let gain = opened.gain.as_ref().unwrap_or(&one);
    let mean = &survey.mean * gain;
    let variance = &survey.variance * gain * gain;
    let dark = opened.dark.as_ref().map(|dark| &dark.mean);
    let spikes = (settings.bad_pixels == Find::Auto && measured.n_spikes > 0)
        .then(|| SpikeLimits::new(&mean, &variance, dark));
    let asked = recipe.pattern.common_mode_cols.zip(measured.shared_offset);
    let common_mode = asked.map(|(cols, shared)| {
        let stored = match dark {
            Some(dark) => &mean + dark,
            None => mean,
        };
        let (usable, frames) = (&opened.usable, &survey.frames);
        CommonMode::new(cols, stored, &variance, usable, shared.sd.value, frames)
    });
    (spikes, common_mode)
}

/// Independent areas of the region, where step and probe are known.
fn n_areas(opened: &Opened, recipe: &Recipe) -> Option<f64> {
    let header = &opened.header;
    let merged = completed_recipe(recipe, header);
    let (step_nm, fwhm_nm) = (merged.scan.step_nm?, merged.probe_fwhm_nm());
    let Region { rows, cols } = opened.region;
    let size = (rows[1] - rows[0], cols[1] - cols[0]);
    fwhm_nm
        .is_finite()
        .then(|| independent_areas(size, step_nm, fwhm_nm))
}

/// The scale: stated in the recipe or a calibration file, from a known ring, from the camera length, stated by the file.
fn q_scale(
    opened: &Opened,
    recipe: &Recipe,
    settings: &CalibrationSettings,
    measured: &Measured,
) -> Result<(WithError, ScaleOrigin), CoreError> {
    let exact = |value: f64| WithError { value, error: 0.0 };
    if let Some(value) = recipe.pattern.q_step_per_nm.or(opened.known.q_step_per_nm) {
        return Ok((exact(value), ScaleOrigin::Given));
    }
    if let Some(ring_per_nm) = settings.ring_per_nm {
        let scale = scale::from_ring(ring_per_nm, measured.halo_radius_px);
        return Ok((scale, ScaleOrigin::Ring));
    }
    opened
        .q_step(recipe)
        .map(|(value, origin)| (exact(value), origin))
}

/// The error of a pattern without a center, and its picture.
pub(crate) fn uncalibratable(
    opened: &Opened,
    mean: &Array2<f64>,
    source: CoreError,
    recipe: &Recipe,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Error {
    let reason = match &source {
        CoreError::CenterNotFound { problem } => problem.clone(),
        other => other.to_string(),
    };
    let mut picture = None;
    if let Some(folder) = pictures {
        let drawn = figures::uncalibrated(mean, &opened.usable, &reason)
            .map_err(Error::from)
            .and_then(|figure| {
                draw::write(
                    std::slice::from_ref(&figure),
                    folder,
                    &recipe.output,
                    context,
                )
            });
        match drawn {
            Ok(()) => picture = Some(folder.join("calibration_failed.svg")),
            Err(error) => return error,
        }
    }
    Error::Uncalibratable {
        name: opened.header.name.clone(),
        problem: reason,
        picture,
    }
}
