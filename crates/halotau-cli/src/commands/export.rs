//! `halotau export`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use halotau_flow::export::{Comments, ExportFormat, export};
use halotau_flow::{Result, series};
use serde_json::json;

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau export halotau-results -o maps --to tiff,csv
  halotau export halotau-results -o mail --to hdf5";

/// Write results for other programs: CSV, calibrated float TIFF, npy, HDF5 with NXdata
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Export {
    /// Result folder
    folder: PathBuf,
    /// Folder for the files
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Formats, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["csv", "tiff", "npy", "hdf5"])]
    to: Vec<Format>,
    /// No comment lines in CSV files, for spreadsheets
    #[arg(long)]
    no_comments: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Tiff,
    Npy,
    Hdf5,
}

impl Export {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let results = series::read(std::slice::from_ref(&self.folder))?;
        let formats: Vec<ExportFormat> = self.to.iter().map(|&format| format.into()).collect();
        let comments = if self.no_comments {
            Comments::Without
        } else {
            Comments::With
        };
        let written = if session.dry_run {
            Vec::new()
        } else {
            session.with_context(|context| {
                export(&results, &self.output, &formats, comments, context)
            })?
        };
        let text = format!(
            "wrote {} files to {}\n",
            written.len(),
            self.output.display()
        );
        session.print(&text, &json!({"files": written}))
    }
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Tiff => Self::Tiff,
            Format::Npy => Self::Npy,
            Format::Hdf5 => Self::Hdf5,
        }
    }
}
