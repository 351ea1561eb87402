//! Maps as images with a scale, the way ImageJ writes it.
//!
//! ImageJ takes the unit from the image description and the pixels a unit from the resolution tags; there is no TIFF
//! resolution unit for nanometers.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use ::tiff::encoder::colortype::Gray32Float;
use ::tiff::encoder::{Rational, TiffEncoder};
use ::tiff::tags::{ResolutionUnit, Tag};
use ::tiff::{TiffError, TiffResult};
use halotau::analysis::Analysis;

use crate::error::{Error, Result};
use crate::manifest::{Sync, write_whole};
use crate::maps::{NamedMap, maps};

/// Writes every map as `NAME.tif` into a folder: 32-bit floats, NaN where there is no value, a scale in nm where the scan
/// step is known.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Export`] where a map has no pixels or too many for the format.
pub fn write_tiffs(folder: &Path, analysis: &Analysis) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for map in maps(analysis) {
        let path = folder.join(format!("{}.tif", map.name));
        let bytes = encode(&map, analysis.step_nm).map_err(|error| Error::Export {
            path: path.clone(),
            format: "TIFF",
            problem: error.to_string(),
        })?;
        write_whole(&path, &bytes, Sync::Cache)?;
        written.push(path);
    }
    Ok(written)
}

fn encode(map: &NamedMap<'_>, step_nm: f64) -> TiffResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let (n_rows, n_cols) = map.values.dim();
    let side = |len: usize| u32::try_from(len).map_err(|_| TiffError::IntSizeError);
    let mut encoder = TiffEncoder::new(&mut bytes)?;
    let mut image = encoder.new_image::<Gray32Float>(side(n_cols)?, side(n_rows)?)?;
    let values: Vec<f32> = map.values.iter().map(|&value| value as f32).collect();
    let scale = pixels_per_nm(step_nm);
    let unit = if scale.is_some() { "unit=nm\n" } else { "" };
    // The first line makes ImageJ read the others; min and max set the contrast on opening.
    let range = finite_range(&values)
        .map_or_else(String::new, |(min, max)| format!("min={min}\nmax={max}\n"));
    let description = format!(
        "ImageJ=1.54f\n{unit}{range}Info={}: {} ({})\n",
        map.name, map.long_name, map.units
    );
    image
        .encoder()
        .write_tag(Tag::ImageDescription, description.as_str())?;
    if let Some((n, d)) = scale {
        image.resolution_unit(ResolutionUnit::None);
        image.x_resolution(Rational { n, d });
        image.y_resolution(Rational { n, d });
    }
    image.write_data(&values)?;
    Ok(bytes.into_inner())
}

/// Pixels a nanometer as a fraction of 32-bit integers, exact to a millionth of the step.
fn pixels_per_nm(step_nm: f64) -> Option<(u32, u32)> {
    // Steps of an electron microscope lie far inside of these limits, which keep both integers below 2^32.
    const MILLION: f64 = 1e6;
    (1e-3..=1e3)
        .contains(&step_nm)
        .then(|| (MILLION as u32, (step_nm * MILLION).round() as u32))
}

fn finite_range(values: &[f32]) -> Option<(f32, f32)> {
    values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .fold(None, |range: Option<(f32, f32)>, value| {
            let (min, max) = range.unwrap_or((value, value));
            Some((min.min(value), max.max(value)))
        })
}
