//! `halotau figure`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::{Result, draw, series};
use serde_json::json;

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau figure halotau-results
  halotau figure halotau-results -o paper-figures
  halotau figure halotau-results --pdf";

/// Draw the figures of results again
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Figure {
    /// Result folder
    folder: PathBuf,
    /// Folder for the figures of all temperatures; the result folder if absent
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Draw PDF files as well; needs a build with the feature pdf
    #[arg(long)]
    pdf: bool,
}

impl Figure {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let results = series::read(std::slice::from_ref(&self.folder))?;
        let out = self.output.as_ref().unwrap_or(&self.folder);
        let mut output = results.output();
        output.pdf |= self.pdf;
        draw::check_pdf(output.pdf)?;
        if !session.dry_run {
            session.with_context(|context| series::figures(&results, out, &output, context))?;
        }
        let text = format!(
            "wrote the figures of {} temperature{} to {}\n",
            results.folders.len(),
            if results.folders.len() == 1 { "" } else { "s" },
            out.display()
        );
        session.print(
            &text,
            &json!({"folder": out, "temperatures": results.folders}),
        )
    }
}
