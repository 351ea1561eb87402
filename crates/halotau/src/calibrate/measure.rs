//! What did the microscope do to the patterns of a series?
//!
//! From a [`Survey`] to everything that a [`Calibration`](super::Calibration) needs, each with its standard error:
//!
//! 1. pixels that are bad whatever the pattern;
//! 2. a rough center, robust against a stop that nobody masked yet;
//! 3. the beam stop;
//! 4. center, descan and ellipse; the stop once more from there, and the geometry once more beside that stop;
//! 5. pixels that deviate from ring and neighbors;
//! 6. checks: the center by symmetry alone, the center of each part of the record, the spread of the gain.
//!
//! What the user gives is taken as it is and not measured. Large patterns are averaged to about 140 pixels a side for the
//! geometry, whose details are speckle; masks are made pixel by pixel.

use ndarray::Array2;

use super::beam_stop::{self, BeamStop};
use super::common_mode::SharedOffset;
use super::geometry::{self, Block, BlockCenter, Fit, Fixed, Model};
use super::pixels::{self, BadPixels, Flattening};
use super::profile::RadialProfile;
use super::{CenterPath, Descan, Ellipse, center, common_mode, electrons};
use crate::error::{Error, Result};
use crate::series::Warning;
use crate::survey::Survey;

mod checks;
mod grid;
mod periods;
mod words;

use grid::{Grid, scaled, widened};

/// Of the pixels near the halo at least this share must be usable.
const MIN_USABLE: f64 = 0.15;

/// An independent area in squared widths of the probe.
const AREA_SHARE: f64 = 1.1;

/// Descan below this over the whole field (native pixels) is not worth tables of its own for each shift.
const NEGLIGIBLE_PX: f64 = 0.05;

/// What is asked for and what is known.
#[derive(Debug, Clone)]
pub struct Request {
    /// Pixels that the user leaves, `[pattern row, pattern col]`.
    pub usable: Array2<bool>,
    /// The center where it is given, native pixels.
    pub center: Option<(f64, f64)>,
    /// Whether the descan is measured; else `descan` holds.
    pub measure_descan: bool,
    /// The descan where it is not measured.
    pub descan: Descan,
    /// The movement during the record where it is given; empty for none. Else it is measured.
    pub center_path: Option<CenterPath>,
    /// Whether the ellipse is measured; else `ellipse` holds.
    pub measure_ellipse: bool,
    /// The ellipse where it is not measured.
    pub ellipse: Ellipse,
    /// Whether a beam stop is looked for.
    pub find_beam_stop: bool,
    /// Native pixels by which the stop that was found is widened.
    pub grow_px: usize,
    /// Whether bad pixels are looked for.
    pub find_bad_pixels: bool,
    /// Number of independent areas of the sample that the scan sees ([`independent_areas`]), where the probe is known.
    pub n_areas: Option<f64>,
}

/// Independent areas of the sample in a scan: neighboring positions share the probe, whose width is its full width at half
/// maximum. Maps of speckle statistics over 9.7 x 9.7 nm with a probe of 0.78 nm are worth 130 to 150 positions.
///
/// # Example
///
/// ```
/// let n_areas = halotau::calibrate::measure::independent_areas((60, 60), 0.1617, 0.78);
/// assert!((130.0..150.0).contains(&n_areas));
/// // Positions far apart are independent each.
/// assert_eq!(halotau::calibrate::measure::independent_areas((8, 9), 2.0, 0.78), 72.0);
/// ```
pub fn independent_areas((n_rows, n_cols): (usize, usize), step_nm: f64, fwhm_nm: f64) -> f64 {
    let n_positions = (n_rows * n_cols) as f64;
    (n_positions * step_nm * step_nm / (AREA_SHARE * fwhm_nm * fwhm_nm)).clamp(1.0, n_positions)
}

impl Request {
    /// Everything is measured on a pattern of a shape.
    pub fn all(shape: (usize, usize)) -> Self {
        Self {
            usable: Array2::from_elem(shape, true),
            center: None,
            measure_descan: true,
            descan: Descan::default(),
            center_path: None,
            measure_ellipse: true,
            ellipse: Ellipse::default(),
            find_beam_stop: true,
            grow_px: 0,
            find_bad_pixels: true,
            n_areas: None,
        }
    }
}

