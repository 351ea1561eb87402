//! One HDF5 file that plots itself.
//!
//! NeXus names which dataset is the signal, which are its axes and which its errors (`@default`, `@signal`, `@axes`,
//! `NAME_errors`), so that silx, H5Web and nexusformat draw the maps without being told. See
//! <https://manual.nexusformat.org/classes/base_classes/NXdata.html>.

use std::fs;
use std::path::Path;

use halotau::analysis::Analysis;
use halotau::ndarray::Array2;
use halotau::quality::Quality;
use rust_hdf5::{H5Dataset, H5File, H5Group, H5Type, Hdf5Error, VarLenUnicode};

use crate::error::{Error, Result};
use crate::maps::{maps, positions_nm, region_start};

type Hdf5Result<T> = std::result::Result<T, Hdf5Error>;

/// Writes all maps, curves and kept two-time matrices into one HDF5 file.
///
/// `tau_s_errors` is `tau_s · ln_tau_error`, the standard error to first order. `recipe_toml` is the text of the
/// effective recipe.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Export`].
pub fn write_hdf5(path: &Path, analysis: &Analysis, recipe_toml: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
    let temporary = path.with_extension("h5.tmp");
    let written = write(&temporary, analysis, recipe_toml).map_err(|error| match error {
        Hdf5Error::Io(source) => Error::io(path, "write", source),
        error => Error::Export {
            path: path.to_owned(),
            format: "HDF5",
            problem: error.to_string(),
        },
    });
    let renamed = written.and_then(|()| {
        fs::rename(&temporary, path).map_err(|error| Error::io(path, "write", error))
    });
    if renamed.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

fn write(path: &Path, analysis: &Analysis, recipe_toml: &str) -> Hdf5Result<()> {
    let file = H5File::create(path)?;
    file.set_attr_string("NX_class", "NXroot")?;
    file.set_attr_string("default", "entry")?;
    file.set_attr_string("creator", &format!("halotau {}", env!("CARGO_PKG_VERSION")))?;
    let entry = group(&file.root_group(), "entry", "NXentry")?;
    entry.set_attr_string("default", "tau_s")?;
    text(
        &entry,
        "title",
        &format!("{} at {} K", analysis.name, analysis.temperature_k),
    )?;
    write_maps(&entry, analysis)?;
    write_curves(&entry, analysis)?;
    write_two_time(&entry, analysis)?;
    let sample = group(&entry, "sample", "NXsample")?;
    text(&sample, "name", &analysis.recipe.sample.composition)?;
    array(
        &sample,
        "temperature",
        &[1],
        &[analysis.temperature_k],
        "K",
        "temperature",
    )?;
    let process = group(&entry, "process", "NXprocess")?;
    text(&process, "program", "halotau")?;
    text(&process, "version", env!("CARGO_PKG_VERSION"))?;
    text(&process, "recipe_toml", recipe_toml)?;
    let summary = serde_json::to_string_pretty(&analysis.summary)
        .map_err(|error| Hdf5Error::InvalidState(error.to_string()))?;
    text(&process, "summary_json", &summary)?;
    let warnings: Vec<String> = analysis
        .warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.code, warning.text))
        .collect();
    if !warnings.is_empty() {
        let lines: Vec<&str> = warnings.iter().map(String::as_str).collect();
        process.write_vlen_strings("warnings", &lines)?;
    }
    file.close()
}

fn write_maps(entry: &H5Group, analysis: &Analysis) -> Hdf5Result<()> {
    let all = maps(analysis);
    let tau_errors = &analysis.relaxation.tau_s * &analysis.relaxation.ln_tau_error;
    for map in &all {
        if ["tau_lower_s", "tau_upper_s"].contains(&map.name) || map.name.ends_with("_error") {
            continue;
        }
        let data = map_group(entry, analysis, map.name)?;
        map_array(&data, map.name, map.values, map.units, map.long_name)?;
        let errors = format!("{}_errors", map.name);
        if map.name == "tau_s" {
            map_array(&data, &errors, &tau_errors, "s", "standard error")?;
            for limit in all
                .iter()
                .filter(|limit| ["tau_lower_s", "tau_upper_s"].contains(&limit.name))
            {
                map_array(
                    &data,
                    limit.name,
                    limit.values,
                    limit.units,
                    limit.long_name,
                )?;
            }
        } else if let Some(error) = all
            .iter()
            .find(|other| other.name == format!("{}_error", map.name))
        {
            map_array(&data, &errors, error.values, error.units, error.long_name)?;
        }
    }
    let data = map_group(entry, analysis, "quality")?;
    let (n_rows, n_cols) = analysis.quality.dim();
    let bits: Vec<u32> = analysis.quality.iter().map(|quality| quality.0).collect();
    let dataset = array(
        &data,
        "quality",
        &[n_rows, n_cols],
        &bits,
        "1",
        "flags of each position",
    )?;
    let masks: Vec<u32> = Quality::NAMES.iter().map(|(flag, _)| flag.0).collect();
    dataset
        .new_attr::<u32>()
        .shape([masks.len()])
        .create("flag_masks")?
        .write_array(&masks)?;
    let names: Vec<&str> = Quality::NAMES.iter().map(|(_, name)| *name).collect();
    string_attribute(&dataset, "flag_meanings", &names.join(" "))
}

/// A group for one map, with its axes.
fn map_group(entry: &H5Group, analysis: &Analysis, name: &str) -> Hdf5Result<H5Group> {
    let data = group(entry, name, "NXdata")?;
    data.set_attr_string("signal", name)?;
    let axes = scan_axes(&data, analysis)?;
    data.set_attr_string_array("axes", &axes)?;
    Ok(data)
}

