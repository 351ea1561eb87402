//! Does every value of a recipe make sense?

use std::fmt::Display;

use halotau::axes::QRange;
use halotau::correlate::LagSpacing;
use halotau::recipe::{DataBlock, MaskShape, Recipe, Region, SCHEMA};
use halotau::relax::Stretch;
use halotau::series::Warning;
use halotau::{Error, Result};

use crate::draw;

/// Below and above these, a range is more likely in another unit: halos of glasses lie at 2-8 1/nm.
const USUAL_PER_NM: (f64, f64) = (1.0, 20.0);

fn setting(key: &str, value: impl Display, problem: &str) -> Error {
    Error::Setting {
        key: key.to_owned(),
        value: value.to_string(),
        problem: problem.to_owned(),
    }
}

fn require(holds: bool, key: &str, value: impl Display, problem: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(setting(key, value, problem))
    }
}

fn positive(key: &str, value: Option<f64>) -> Result<()> {
    let value = value.unwrap_or(1.0);
    require(
        value.is_finite() && value > 0.0,
        key,
        value,
        "must be a positive number",
    )
}

fn finite(key: &str, values: &[f64]) -> Result<()> {
    let all_finite = values.iter().all(|value| value.is_finite());
    require(all_finite, key, format!("{values:?}"), "must be finite")
}

/// The positions that are looked at.
fn scan(recipe: &Recipe) -> Result<()> {
    let scan = &recipe.scan;
    require(
        scan.edge_margin_nm.is_finite() && scan.edge_margin_nm >= 0.0,
        "scan.edge_margin_nm",
        scan.edge_margin_nm,
        "must be a distance in nm, 0 for none",
    )?;
    if !scan.polygon.is_empty() {
        polygon("scan.polygon", &scan.polygon)?;
    }
    if let Some([thinnest, thickest]) = scan.thickness_window {
        require(
            thinnest < thickest && thickest > 0.0,
            "scan.thickness_window",
            format!("[{thinnest}, {thickest}]"),
            "is [lowest, highest] ring intensity over its median, such as [0.8, 1.2]",
        )?;
    }
    Ok(())
}

fn half_open(key: &str, range: [usize; 2]) -> Result<()> {
    require(
        range[0] < range[1],
        key,
        format!("{range:?}"),
        "must be [first, one past the last] with first < last",
    )
}

/// Every value, in the order of the file.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    require(
        recipe.schema == SCHEMA,
        "schema",
        recipe.schema,
        &format!("this program reads schema {SCHEMA}"),
    )?;
    // TOML integers are signed.
    require(
        i64::try_from(recipe.seed).is_ok(),
        "seed",
        recipe.seed,
        "must be below 2^63",
    )?;
    positive(
        "sample.glass_transition_k",
        recipe.sample.glass_transition_k,
    )?;
    let microscope = &recipe.microscope;
    positive("microscope.voltage_kv", microscope.voltage_kv)?;
    positive("microscope.convergence_mrad", microscope.convergence_mrad)?;
    positive("microscope.probe_fwhm_nm", microscope.probe_fwhm_nm)?;
    positive("microscope.probe_current_pa", microscope.probe_current_pa)?;
    positive("scan.step_nm", recipe.scan.step_nm)?;
    region("scan.region", recipe.scan.region)?;
    scan(recipe)?;
    pattern(recipe)?;
    positive("sample.first_peak_per_nm", recipe.sample.first_peak_per_nm)?;
    if let Some(cols) = recipe.pattern.common_mode_cols {
        require(
            cols >= 8,
            "pattern.common_mode_cols",
            cols,
            "must be at least 8 columns: the offset of fewer is not told from their counts",
        )?;
    }
    let calibration = &recipe.calibration;
    positive("calibration.ring_per_nm", calibration.ring_per_nm)?;
    positive("calibration.camera_length_mm", calibration.camera_length_mm)?;
    positive("calibration.pixel_um", calibration.pixel_um)?;
    require(
        calibration.sample_mib > 0 && calibration.sample_mib < 1 << 24,
        "calibration.sample_mib",
        calibration.sample_mib,
        "must be between 1 and 16777215 MiB",
    )?;
    recipe
        .reduction
        .q_range_per_nm
        .map_or(Ok(()), |range| range.check("reduction.q_range_per_nm"))?;
    recipe
        .dynamics
        .q_range_per_nm
        .check("dynamics.q_range_per_nm")?;
    require(
        recipe.dynamics.lags != LagSpacing::MultiTau || recipe.dynamics.allows_multi_tau(),
        "dynamics.lags",
        "multi_tau",
        "goes neither with dynamics.two_time = \"all\" nor with dynamics.normalization = \"per_pixel\": these need every lag, \
         dynamics.lags = \"all\"",
    )?;
    relaxation(recipe)?;
    let structure = &recipe.structure;
    structure.q_range_per_nm.check("structure.q_range_per_nm")?;
    positive("structure.gain", Some(structure.gain))?;
    require(
        structure.excess_factor.is_finite() && structure.excess_factor >= 1.0,
        "structure.excess_factor",
        structure.excess_factor,
        "must be at least 1: no detector has less noise than counting",
    )?;
    let interval = &recipe.interval;
    require(
        interval.sectors >= 2,
        "interval.sectors",
        interval.sectors,
        "must be at least 2; the jackknife leaves out one at a time",
    )?;
    require(
        interval.level > 0.0 && interval.level < 1.0,
        "interval.level",
        interval.level,
        "must be between 0 and 1, such as 0.95",
    )?;
    require(
        (0.0..=1.0).contains(&recipe.output.max_bad),
        "output.max_bad",
        recipe.output.max_bad,
        "is a share of the positions, from 0 to 1",
    )?;
    draw::check_pdf(recipe.output.pdf)?;
    require(
        !recipe.output.folder.as_os_str().is_empty(),
        "output.folder",
        "\"\"",
        "must name a folder",
    )?;
    recipe
        .data
        .iter()
        .enumerate()
        .try_for_each(|(idx, block)| data_block(idx, block))
}

