//! How does a person get a first recipe?
//!
//! From the files: what their headers state is written down, what they do not state is left to fill in, with a hint.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use halotau::axes::{TimeAxis, TimeBasis};
use halotau::recipe::{CalibrationSettings, DataBlock, Profile, Recipe};
use halotau::series::{SeriesHeader, Stated, Warning};
use halotau_io::OpenRequest;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::recipe_file::{Unfilled, commented_toml};

/// Binned patterns of about this many pixels a side resolve the speckle of the paper (264 / 4 = 66).
const BINNED_SIDE: usize = 64;

/// A recipe to be completed by a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstRecipe {
    /// Commented TOML.
    pub text: String,
    /// What must still be filled in.
    pub unfilled: Vec<Unfilled>,
    /// What a person should know of the files.
    pub warnings: Vec<Warning>,
}

/// Makes a recipe for series, one a temperature. `folder` is where the recipe will lie; paths below it become relative.
///
/// # Errors
///
/// Those of opening the files.
pub fn init(series: &[OpenRequest], profile: Profile, folder: &Path) -> Result<FirstRecipe> {
    let mut headers = Vec::new();
    for request in series {
        headers.push(halotau_io::open(request)?.header().clone());
    }
    let mut first = from_headers(series, &headers, profile);
    for block in &mut first.0.data {
        let absolute =
            std::path::absolute(&block.path).map_err(|source| Error::read(&block.path, source))?;
        block.path = absolute
            .strip_prefix(folder)
            .map_or(absolute.clone(), Path::to_owned);
    }
    let (recipe, unfilled, warnings) = first;
    Ok(FirstRecipe {
        text: commented_toml(&recipe, &unfilled),
        unfilled,
        warnings,
    })
}

/// Writes a first recipe; an existing file is replaced only on request.
///
/// # Errors
///
/// [`Error::Exists`], [`Error::Create`], [`Error::Write`].
pub fn write(path: &Path, text: &str, replace: bool) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create_new(!replace)
        .create(replace)
        .truncate(replace);
    let mut file = options.open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists {
            path: path.to_owned(),
        },
        _ => Error::create(path, source),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|source| Error::write(path, source))
}

fn from_headers(
    series: &[OpenRequest],
    headers: &[SeriesHeader],
    profile: Profile,
) -> (Recipe, Vec<Unfilled>, Vec<Warning>) {
    let mut recipe = Recipe::of(profile);
    recipe.calibration = CalibrationSettings::default().auto();
    let mut unfilled = Vec::new();
    let mut warnings: Vec<Warning> = headers
        .iter()
        .flat_map(|header| header.warnings.clone())
        .collect();
    let mut missing = |key: String, hint: &str| {
        unfilled.push(Unfilled {
            key,
            hint: hint.to_owned(),
        });
    };
    let mut common = |key: &str, of: fn(&SeriesHeader) -> &Option<Stated>| -> Option<f64> {
        let mut values = headers
            .iter()
            .filter_map(|header| of(header).as_ref().map(|stated| stated.value));
        let first = values.next()?;
        if let Some(other) = values.find(|&value| value != first) {
            warnings.push(Warning::new(
                "W040",
                format!("The files state different values of {key}: {first} and {other}. The first is written down; analyze them apart if both are right."),
            ));
        }
        Some(first)
    };
    recipe.microscope.voltage_kv = common("microscope.voltage_kv", |header| &header.voltage_kv);
    recipe.microscope.convergence_mrad = common("microscope.convergence_mrad", |header| {
        &header.convergence_mrad
    });
    recipe.scan.step_nm = common("scan.step_nm", |header| &header.step_nm);
    recipe.pattern.q_step_per_nm = common("pattern.q_step_per_nm", |header| &header.q_step_per_nm);
    if recipe.pattern.q_step_per_nm.is_none() {
        missing(
            "pattern.q_step_per_nm".to_owned(),
            "1/nm a pattern pixel, as 1/d without 2 pi",
        );
    }
    if recipe.scan.step_nm.is_none() {
        missing(
            "scan.step_nm".to_owned(),
            "nm; for scale bars, not needed for numbers",
        );
    }
    let side = headers
        .iter()
        .map(|header| header.shape.pattern_rows.min(header.shape.pattern_cols))
        .min();
    recipe.pattern.bin = (side.unwrap_or(1) / BINNED_SIDE).max(1);
    for (idx, (request, header)) in series.iter().zip(headers).enumerate() {
        let mut block = DataBlock {
            path: request.path.clone(),
            files: request.files.clone(),
            dataset: request.dataset.clone(),
            shape: request.shape,
            raw: request.raw.clone(),
            frames: request.frames,
            ..DataBlock::default()
        };
        let stated = header.temperature_k.as_ref().map(|stated| stated.value);
        block.temperature_k = stated.or_else(|| kelvin_in_name(&request.path));
        if block.temperature_k.is_none() {
            missing(format!("data[{idx}].temperature_k"), "K");
        }
        if header.shape.n_times > 1 && TimeAxis::of(header, TimeBasis::Auto).is_err() {
            missing(
                format!("data[{idx}].total_s"),
                "s from first start to last end; or period_s, or times_s",
            );
        }
        recipe.data.push(block);
    }
    (recipe, unfilled, warnings)
}

