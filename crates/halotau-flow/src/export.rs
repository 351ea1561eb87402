//! Results for other programs: CSV, calibrated float TIFF, npy, HDF5 with NXdata.

use std::fs;
use std::path::{Path, PathBuf};

use halotau_io::export;
pub use halotau_io::export::Comments;

use crate::context::{Context, Unit};
use crate::error::{Error, Result};
use crate::recipe_file::to_toml;
use crate::series::Results;

/// What to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// `maps.csv`, one row a position, and `series.csv`, one row a temperature.
    Csv,
    /// One calibrated 32-bit float image a map.
    Tiff,
    /// One array a map and curve.
    Npy,
    /// One file with all maps, which NeXus viewers plot unasked.
    Hdf5,
}

/// Writes results in the formats asked for; several temperatures get a folder each. Returns what was written.
///
/// # Errors
///
/// Errors of writing.
pub fn export(
    results: &Results,
    out: &Path,
    formats: &[ExportFormat],
    comments: Comments,
    context: &Context<'_>,
) -> Result<Vec<PathBuf>> {
    let analyses = &results.study.analyses;
    let create =
        |folder: &Path| fs::create_dir_all(folder).map_err(|source| Error::create(folder, source));
    create(out)?;
    let mut written = Vec::new();
    context.stage(
        "export",
        (analyses.len() * formats.len()) as u64,
        Unit::Items,
    );
    for (analysis, own) in analyses.iter().zip(&results.folders) {
        let folder = match own.file_name() {
            Some(name) if analyses.len() > 1 => out.join(name),
            _ => out.to_owned(),
        };
        create(&folder)?;
        for format in formats {
            match format {
                ExportFormat::Csv => {
                    let path = folder.join("maps.csv");
                    export::write_maps_csv(&path, analysis, comments)?;
                    written.push(path);
                }
                ExportFormat::Tiff => written.extend(export::write_tiffs(&folder, analysis)?),
                ExportFormat::Npy => written.extend(export::write_npys(&folder, analysis)?),
                ExportFormat::Hdf5 => {
                    let path = folder.join("results.h5");
                    export::write_hdf5(&path, analysis, &to_toml(&analysis.recipe))?;
                    written.push(path);
                }
            }
            context.advance(1);
        }
    }
    if formats.contains(&ExportFormat::Csv) {
        let path = out.join("series.csv");
        export::write_series_csv(&path, &results.study, comments)?;
        written.push(path);
    }
    context.stage_done();
    Ok(written)
}
