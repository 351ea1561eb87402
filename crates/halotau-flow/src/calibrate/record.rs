//! A calibration as a person reads and edits it, and as the recipe takes it back.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use halotau::axes::QRange;
use halotau::calibrate::measure::{Measured, PeriodCenter, Request, WithError};
use halotau::calibrate::scale::ScaleOrigin;
use halotau::calibrate::{Calibration, CenterPath, Descan, Ellipse};
use halotau::recipe::Recipe;
use halotau::series::Warning;
use halotau::survey::Survey;
use serde::{Deserialize, Serialize};

use super::every_frame::ConditionsRecord;
use crate::error::{Error, Result};
use crate::prepare::Opened;

/// What stands over the file.
const HEAD: &str = "\
# What halotau measured of the microscope. Edit freely: what stands here is used instead of a measurement, a table that is
# removed is measured again where the recipe says auto, and [pattern] of the recipe wins over this file. Lengths are native
# detector pixels, [row, col] from 0 at the center of the first pixel; errors are standard errors, 0 for what was given.

";

/// Frames with spikes that are listed.
const MAX_LISTED: usize = 50;

/// What was measured of one series, with standard errors and how each was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name of the series.
    pub name: String,
    /// Its temperature; NaN where not known.
    pub temperature_k: f64,
    /// Frames of the sample.
    pub n_frames: u64,
    /// The values.
    pub calibration: Values,
    /// What every frame shows; none where only a sample was looked at. Not read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<ConditionsRecord>,
    /// What a person should know.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// The values of a [`Record`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Valid (nonzero) pixels, `.npy`, beside this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_file: Option<PathBuf>,
    /// Center at the middle of the scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center: Option<CenterRecord>,
    /// Movement of the center over the scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descan: Option<DescanRecord>,
    /// Movement of the center during the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center_path: Option<PathRecord>,
    /// Elliptic distortion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ellipse: Option<EllipseRecord>,
    /// Scale of spatial frequency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q_scale: Option<ScaleRecord>,
    /// The first halo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halo: Option<HaloRecord>,
    /// What shades the detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beam_stop: Option<StopRecord>,
    /// Pixels that are not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_pixels: Option<BadRecord>,
    /// Spread of the gain from pixel to pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_spread: Option<GainRecord>,
    /// The dark frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dark: Option<DarkRecord>,
    /// Samples of single frames that are too bright for electrons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spikes: Option<SpikeRecord>,
    /// The offset that row segments share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_mode: Option<OffsetRecord>,
    /// Detector units an electron, by the peaks of single electrons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units_per_electron: Option<GainRecord>,
    /// What the mask costs.
    #[serde(default)]
    pub rings: Vec<RingRecord>,
}

/// See [`Values::center`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterRecord {
    /// `[row, col]`.
    pub value: [f64; 2],
    /// Standard errors.
    pub error: [f64; 2],
    /// How it was found.
    pub method: String,
    /// The center by symmetry alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_symmetry: Option<[f64; 2]>,
    /// Standard errors of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_symmetry_error: Option<[f64; 2]>,
    /// The center by the position of the halo in each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_sectors: Option<[f64; 2]>,
    /// Standard errors of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_sectors_error: Option<[f64; 2]>,
    /// Largest displacement in a part of the record from the mean over all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves_over_time: Option<f64>,
}

/// See [`Values::descan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescanRecord {
    /// Whether it is followed; else it is no more than chance or no more than a twentieth of a pixel.
    pub used: bool,
    /// Largest displacement within the scan.
    pub range: f64,
    /// How it was found.
    pub method: String,
    /// Pattern pixels a scan step.
    pub value: Descan,
    /// Standard errors.
    pub error: Descan,
}

/// See [`Values::center_path`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRecord {
    /// How it was found.
    pub method: String,
    /// `[index of the scan, rows, columns]` from the center, linear between; empty where it does not move beyond chance.
    pub value: CenterPath,
    /// Standard error of a part of the record, rows and columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<[f64; 2]>,
}