/// 633 for `T633.h5`, `zrcual_633K.zarr` or `633 K`; temperatures below 100 K are not guessed.
fn kelvin_in_name(path: &Path) -> Option<f64> {
    let name = path.file_stem().and_then(OsStr::to_str)?;
    let starts: Vec<(usize, char)> = name.char_indices().collect();
    let mut at = 0;
    while at < starts.len() {
        let length = starts[at..]
            .iter()
            .take_while(|(_, c)| c.is_ascii_digit())
            .count();
        if (3..=4).contains(&length) {
            let digits: String = starts[at..at + length].iter().map(|(_, c)| c).collect();
            let before = at.checked_sub(1).map(|at| starts[at].1);
            let mut after = starts[at + length..].iter().map(|(_, c)| *c);
            let has_unit = match after.next() {
                Some('K') => after.next().is_none_or(|c| !c.is_alphanumeric()),
                Some(' ' | '_') => {
                    after.next() == Some('K') && after.next().is_none_or(|c| !c.is_alphanumeric())
                }
                _ => false,
            };
            if has_unit || before == Some('T') {
                return digits.parse().ok();
            }
        }
        at += length.max(1);
    }
    None
}

/// Absolute path of the folder in which a recipe lies.
///
/// # Errors
///
/// [`Error::Create`] where the working directory is gone.
pub fn folder_of(recipe: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(recipe).map_err(|source| Error::create(recipe, source))?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use halotau::series::{SampleType, SeriesShape};

    use super::*;
    use crate::recipe_file::parse;

    #[test]
    fn temperatures_are_read_from_names() {
        for (name, kelvin) in [
            ("T633.h5", Some(633.0)),
            ("zrcual_633K.zarr", Some(633.0)),
            ("scan 12 1073 K.npy", Some(1073.0)),
            ("20240613_run2.h5", None),
            ("633Kelvin.h5", None),
            ("image_512.npy", None),
            ("T33.h5", None),
        ] {
            assert_eq!(kelvin_in_name(Path::new(name)), kelvin, "{name}");
        }
    }

    #[test]
    fn what_the_file_states_is_written_and_the_rest_is_asked_for() {
        let shape = SeriesShape {
            n_times: 5,
            n_rows: 2,
            n_cols: 2,
            pattern_rows: 264,
            pattern_cols: 264,
        };
        let mut header = SeriesHeader::new("a", "HDF5", shape, SampleType::U16);
        header.step_nm = Some(Stated::new(0.1617, "attribute"));
        let requests = [
            OpenRequest::new("/d/T633.h5"),
            OpenRequest::new("/d/other.h5"),
        ];
        let headers = [header.clone(), header];
        let (recipe, unfilled, warnings) = from_headers(&requests, &headers, Profile::Paper);
        assert!(warnings.is_empty());
        let keys: Vec<&str> = unfilled
            .iter()
            .map(|missing| missing.key.as_str())
            .collect();
        let expected = [
            "pattern.q_step_per_nm",
            "data[0].total_s",
            "data[1].temperature_k",
            "data[1].total_s",
        ];
        assert_eq!(keys, expected);
        let text = commented_toml(&recipe, &unfilled);
        assert_eq!(text.matches("FILL IN").count(), expected.len(), "{text}");
        let loaded = parse(&text, "recipe.toml", Path::new("/d"), &[]).unwrap();
        assert_eq!(loaded.recipe.pattern.bin, 4);
        assert_eq!(loaded.recipe.scan.step_nm, Some(0.1617));
        assert_eq!(loaded.recipe.data[0].temperature_k, Some(633.0));
    }
}