/// A value with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WithError {
    /// The value.
    pub value: f64,
    /// Its standard error; 0 where it was given, NaN where it is not known.
    pub error: f64,
}

/// The center of a part of the record, as displacement from the center of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeriodCenter {
    /// Mean index of the scans.
    pub time: f64,
    /// Native pixels along rows.
    pub row: WithError,
    /// Native pixels along columns.
    pub col: WithError,
}

/// Center and ellipse by the position of the halo in each direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SectorRing {
    /// Row and column of the center at the middle of the scan.
    pub center: [WithError; 2],
    /// The ellipse.
    pub ellipse: Ellipse,
    /// Standard error of its distortion.
    pub distortion_error: f64,
    /// Standard error of its angle.
    pub angle_error_rad: f64,
}

/// What was measured. Lengths are native detector pixels.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Row and column of the center at the middle of the scan.
    pub center: [WithError; 2],
    /// The center by symmetry alone; `None` where it has no maximum.
    pub symmetry_center: Option<[WithError; 2]>,
    /// Center and ellipse by where the halo is in each direction; `None` where it has no top in too many of them.
    pub sector_ring: Option<SectorRing>,
    /// Movement over the scan.
    pub descan: Descan,
    /// Standard errors of its coefficients.
    pub descan_error: Descan,
    /// Largest displacement from the center within the scan.
    pub descan_range_px: f64,
    /// Whether the descan is larger than chance and worth to be followed; else zero is better.
    pub descan_matters: bool,
    /// The ellipse.
    pub ellipse: Ellipse,
    /// Standard error of its distortion.
    pub distortion_error: f64,
    /// Standard error of its angle.
    pub angle_error_rad: f64,
    /// Radius of the first halo.
    pub halo_radius_px: WithError,
    /// Height of the halo over the valley beside it, as a share.
    pub halo_prominence: f64,
    /// Number of independent parts of the scan that are worth as much as all, which share probes; by it errors are widened.
    pub n_independent: f64,
    /// The center of each scan block by its own vote.
    pub blocks: Vec<BlockCenter>,
    /// The center of each part of the record.
    pub periods: Vec<PeriodCenter>,
    /// Its path through them; still where it stays, or where that was given.
    pub center_path: CenterPath,
    /// Whether it moves beyond chance; else no movement is better.
    pub path_matters: bool,
    /// What shades the detector; `None` where it was not looked for.
    pub beam_stop: Option<BeamStop>,
    /// Pixels that are not used.
    pub bad_pixels: BadPixels,
    /// Relative spread of the gain from pixel to pixel; `None` where too few pixels tell.
    pub gain_spread: Option<WithError>,
    /// Detector units an electron, by the peaks of single electrons; `None` where there are none.
    pub units_per_electron: Option<WithError>,
    /// The offset that row segments share in each frame; `None` where there is none.
    pub shared_offset: Option<SharedOffset>,
    /// Samples of single frames that are too bright for electrons, in the frames that were read.
    pub n_spikes: u64,
    /// Intensity against radius about the center, after ellipse and descan, in native pixels.
    pub profile: RadialProfile,
    /// Pixels that can be trusted, `[pattern row, pattern col]`.
    pub pixel_valid: Array2<bool>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Measures what is asked for.