/// Writes the coordinates of rows and columns: distances where the step is known, else indices.
fn scan_axes(data: &H5Group, analysis: &Analysis) -> Hdf5Result<[&'static str; 2]> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let [first_row, first_col] = region_start(analysis);
    let rows = positions_nm(first_row, n_rows, analysis.step_nm);
    let cols = positions_nm(first_col, n_cols, analysis.step_nm);
    let Some((rows, cols)) = rows.zip(cols) else {
        let indices = |first: usize, len: usize| {
            (first..first + len)
                .map(|idx| idx as u64)
                .collect::<Vec<_>>()
        };
        array(
            data,
            "row",
            &[n_rows],
            &indices(first_row, n_rows),
            "1",
            "scan row",
        )?;
        array(
            data,
            "col",
            &[n_cols],
            &indices(first_col, n_cols),
            "1",
            "scan column",
        )?;
        return Ok(["row", "col"]);
    };
    array(data, "row_nm", &[n_rows], &rows, "nm", "scan row")?;
    array(data, "col_nm", &[n_cols], &cols, "nm", "scan column")?;
    Ok(["row_nm", "col_nm"])
}

fn write_curves(entry: &H5Group, analysis: &Analysis) -> Hdf5Result<()> {
    let curves = &analysis.curves;
    let (n_rows, n_cols, n_lags) = curves.g.dim();
    if n_lags == 0 {
        return Ok(());
    }
    let data = group(entry, "g", "NXdata")?;
    data.set_attr_string("signal", "g")?;
    let [row, col] = scan_axes(&data, analysis)?;
    data.set_attr_string_array("axes", &[row, col, "lag_s"])?;
    let shape = [n_rows, n_cols, n_lags];
    let values: Vec<f64> = curves.g.iter().copied().collect();
    let errors: Vec<f64> = curves.g_error.iter().copied().collect();
    array(
        &data,
        "g",
        &shape,
        &values,
        "1",
        "correlation of the speckle",
    )?;
    array(
        &data,
        "g_errors",
        &shape,
        &errors,
        "1",
        "standard error of the correlation",
    )?;
    array(&data, "lag_s", &[n_lags], &curves.lag_s, "s", "lag")?;
    let data = group(entry, "ensemble_g", "NXdata")?;
    data.set_attr_string("signal", "ensemble_g")?;
    data.set_attr_string_array("axes", &["lag_s"])?;
    array(
        &data,
        "ensemble_g",
        &[n_lags],
        &analysis.ensemble_g,
        "1",
        "correlation averaged over positions",
    )?;
    array(&data, "lag_s", &[n_lags], &curves.lag_s, "s", "lag")?;
    Ok(())
}

fn write_two_time(entry: &H5Group, analysis: &Analysis) -> Hdf5Result<()> {
    let n_times = analysis.time.len();
    let kept = &analysis.two_time;
    if kept.is_empty() {
        return Ok(());
    }
    let data = group(entry, "two_time", "NXdata")?;
    data.set_attr_string("signal", "two_time")?;
    // A dot is an axis without coordinates.
    data.set_attr_string_array("axes", &[".", "time_1_s", "time_2_s"])?;
    let values: Vec<f64> = kept
        .iter()
        .flat_map(|matrix| matrix.values.iter().copied())
        .collect();
    let shape = [kept.len(), n_times, n_times];
    array(
        &data,
        "two_time",
        &shape,
        &values,
        "1",
        "two-time correlation",
    )?;
    let times = analysis.time.times_s();
    array(
        &data,
        "time_1_s",
        &[n_times],
        times,
        "s",
        "start of the first scan",
    )?;
    array(
        &data,
        "time_2_s",
        &[n_times],
        times,
        "s",
        "start of the second scan",
    )?;
    let names: Vec<String> = kept
        .iter()
        .map(|matrix| {
            matrix.position.map_or_else(
                || "region mean".to_owned(),
                |position| format!("row {}, col {}", position.row, position.col),
            )
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    data.write_vlen_strings("position", &names)?;
    Ok(())
}

fn group(parent: &H5Group, name: &str, class: &str) -> Hdf5Result<H5Group> {
    let group = parent.create_group(name)?;
    group.set_attr_string("NX_class", class)?;
    Ok(group)
}

fn map_array(
    data: &H5Group,
    name: &str,
    values: &Array2<f64>,
    units: &str,
    long_name: &str,
) -> Hdf5Result<()> {
    let shape = [values.nrows(), values.ncols()];
    let values: Vec<f64> = values.iter().copied().collect();
    array(data, name, &shape, &values, units, long_name).map(drop)
}

fn array<T: H5Type>(
    parent: &H5Group,
    name: &str,
    shape: &[usize],
    values: &[T],
    units: &str,
    long_name: &str,
) -> Hdf5Result<H5Dataset> {
    let dataset = parent.new_dataset::<T>().shape(shape).create(name)?;
    dataset.write_raw(values)?;
    string_attribute(&dataset, "units", units)?;
    // Viewers label the axis with this alone.
    let unit = if units == "1" {
        String::new()
    } else {
        format!(" ({units})")
    };
    string_attribute(&dataset, "long_name", &format!("{long_name}{unit}"))?;
    Ok(dataset)
}

fn string_attribute(dataset: &H5Dataset, name: &str, value: &str) -> Hdf5Result<()> {
    dataset
        .new_attr::<VarLenUnicode>()
        .shape(())
        .create(name)?
        .write_string(value)
}

/// Text as a dataset of one string, the form that h5py and NeXus readers take for a field.
fn text(parent: &H5Group, name: &str, value: &str) -> Hdf5Result<()> {
    parent.write_vlen_strings(name, &[value]).map(drop)
}
