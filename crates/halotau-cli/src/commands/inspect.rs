//! `halotau inspect`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::Result;
use halotau_flow::inspect::inspect;

use crate::layout::Layout;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau inspect 633K.h5
  halotau inspect scan_001.mib --flyback-cols 1
  halotau inspect scans/ --shape 106,60,120,0,0 --json | jq .shape";

/// Say what is in a file: axes, units, size, and what does not fit together
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Files of any detector, Zarr folders, or folders of one-scan files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    layout: Layout,
    /// Probe current in pA, for the dose
    #[arg(long, value_name = "PA")]
    probe_current_pa: Option<f64>,
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