/// See [`Values::ellipse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EllipseRecord {
    /// Radii along the angle are 1 + distortion, across it 1 − distortion.
    pub distortion: f64,
    /// Standard error.
    pub distortion_error: f64,
    /// From +column toward +row, in [0, π).
    pub angle_rad: f64,
    /// Standard error.
    pub angle_error_rad: f64,
    /// How it was found.
    pub method: String,
}

/// See [`Values::q_scale`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRecord {
    /// 1/nm a native pixel, as 1/d without 2π.
    pub q_step_per_nm: f64,
    /// Standard error.
    pub error: f64,
    /// How it was found.
    pub method: ScaleOrigin,
    /// Whole rings end here.
    pub edge_per_nm: f64,
}

/// See [`Values::halo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaloRecord {
    /// Radius.
    pub radius: f64,
    /// Standard error.
    pub error: f64,
    /// Its spatial frequency.
    pub q_per_nm: f64,
    /// Height over the valley beside it, as a share.
    pub prominence: f64,
}

/// See [`Values::beam_stop`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRecord {
    /// Shaded pixels.
    pub n_pixels: usize,
    /// Share of the detector.
    pub share: f64,
    /// Share of the intensity that passes; NaN where nothing is shaded.
    pub leak: f64,
    /// Scatter of lit pixels about the profile, by which shade is told from speckle.
    pub scatter: f64,
}

/// See [`Values::bad_pixels`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadRecord {
    /// Too bright for ring and neighbors, `[row, col]`.
    pub hot: Vec<[usize; 2]>,
    /// Too dim, or without change.
    pub dead: Vec<[usize; 2]>,
    /// Of too much variance.
    pub noisy: Vec<[usize; 2]>,
    /// At the end of the number type.
    pub saturated: Vec<[usize; 2]>,
    /// NaN or infinite.
    pub broken: Vec<[usize; 2]>,
}

/// See [`Values::dark`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DarkRecord {
    /// Frames of which the clipped mean was made.
    pub n_frames: usize,
    /// Median of the noise of a pixel, detector units; NaN for a single frame.
    pub read_noise: f64,
    /// Pixels that are noisy without electrons, or never change; they are masked, `[row, col]`.
    pub noisy: Vec<[usize; 2]>,
}

/// See [`Values::spikes`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpikeRecord {
    /// Samples.
    pub n_samples: u64,
    /// Frames that hold them, of those sampled.
    pub n_frames: u64,
    /// The first of them: time, scan row, scan column.
    pub frames: Vec<[usize; 3]>,
}

/// See [`Values::common_mode`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetRecord {
    /// Columns that share it.
    pub cols: usize,
    /// Its standard deviation over frames, detector units.
    pub sd: f64,
    /// Standard error of that.
    pub error: f64,
    /// Whether it is subtracted.
    pub subtracted: bool,
}

/// See [`Values::gain_spread`] and [`Values::units_per_electron`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GainRecord {
    /// Relative standard deviation; units.
    pub value: f64,
    /// Standard error.
    pub error: f64,
}

/// What the mask costs of a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingRecord {
    /// Such as "dynamics".
    pub name: String,
    /// The ring.
    pub q_range_per_nm: QRange,
    /// Share of its area that is masked or beyond the detector.
    pub masked_share: f64,
}

