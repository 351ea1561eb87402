//! `halotau convert`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use halotau_flow::convert::{Converted, convert};
use halotau_flow::inspect::inspect;
use halotau_flow::{Error, Result, SeriesFormat};

use crate::layout::Layout;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau convert scan_001.mib -o scan_001.zarr --shape 0,60,120,0,0
  halotau convert scans/ -o series.npy";

/// Write a series of any detector as Zarr or .npy
///
/// Zarr keeps axes, times and missing frames, with checksums; .npy keeps shape and type only.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Convert {
    /// A file of any detector, a Zarr folder, or a folder of one-scan files
    path: PathBuf,
    /// Where to write; the ending .zarr or .npy says what, unless --to does
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Format of the output
    #[arg(long, value_enum)]
    to: Option<Format>,
    #[command(flatten)]
    layout: Layout,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Zarr,
    Npy,
}

impl Convert {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let ending = self.output.extension().and_then(|ending| ending.to_str());
        let format = match (self.to, ending) {
            (Some(Format::Zarr), _) | (None, Some("zarr")) => SeriesFormat::Zarr,
            (Some(Format::Npy), _) | (None, Some("npy")) => SeriesFormat::Npy,
            _ => {
                return Err(Error::Usage {
                    argument: "--output".to_owned(),
                    problem: format!(
                        "{} ends neither in .zarr nor in .npy; give such a name, or --to",
                        self.output.display()
                    ),
                });
            }
        };
        let request = self.layout.request(&self.path);
        if session.dry_run {
            let found = inspect(&request, None)?;
            return session.print(&found.to_string(), &found);
        }
        let written: Converted =
            session.with_context(|context| convert(&request, &self.output, format, context))?;
        session.print(&format!("{written}\n"), &written)
    }
}
