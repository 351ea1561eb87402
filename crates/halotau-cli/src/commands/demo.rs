//! `halotau demo`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::demo::{self, Recovered};
use halotau_flow::results::Summary;
use halotau_flow::{Result, SeriesFormat, simulate};
use serde_json::json;

use crate::session::Session;
use crate::study_text::{short, study_text};

const EXAMPLES: &str = "\
Examples:
  halotau demo
  halotau demo -o glass --seed 7";

/// Simulate the paper's experiment, analyze it, and compare with the truth
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Folder for data, results and report
    #[arg(short, long, value_name = "FOLDER", default_value = "halotau-demo")]
    output: PathBuf,
    /// Seed of the simulation
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let settings = demo::settings(self.seed);
        if session.dry_run {
            let text =
                simulate::plan_text(&settings, &self.output.join("data"), SeriesFormat::Zarr);
            return session.print(&text, &json!({"settings": settings}));
        }
        let outcome =
            session.with_context(|context| demo::demo(&self.output, &settings, context))?;
        let run = &outcome.run;
        let text = format!(
            "{}\n{}wrote {}\nnext: open the report, then halotau inspect YOUR_FILE\n",
            study_text(&run.study),
            recovered_text(&outcome.recovered),
            run.report.display()
        );
        let value = json!({
            "recovered": outcome.recovered,
            "summary": Summary::of(&run.study, &run.comparison, &run.records),
            "report": run.report,
        });
        session.print(&text, &value)
    }
}

fn recovered_text(rows: &[Recovered]) -> String {
    let mut text = format!(
        "{:<38} {:>6} {:>9} {:>9}  interval\n",
        "quantity", "T (K)", "truth", "found"
    );
    for row in rows {
        let temperature = row.temperature_k.map_or_else(String::new, short);
        let interval = row.interval.map_or_else(String::new, |[lower, upper]| {
            format!("[{}, {}]", short(lower), short(upper))
        });
        text.push_str(&format!(
            "{:<38} {temperature:>6} {:>9} {:>9}  {interval}\n",
            row.quantity,
            short(row.truth),
            short(row.found)
        ));
    }
    text
}