impl Record {
    /// As text for a file.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string_pretty(self).expect("a record is numbers and texts");
        format!("{HEAD}{body}")
    }

    /// Reads what [`Record::to_toml`] wrote and a person may have edited.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Content`] with the place of what is not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
        let mut record: Self = toml::from_str(&text)
            .map_err(|error| Error::content(path, error.to_string().trim().to_owned()))?;
        if let (Some(mask), Some(folder)) = (&mut record.calibration.mask_file, path.parent()) {
            *mask = folder.join(&mask);
        }
        Ok(record)
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "called once, with all that a calibration is made of"
)]
pub(super) fn of(
    opened: &Opened,
    recipe: &Recipe,
    survey: &Survey,
    request: &Request,
    measured: &Measured,
    calibration: &Calibration,
    (q_step, origin): (WithError, ScaleOrigin),
    warnings: &[Warning],
) -> Record {
    let method = |is_measured: bool, how: &str| {
        if is_measured {
            how.to_owned()
        } else {
            "given".to_owned()
        }
    };
    let pair = |[a, b]: [WithError; 2]| ([a.value, b.value], [a.error, b.error]);
    let (center, center_error) = pair(measured.center);
    let by_symmetry = measured.symmetry_center.map(pair);
    let by_sectors = measured.sector_ring.map(|ring| pair(ring.center));
    let n_periods = measured.periods.len() as f64;
    let path_error = (n_periods > 0.0 && request.center_path.is_none()).then(|| {
        let rms = |of: fn(&PeriodCenter) -> f64| {
            let squares = measured.periods.iter().map(|period| of(period).powi(2));
            (squares.sum::<f64>() / n_periods).sqrt()
        };
        [
            rms(|period| period.row.error),
            rms(|period| period.col.error),
        ]
    });
    let moves = measured
        .periods
        .iter()
        .map(|period| period.row.value.hypot(period.col.value))
        .fold(None, |most: Option<f64>, moved| {
            Some(most.unwrap_or(0.0).max(moved))
        });
    let quadratic = measured.descan.row_quadratic != [0.0; 3];
    let (n_rows, n_cols) = calibration.pixel_valid.dim();
    let edge_px = [
        calibration.center_row,
        calibration.center_col,
        n_rows as f64 - 1.0 - calibration.center_row,
        n_cols as f64 - 1.0 - calibration.center_col,
    ]
    .into_iter()
    .fold(f64::INFINITY, f64::min);
    let bad = &measured.bad_pixels;
    let dynamics = recipe.dynamics.q_range_per_nm;
    let structure = recipe.structure.q_range_per_nm;
    let values = Values {
        mask_file: None,
        center: Some(CenterRecord {
            value: center,
            error: center_error,
            method: method(
                request.center.is_none(),
                "fit of the halo in all parts of the scan",
            ),
            by_symmetry: by_symmetry.map(|(value, _)| value),
            by_symmetry_error: by_symmetry.map(|(_, error)| error),
            by_sectors: by_sectors.map(|(value, _)| value),
            by_sectors_error: by_sectors.map(|(_, error)| error),
            moves_over_time: moves,
        }),
        center_path: Some(PathRecord {
            method: method(
                request.center_path.is_none(),
                "line or lines through the centers of the parts of the record",
            ),
            value: measured.center_path.clone(),
            error: path_error,
        }),
        descan: Some(DescanRecord {
            used: measured.descan_matters || !request.measure_descan,
            range: measured.descan_range_px,
            method: method(
                request.measure_descan,
                if quadratic {
                    "quadratic through the centers of all parts of the scan"
                } else {
                    "plane through the centers of all parts of the scan"
                },
            ),
            value: measured.descan,
            error: measured.descan_error,
        }),
        ellipse: Some(EllipseRecord {
            distortion: measured.ellipse.distortion,
            distortion_error: measured.distortion_error,
            angle_rad: measured.ellipse.angle_rad,
            angle_error_rad: measured.angle_error_rad,
            method: method(
                request.measure_ellipse,
                "fit of the halo in all parts of the scan",
            ),
        }),
        q_scale: Some(ScaleRecord {
            q_step_per_nm: q_step.value,
            error: q_step.error,
            method: origin,
            edge_per_nm: edge_px * q_step.value,
        }),
        halo: Some(HaloRecord {
            radius: measured.halo_radius_px.value,
            error: measured.halo_radius_px.error,
            q_per_nm: measured.halo_radius_px.value * q_step.value,
            prominence: measured.halo_prominence,
        }),
        beam_stop: measured.beam_stop.as_ref().map(|stop| {
            let n_pixels = stop.shaded.iter().filter(|shaded| **shaded).count();
            StopRecord {
                n_pixels,
                share: n_pixels as f64 / stop.shaded.len() as f64,
                leak: stop.leak,
                scatter: stop.scatter,
            }
        }),
        bad_pixels: request.find_bad_pixels.then(|| BadRecord {
            hot: bad.hot.clone(),
            dead: bad.dead.clone(),
            noisy: bad.noisy.clone(),
            saturated: bad.saturated.clone(),
            broken: bad.broken.clone(),
        }),
        gain_spread: measured.gain_spread.map(|spread| GainRecord {
            value: spread.value,
            error: spread.error,
        }),
        dark: opened.dark.as_ref().map(|dark| DarkRecord {
            n_frames: dark.n_frames,
            read_noise: dark.read_noise(),
            noisy: dark.noisy(),
        }),
        spikes: (measured.n_spikes > 0).then(|| SpikeRecord {
            n_samples: measured.n_spikes,
            n_frames: survey.n_spiked_frames,
            frames: survey
                .spiked_frames
                .iter()
                .take(MAX_LISTED)
                .copied()
                .collect(),
        }),
        common_mode: measured.shared_offset.map(|shared| OffsetRecord {
            cols: shared.cols,
            sd: shared.sd.value,
            error: shared.sd.error,
            subtracted: recipe.pattern.common_mode_cols.is_some(),
        }),
        units_per_electron: measured.units_per_electron.map(|units| GainRecord {
            value: units.value,
            error: units.error,
        }),
        rings: [("dynamics", dynamics), ("structure", structure)]
            .into_iter()
            .map(|(name, range)| RingRecord {
                name: name.to_owned(),
                q_range_per_nm: range,
                masked_share: 1.0 - calibration.usable_share(range),
            })
            .collect(),
    };
    Record {
        name: opened.header.name.clone(),
        temperature_k: opened
            .header
            .temperature_k
            .as_ref()
            .map_or(f64::NAN, |stated| stated.value),
        n_frames: survey.n_frames,
        calibration: values,
        conditions: None,
        warnings: warnings.to_vec(),
    }
}

