//! The small arrays of a reduction: everything but the counts on the annulus.

use halotau::ndarray::Array1;
use halotau::reduce::Reduction;

use crate::error::Result;
use crate::maps::positions_nm;
use crate::zarr_store::{GroupWriter, Named};

/// Writes the small arrays, and gives the names of those that are coordinates.
pub(super) fn write_arrays(
    group: &mut GroupWriter<'_>,
    reduction: &Reduction,
) -> Result<Vec<&'static str>> {
    const MAP: &[&str] = &["row", "col"];
    const PATTERN: &[&str] = &["pattern_row", "pattern_col"];
    let mut coordinates = Vec::new();
    let mut coordinate =
        |group: &mut GroupWriter<'_>, name, dimensions, units, long_name, values: Vec<f64>| {
            coordinates.push(name);
            group.array(
                &Named::new(name, dimensions, units, long_name),
                &Array1::from(values),
            )
        };
    let annulus = &reduction.annulus;
    coordinate(
        group,
        "time_s",
        &["time"],
        "s",
        "start of each scan",
        reduction.time.times_s().to_vec(),
    )?;
    coordinate(
        group,
        "pixel_q_per_nm",
        &["pixel"],
        "nm-1",
        "spatial frequency",
        annulus.q_per_nm.clone(),
    )?;
    coordinate(
        group,
        "pixel_azimuth_rad",
        &["pixel"],
        "rad",
        "azimuth",
        annulus.azimuth_rad.clone(),
    )?;
    let q = |edge: fn(&halotau::axes::QRange) -> f64| reduction.q_bins.iter().map(edge).collect();
    coordinate(
        group,
        "q_min_per_nm",
        &["q"],
        "nm-1",
        "lower edge of the q bin",
        q(|bin| bin.min_per_nm),
    )?;
    coordinate(
        group,
        "q_max_per_nm",
        &["q"],
        "nm-1",
        "upper edge of the q bin",
        q(|bin| bin.max_per_nm),
    )?;
    let along = |[first, end]: [usize; 2]| positions_nm(first, end - first, reduction.step_nm);
    if let (Some(rows), Some(cols)) = (along(reduction.region.rows), along(reduction.region.cols)) {
        coordinate(group, "row_nm", &["row"], "nm", "scan row", rows)?;
        coordinate(group, "col_nm", &["col"], "nm", "scan column", cols)?;
    }
    let per_pixel = |name, units, long_name| Named::new(name, &["pixel"], units, long_name);
    group.array(
        &per_pixel("pixel_row", "1", "row on the binned grid"),
        &Array1::from(annulus.row.clone()),
    )?;
    group.array(
        &per_pixel("pixel_col", "1", "column on the binned grid"),
        &Array1::from(annulus.col.clone()),
    )?;
    group.array(
        &per_pixel("pixel_coverage", "1", "valid share of the native pixels"),
        &Array1::from(annulus.coverage.clone()),
    )?;
    group.array(
        &Named::new(
            "mean_pattern",
            PATTERN,
            "count",
            "mean counts of each detector pixel",
        ),
        &reduction.mean_pattern,
    )?;
    group.array(
        &Named::new(
            "detector_valid",
            PATTERN,
            "1",
            "detector pixels that can be trusted",
        ),
        &reduction.calibration.pixel_valid,
    )?;
    group.array(
        &Named::new(
            "virtual_image",
            &["time", "row", "col"],
            "count",
            "counts of each frame",
        ),
        &reduction.virtual_image,
    )?;
    group.array(
        &Named::new(
            "q_sums",
            &["row", "col", "q"],
            "count",
            "counts in each q bin, summed over scans",
        ),
        &reduction.q_sums,
    )?;
    group.array(
        &Named::new("q_pixels", &["q"], "1", "valid pixels in each q bin"),
        &Array1::from(reduction.q_pixels.clone()),
    )?;
    group.array(
        &Named::new(
            "shift_row",
            MAP,
            "1",
            "whole native pixels by which the pattern was shifted, rows",
        ),
        &reduction.shift_row,
    )?;
    group.array(
        &Named::new(
            "shift_col",
            MAP,
            "1",
            "whole native pixels by which the pattern was shifted, columns",
        ),
        &reduction.shift_col,
    )?;
    Ok(coordinates)
}
