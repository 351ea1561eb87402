//! `halotau inspect`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::inspect::inspect;
use halotau_flow::{OpenRequest, Result};

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau inspect 633K.h5
  halotau inspect scans/ --shape 106,60,120,0,0 --json | jq .shape";

/// Say what is in a file: axes, units, size, and what does not fit together
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Files, Zarr folders, or folders of one-scan files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    layout: Layout,
    /// Probe current in pA, for the dose
    #[arg(long, value_name = "PA")]
    probe_current_pa: Option<f64>,
}

/// What files may not say themselves.
#[derive(Debug, Args)]
pub(crate) struct Layout {
    /// Path of the dataset inside an HDF5 file or Zarr group
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Time, scan rows, scan columns, pattern rows, pattern columns; one may be 0 for "find out"
    #[arg(long, value_name = "T,R,C,R,C", value_parser = shape)]
    shape: Option<[usize; 5]>,
}

fn shape(text: &str) -> Result<[usize; 5], String> {
    let lengths = text.split(',').map(|length| length.trim().parse().ok());
    let lengths: Option<Vec<usize>> = lengths.collect();
    lengths
        .and_then(|lengths| lengths.try_into().ok())
        .ok_or_else(|| "write five whole numbers, such as 106,60,120,264,264".to_owned())
}

impl Layout {
    /// The request to open a path with this layout.
    pub(crate) fn request(&self, path: &std::path::Path) -> OpenRequest {
        OpenRequest {
            dataset: self.dataset.clone(),
            shape: self.shape,
            ..OpenRequest::new(path)
        }
    }
}

impl Inspect {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let mut found = Vec::new();
        for path in &self.paths {
            found.push(inspect(&self.layout.request(path), self.probe_current_pa)?);
        }
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        // One file is one object, so that `jq .shape` works; several are a list.
        match found.as_slice() {
            [one] => session.print(&texts.join("\n"), one),
            several => session.print(&texts.join("\n"), &several),
        }
    }
}