impl Values {
    /// The ellipse as the calibration takes it.
    pub(crate) fn ellipse(&self) -> Option<Ellipse> {
        self.ellipse.as_ref().map(|ellipse| Ellipse {
            distortion: ellipse.distortion,
            angle_rad: ellipse.angle_rad,
        })
    }

    /// The movement during the record that is followed.
    pub(crate) fn center_path(&self) -> Option<CenterPath> {
        self.center_path.as_ref().map(|path| path.value.clone())
    }

    /// The descan that is followed.
    pub(crate) fn descan(&self) -> Option<Descan> {
        self.descan.as_ref().map(|descan| {
            if descan.used {
                descan.value
            } else {
                Descan::default()
            }
        })
    }
}

/// What was measured, for people.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = &self.calibration;
        writeln!(f, "{}  {} frames", self.name, self.n_frames)?;
        if let Some(center) = &values.center {
            let [row, col] = center.value;
            let [row_error, col_error] = center.error;
            writeln!(
                f,
                "  center      ({row:.3} ± {row_error:.3}, {col:.3} ± {col_error:.3}) px   {}",
                center.method
            )?;
            if let (Some([row, col]), Some([row_error, col_error])) =
                (center.by_symmetry, center.by_symmetry_error)
            {
                writeln!(
                    f,
                    "              ({row:.3} ± {row_error:.3}, {col:.3} ± {col_error:.3}) px   by symmetry alone"
                )?;
            }
            if let (Some([row, col]), Some([row_error, col_error])) =
                (center.by_sectors, center.by_sectors_error)
            {
                writeln!(
                    f,
                    "              ({row:.3} ± {row_error:.3}, {col:.3} ± {col_error:.3}) px   by the halo in each direction"
                )?;
            }
            if let Some(moves) = center.moves_over_time {
                let followed = match &values.center_path {
                    Some(path) if path.value.is_still() => "no more than chance",
                    Some(_) => "followed by whole pixels",
                    None => "not followed",
                };
                writeln!(
                    f,
                    "              moves by up to {moves:.3} px over the record: {followed}"
                )?;
            }
        }
        if let Some(descan) = &values.descan {
            let used = if descan.used {
                "followed"
            } else {
                "not followed: no more than chance"
            };
            writeln!(
                f,
                "  descan      up to {:.3} px from the middle of the scan   {}, {used}",
                descan.range, descan.method
            )?;
        }
        if let Some(ellipse) = &values.ellipse {
            writeln!(
                f,
                "  ellipse     {:.3} ± {:.3} % at {:.1} ± {:.1} deg   {}",
                100.0 * ellipse.distortion,
                100.0 * ellipse.distortion_error,
                ellipse.angle_rad.to_degrees(),
                ellipse.angle_error_rad.to_degrees(),
                ellipse.method
            )?;
        }
        if let (Some(scale), Some(halo)) = (&values.q_scale, &values.halo) {
            let method = match scale.method {
                ScaleOrigin::Given => "given",
                ScaleOrigin::Ring => "from the known ring",
                ScaleOrigin::CameraLength => "from the camera length",
                ScaleOrigin::File => "stated by the file",
            };
            writeln!(
                f,
                "  q scale     {:.6} ± {:.6} 1/nm a pixel   {method}; whole rings up to {:.2} 1/nm",
                scale.q_step_per_nm, scale.error, scale.edge_per_nm
            )?;
            writeln!(
                f,
                "  halo        {:.3} 1/nm   radius {:.2} ± {:.2} px, {:.0} % above the valley beside it",
                halo.q_per_nm,
                halo.radius,
                halo.error,
                100.0 * halo.prominence
            )?;
        }
        if let Some(stop) = &values.beam_stop {
            if stop.n_pixels == 0 {
                writeln!(f, "  beam stop   none")?;
            } else {
                writeln!(
                    f,
                    "  beam stop   {} pixels ({:.1} %) shaded, {:.1} % passes",
                    stop.n_pixels,
                    100.0 * stop.share,
                    100.0 * stop.leak
                )?;
            }
        }
        if let Some(bad) = &values.bad_pixels {
            writeln!(
                f,
                "  bad pixels  {} hot, {} dead, {} noisy, {} saturated, {} broken",
                bad.hot.len(),
                bad.dead.len(),
                bad.noisy.len(),
                bad.saturated.len(),
                bad.broken.len()
            )?;
        }
        if let Some(gain) = &values.gain_spread {
            writeln!(
                f,
                "  gain        varies by {:.2} ± {:.2} % from pixel to pixel",
                100.0 * gain.value,
                100.0 * gain.error
            )?;
        }
        if let Some(dark) = values.dark.as_ref().filter(|dark| dark.n_frames > 1) {
            writeln!(
                f,
                "  dark        mean of {} frames, noise {:.3}; {} noisy pixels",
                dark.n_frames,
                dark.read_noise,
                dark.noisy.len()
            )?;
        }
        if let Some(spikes) = &values.spikes {
            writeln!(
                f,
                "  spikes      {} samples in {} of {} frames, left out",
                spikes.n_samples, spikes.n_frames, self.n_frames
            )?;
        }
        if let Some(shared) = &values.common_mode {
            let done = if shared.subtracted {
                "subtracted"
            } else {
                "left as it is; pattern.common_mode_cols subtracts it"
            };
            writeln!(
                f,
                "  common mode {:.3} ± {:.3} over {} columns, {done}",
                shared.sd, shared.error, shared.cols
            )?;
        }
        if let Some(units) = &values.units_per_electron {
            writeln!(
                f,
                "  electrons   {:.3} ± {:.3} detector units each, by their peaks",
                units.value, units.error
            )?;
        }
        for ring in &values.rings {
            writeln!(
                f,
                "  {:<11} {}-{} 1/nm: {:.1} % masked or off the detector",
                ring.name,
                ring.q_range_per_nm.min_per_nm,
                ring.q_range_per_nm.max_per_nm,
                100.0 * ring.masked_share
            )?;
        }
        Ok(())
    }
}