fn region(key: &str, region: Option<Region>) -> Result<()> {
    let Some(region) = region else { return Ok(()) };
    half_open(&format!("{key}.rows"), region.rows)?;
    half_open(&format!("{key}.cols"), region.cols)
}

fn pattern(recipe: &Recipe) -> Result<()> {
    let pattern = &recipe.pattern;
    positive("pattern.q_step_per_nm", pattern.q_step_per_nm)?;
    require(
        pattern.bin >= 1,
        "pattern.bin",
        pattern.bin,
        "must be at least 1, which sums nothing",
    )?;
    if let Some(center) = &pattern.center {
        finite("pattern.center", center)?;
    }
    if let Some(descan) = &pattern.descan {
        let rows = [descan.row_per_row, descan.row_per_col];
        let cols = [descan.col_per_row, descan.col_per_col];
        finite("pattern.descan", &[rows, cols].concat())?;
    }
    if let Some(ellipse) = &pattern.ellipse {
        finite("pattern.ellipse", &[ellipse.angle_rad])?;
        require(
            ellipse.distortion.abs() < 0.5,
            "pattern.ellipse.distortion",
            ellipse.distortion,
            "is half of the relative difference of the axes, such as 0.01; 0.5 or more is no ellipse of a microscope",
        )?;
    }
    region("pattern.crop", pattern.crop)?;
    let mut shapes = pattern.mask.iter().enumerate();
    shapes.try_for_each(|(idx, shape)| mask(&format!("pattern.mask[{idx}]"), shape))
}

fn mask(key: &str, shape: &MaskShape) -> Result<()> {
    match shape {
        MaskShape::Circle { center, radius } => {
            finite(&format!("{key}.center"), center)?;
            positive(&format!("{key}.radius"), Some(*radius))
        }
        MaskShape::Arm {
            start,
            angle_deg,
            width,
        } => {
            finite(key, &[start[0], start[1], *angle_deg])?;
            positive(&format!("{key}.width"), Some(*width))
        }
        MaskShape::Wedge {
            center,
            from_deg,
            to_deg,
        } => finite(key, &[center[0], center[1], *from_deg, *to_deg]),
        MaskShape::Rectangle { rows, cols } => {
            half_open(&format!("{key}.rows"), *rows)?;
            half_open(&format!("{key}.cols"), *cols)
        }
        MaskShape::Polygon { corners } => polygon(&format!("{key}.corners"), corners),
    }
}

fn polygon(key: &str, corners: &[[f64; 2]]) -> Result<()> {
    finite(key, &corners.concat())?;
    require(
        corners.len() >= 3,
        key,
        format!("{corners:?}"),
        "a polygon has at least three corners, each [row, col]",
    )
}