///
/// # Errors
///
/// [`Error::CenterNotFound`] where there is no halo, the center lies outside, or the mask leaves too little of the ring;
/// [`Error::Shape`] where the request is for another pattern.
pub fn measure(survey: &Survey, request: &Request) -> Result<Measured> {
    let native = survey.mean.dim();
    if request.usable.dim() != native {
        return Err(Error::Shape {
            what: "the mask",
            expected: vec![native.0, native.1],
            found: request.usable.shape().to_vec(),
        });
    }
    if !request.usable.iter().any(|&usable| usable) {
        return Err(lost(
            "mask and crop together leave no pixel of the pattern".to_owned(),
        ));
    }
    let usable_mean = survey.mean.iter().zip(&request.usable);
    if !usable_mean
        .filter(|(_, usable)| **usable)
        .any(|(&mean, _)| mean > 0.0)
    {
        return Err(lost(format!(
            "the {} sampled frames hold no counts where the mask leaves pixels",
            survey.n_frames
        )));
    }
    let mut bad_pixels = BadPixels::default();
    if request.find_bad_pixels {
        bad_pixels = pixels::obvious(survey, &request.usable);
    }
    let mut usable = request.usable.clone();
    bad_pixels.all().for_each(|at| usable[at] = false);
    let grid = Grid::new(native);
    let mut work = Work {
        survey,
        request,
        grid,
        usable,
        stop: None,
    };
    let start = work.rough_center()?;
    if request.find_beam_stop {
        work.stop = Some(work.beam_stop(start, &request.ellipse));
    }
    let mut fit = work.fit(start)?;
    if request.find_beam_stop {
        let center = grid.native((fit.model.row[0], fit.model.col[0]));
        let found = work.beam_stop(center, &fit.model.ellipse());
        let changed = work
            .stop
            .as_ref()
            .is_none_or(|stop| stop.shaded != found.shaded);
        work.stop = Some(found);
        if changed {
            fit = work.fit(center)?;
        }
    }
    let mut good = work.lit();
    if request.find_bad_pixels {
        bad_pixels = pixels::find(survey, &good, &work.flattening(&fit), bad_pixels);
        bad_pixels.all().for_each(|at| good[at] = false);
        if bad_pixels.all().any(|at| work.usable[at]) {
            bad_pixels.all().for_each(|at| work.usable[at] = false);
            fit = work.fit(grid.native((fit.model.row[0], fit.model.col[0])))?;
        }
    }
    work.check_usable(&fit)?;
    Ok(work.report(&fit, bad_pixels, good))
}

/// What is known while it is measured.
struct Work<'a> {
    survey: &'a Survey,
    request: &'a Request,
    grid: Grid,
    /// Pixels that are neither left out by the user nor bad.
    usable: Array2<bool>,
    stop: Option<BeamStop>,
}

