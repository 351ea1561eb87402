//! `halotau series`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::results::Summary;
use halotau_flow::{Result, series};

use crate::session::Session;
use crate::study_text::study_text;

const EXAMPLES: &str = "\
Examples:
  halotau series 633K/ 643K/ 653K/ -o study
  halotau series results/ more-results/ -o study --json | jq .arrhenius";

/// Put several temperatures together: table, activation energy, shared figures
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Series {
    /// Result folders of one temperature or several
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Folder for the study
    #[arg(short, long, value_name = "FOLDER", default_value = "halotau-study")]
    output: PathBuf,
}

impl Series {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let results = if session.dry_run {
            series::read(&self.folders)?
        } else {
            session.with_context(|context| series::series(&self.folders, &self.output, context))?
        };
        let mut text = study_text(&results.study);
        if !session.dry_run {
            text.push_str(&format!("wrote {}\n", self.output.display()));
        }
        session.print(
            &text,
            &Summary::of(&results.study, &results.comparison, &results.records),
        )
    }
}
