//! `halotau report`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::results::create_folder;
use halotau_flow::{Result, series};
use serde_json::json;

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau report halotau-results
  halotau report halotau-results -o for-the-group";

/// Write the report of results again: one HTML file that needs no network
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Report {
    /// Result folder
    folder: PathBuf,
    /// Folder for report.html; the result folder if absent
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl Report {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let results = series::read(std::slice::from_ref(&self.folder))?;
        let out = self.output.as_ref().unwrap_or(&self.folder);
        if session.dry_run {
            let text = format!("report of {} temperatures\n", results.folders.len());
            return session.print(&text, &json!({"temperatures": results.folders}));
        }
        create_folder(out)?;
        let path = series::write_report(&results, out)?;
        session.print(
            &format!("wrote {}\n", path.display()),
            &json!({"report": path}),
        )
    }
}