impl Work<'_> {
    /// Usable pixels outside the stop.
    fn lit(&self) -> Array2<bool> {
        let mut lit = self.usable.clone();
        if let Some(stop) = &self.stop {
            lit.zip_mut_with(&stop.shaded, |lit, shaded| *lit &= !shaded);
        }
        lit
    }

    /// As [`Work::lit`], without a margin of one pixel of the grid around the stop, where half shade may be left.
    fn clear(&self) -> Array2<bool> {
        let mut clear = self.lit();
        if let Some(stop) = &self.stop {
            let wide = widened(&stop.shaded, self.grid.factor);
            clear.zip_mut_with(&wide, |clear, shaded| *clear &= !shaded);
        }
        clear
    }

    fn rough_center(&self) -> Result<(f64, f64)> {
        if let Some(center) = self.request.center {
            let (n_rows, n_cols) = self.usable.dim();
            let inside = (0.0..n_rows as f64).contains(&center.0)
                && (0.0..n_cols as f64).contains(&center.1);
            return if inside {
                Ok(center)
            } else {
                Err(lost(format!(
                    "the center ({}, {}) lies outside the pattern of {n_rows} x {n_cols} pixels",
                    center.0, center.1
                )))
            };
        }
        let found = center::find(&self.survey.mean, &self.usable, self.request.ellipse)?;
        Ok((found.row, found.col))
    }

    /// The stop, found on the grid and drawn pixel by pixel.
    fn beam_stop(&self, center: (f64, f64), ellipse: &Ellipse) -> BeamStop {
        let factor = self.grid.factor;
        let mean = self.grid.bin(&self.survey.mean, &self.usable);
        let noise = self.electron_noise() / (factor * factor) as f64;
        let coarse = beam_stop::find(&mean, noise, self.grid.of(center), ellipse);
        let mut stop = if factor == 1 {
            coarse
        } else {
            let mut masked = self.survey.mean.clone();
            masked.zip_mut_with(&self.usable, |mean, usable| {
                if !usable {
                    *mean = f64::NAN;
                }
            });
            beam_stop::refine(&masked, &coarse, factor)
        };
        if self.request.grow_px > 0 {
            stop.shaded = widened(&stop.shaded, self.request.grow_px);
        }
        stop
    }

    /// What the number of electrons adds to the variance of a pixel's mean, over that mean. A tenth of the pixels vary less
    /// over the frames than by this; what they vary by beyond is speckle.
    fn electron_noise(&self) -> f64 {
        let pixels = self.survey.mean.iter().zip(&self.survey.variance);
        let mut ratios: Vec<f64> = pixels
            .filter(|(mean, variance)| **mean > 0.0 && **variance > 0.0)
            .map(|(mean, variance)| variance / mean)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let tenth = ratios.get(ratios.len() / 10).copied().unwrap_or(0.0);
        tenth / self.survey.n_frames as f64
    }

    fn middle(&self) -> (f64, f64) {
        let shape = &self.survey.shape;
        (
            (shape.n_rows as f64 - 1.0) / 2.0,
            (shape.n_cols as f64 - 1.0) / 2.0,
        )
    }

    fn fit(&self, start: (f64, f64)) -> Result<Fit> {
        let clear = self.clear();
        let blocks: Vec<Block> = self
            .survey
            .blocks
            .iter()
            .map(|block| Block {
                row: block.row,
                col: block.col,
                pattern: self.grid.bin(&block.mean, &clear),
            })
            .collect();
        let scale = 1.0 / self.grid.scale();
        let start = Model::new(
            self.grid.of(start),
            &scaled(&self.request.descan, scale),
            &self.request.ellipse,
        );
        let fixed = Fixed {
            center: self.request.center.is_some(),
            descan: !self.request.measure_descan,
            ellipse: !self.request.measure_ellipse,
        };
        geometry::fit(&blocks, self.middle(), start, fixed)
    }

    fn flattening<'b>(&self, fit: &'b Fit) -> Flattening<'b> {
        Flattening {
            profile: &fit.profile,
            factor: self.grid.factor,
            center: self.grid.native((fit.model.row[0], fit.model.col[0])),
            ellipse: fit.model.ellipse(),
            electron: self.electron_noise(),
        }
    }

    /// The ring of the halo must be on the detector and usable.
    fn check_usable(&self, fit: &Fit) -> Result<()> {
        let center = self.grid.native((fit.model.row[0], fit.model.col[0]));
        let radius = fit.halo.radius_px * self.grid.scale();
        let lit = self.lit();
        let (mut n, width) = (0.0, (0.15 * radius).max(1.0));
        for ((row, col), _) in lit.indexed_iter().filter(|(_, lit)| **lit) {
            let distance = libm::hypot(row as f64 - center.0, col as f64 - center.1);
            if (distance - radius).abs() < width {
                n += 1.0;
            }
        }
        let whole = 4.0 * std::f64::consts::PI * radius * width;
        if n < MIN_USABLE * whole {
            return Err(lost(format!(
                "mask and edge of the detector leave {:.0} % of the ring of the halo",
                100.0 * n / whole
            )));
        }
        Ok(())
    }

    fn report(&self, fit: &Fit, bad_pixels: BadPixels, good: Array2<bool>) -> Measured {
        let scale = self.grid.scale();
        let error = |at: usize| fit.covariance[[at, at]].sqrt() * scale;
        let mut center = self.grid.native((fit.model.row[0], fit.model.col[0]));
        if let (Some(path), None) = (&self.request.center_path, self.request.center) {
            // The patterns were averaged over a path whose mean need not be zero.
            let n = self.survey.periods.len() as f64;
            for period in &self.survey.periods {
                let (row, col) = path.at(period.time);
                center = (center.0 - row / n, center.1 - col / n);
            }
        }
        let descan = scaled(&fit.model.descan(), scale);
        let descan_error = Descan {
            row_per_row: error(2),
            col_per_row: error(3),
            row_per_col: error(4),
            col_per_col: error(5),
            row_quadratic: [error(6), error(8), error(10)],
            col_quadratic: [error(7), error(9), error(11)],
        };
        let descan_range_px = self.range(&descan);
        let periods = self.periods(fit);
        let (center_path, path_matters) = match &self.request.center_path {
            Some(path) => (path.clone(), false),
            None => self.path(&periods),
        };
        let (distortion_error, angle_error_rad) = ellipse_errors(&fit.model.ellipse(), |a, b| {
            fit.covariance[[12 + a, 12 + b]]
        });
        let mut measured = Measured {
            center: [
                WithError {
                    value: center.0,
                    error: error(0),
                },
                WithError {
                    value: center.1,
                    error: error(1),
                },
            ],
            symmetry_center: None,
            sector_ring: self.sector_ring(fit),
            descan_matters: self.request.measure_descan
                && descan_range_px > NEGLIGIBLE_PX
                && descan_range_px > 3.0 * self.range_error(&descan_error),
            descan,
            descan_error,
            descan_range_px,
            ellipse: fit.model.ellipse(),
            distortion_error,
            angle_error_rad,
            halo_radius_px: WithError {
                value: fit.halo.radius_px * scale,
                error: fit.halo_error_px * scale,
            },
            n_independent: fit.n_independent,
            halo_prominence: fit.halo.prominence,
            blocks: fit
                .blocks
                .iter()
                .map(|block| {
                    let native = self.grid.native((block.center_row, block.center_col));
                    BlockCenter {
                        center_row: native.0,
                        center_col: native.1,
                        ..*block
                    }
                })
                .collect(),
            periods,
            path_matters,
            center_path,
            beam_stop: self.stop.clone(),
            bad_pixels,
            gain_spread: self.gain_spread(fit, &good),
            units_per_electron: electrons::units_per_electron(&self.survey.frames, &self.usable),
            shared_offset: common_mode::measure(&self.survey.frames, &self.usable),
            n_spikes: self.survey.n_spikes.iter().map(|&n| u64::from(n)).sum(),
            profile: RadialProfile {
                radius: fit
                    .profile
                    .radius
                    .iter()
                    .map(|radius| radius * scale)
                    .collect(),
                ..fit.profile.clone()
            },
            pixel_valid: good,
            warnings: Vec::new(),
        };
        measured.symmetry_center = self.symmetry(&measured);
        measured.warnings = self.warnings(&measured);
        measured.warnings.extend(self.named(&measured));
        measured
    }

    /// Largest displacement over the corners and sides of the scan.
    fn range(&self, descan: &Descan) -> f64 {
        let (u, v) = self.middle();
        let places = [-1.0, 0.0, 1.0];
        let all = places
            .iter()
            .flat_map(|r| places.iter().map(move |c| (r * u, c * v)));
        all.map(|(row, col)| {
            let (row, col) = descan.at(row, col);
            libm::hypot(row, col)
        })
        .fold(0.0, f64::max)
    }

    fn range_error(&self, error: &Descan) -> f64 {
        let (u, v) = self.middle();
        let parts = [
            error.row_per_row * u,
            error.row_per_col * v,
            error.col_per_row * u,
            error.col_per_col * v,
        ];
        parts.iter().map(|part| part * part).sum::<f64>().sqrt()
    }
}

/// Standard errors of distortion and angle from the covariance of (e₁, e₂).
fn ellipse_errors(ellipse: &Ellipse, c: impl Fn(usize, usize) -> f64) -> (f64, f64) {
    let (sin, cos) = libm::sincos(2.0 * ellipse.angle_rad);
    let along = cos * cos * c(0, 0) + 2.0 * sin * cos * c(0, 1) + sin * sin * c(1, 1);
    let across = sin * sin * c(0, 0) - 2.0 * sin * cos * c(0, 1) + cos * cos * c(1, 1);
    let angle = across.max(0.0).sqrt() / (2.0 * ellipse.distortion.max(1e-12));
    // An angle that is not known at all is uniform over π.
    (
        along.max(0.0).sqrt(),
        angle.min(std::f64::consts::PI / 12.0_f64.sqrt()),
    )
}

fn lost(problem: String) -> Error {
    Error::CenterNotFound { problem }
}