fn relaxation(recipe: &Recipe) -> Result<()> {
    let relaxation = &recipe.relaxation;
    // The simulator and the theory of the paper know stretches from 0 to 2; a Gaussian is 2.
    let in_range = |stretch: f64| stretch > 0.0 && stretch <= 4.0;
    match relaxation.stretch {
        Stretch::Fixed(stretch) => require(
            in_range(stretch),
            "relaxation.stretch",
            stretch,
            "must be above 0 and at most 4; the paper holds 1",
        )?,
        Stretch::Free { min, max } => require(
            in_range(min) && in_range(max) && min < max,
            "relaxation.stretch",
            format!("free from {min} to {max}"),
            "needs 0 < min < max <= 4",
        )?,
    }
    require(
        relaxation.lag_fraction > 0.0 && relaxation.lag_fraction <= 1.0,
        "relaxation.lag_fraction",
        relaxation.lag_fraction,
        "is a share of the record, above 0 and at most 1",
    )?;
    let [lower, upper] = relaxation.tau_bounds;
    require(
        lower.is_finite() && upper.is_finite() && lower > 0.0 && upper > 0.0,
        "relaxation.tau_bounds",
        format!("[{lower}, {upper}]"),
        "must be [steps, records], both positive",
    )?;
    require(
        relaxation.min_times >= 3,
        "relaxation.min_times",
        relaxation.min_times,
        "must be at least 3: fewer scans have fewer lags than the fit has parameters",
    )
}

fn data_block(idx: usize, block: &DataBlock) -> Result<()> {
    let key = |name: &str| format!("data[{idx}].{name}");
    let has_path = !block.path.as_os_str().is_empty();
    require(
        has_path || !block.files.is_empty(),
        &format!("data[{idx}]"),
        "no path",
        "give the file or folder as path, or one-scan files as files",
    )?;
    require(
        !has_path || block.files.is_empty(),
        &key("files"),
        format!("{} files", block.files.len()),
        "give either path or files, not both",
    )?;
    positive(&key("temperature_k"), block.temperature_k)?;
    positive(&key("period_s"), block.period_s)?;
    positive(&key("total_s"), block.total_s)?;
    positive(&key("dwell_ms"), block.dwell_ms)?;
    require(
        block.n_times != Some(0),
        &key("n_times"),
        0,
        "take at least one scan",
    )?;
    if let Some(shape) = block.shape {
        require(
            shape.iter().filter(|&&length| length == 0).count() <= 1,
            &key("shape"),
            format!("{shape:?}"),
            "at most one length can be 0 for \"find out\"",
        )?;
    }
    let Some(times) = &block.times_s else {
        return Ok(());
    };
    finite(&key("times_s"), times)?;
    let broken = times.windows(2).position(|pair| pair[0] >= pair[1]);
    broken.map_or(Ok(()), |time| {
        Err(setting(
            &key("times_s"),
            format!("{}, then {}", times[time], times[time + 1]),
            "the start times must increase",
        ))
    })
}

/// Values that make sense but are more likely a slip.
pub(super) fn warnings(recipe: &Recipe) -> Vec<Warning> {
    let ranges = [
        (
            "dynamics.q_range_per_nm",
            Some(recipe.dynamics.q_range_per_nm),
        ),
        (
            "structure.q_range_per_nm",
            Some(recipe.structure.q_range_per_nm),
        ),
        ("reduction.q_range_per_nm", recipe.reduction.q_range_per_nm),
    ];
    let unusual =
        |range: &QRange| range.max_per_nm < USUAL_PER_NM.0 || range.min_per_nm > USUAL_PER_NM.1;
    let mut warnings = Vec::new();
    for (key, range) in ranges {
        let Some(range) = range.filter(unusual) else {
            continue;
        };
        let QRange {
            min_per_nm: min,
            max_per_nm: max,
        } = range;
        warnings.push(Warning::new(
            "W035",
            format!(
                "{key} = [{min}, {max}] 1/nm is far from the halo of any glass (2 to 8 1/nm). Is it in another unit? 4.4 1/nm = 0.44 1/Å."
            ),
        ));
    }
    let temperatures: Vec<f64> = recipe
        .data
        .iter()
        .filter_map(|block| block.temperature_k)
        .collect();
    if let Some(cold) = temperatures.iter().find(|&&kelvin| kelvin < 77.0) {
        warnings.push(Warning::new(
            "W036",
            format!("A temperature of {cold} K is very low for a relaxing glass. Is it in °C?"),
        ));
    }
    warnings
}
