//! `halotau simulate`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use halotau_flow::memory::size_text;
use halotau_flow::simulate::{self, load_settings};
use halotau_flow::{Result, SeriesFormat};
use serde_json::json;

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau simulate -o glass
  halotau simulate settings.toml -o big -s n_rows=60 -s n_cols=60 -s glass.spearman=0.5";

/// Simulate an experiment with known truth
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Simulate {
    /// Settings; the paper's experiment on a small scan if absent
    settings: Option<PathBuf>,
    /// Override a setting, such as -s artifacts.n_lost=3 (repeatable)
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Folder for the series, the truth and a recipe
    #[arg(
        short,
        long,
        value_name = "FOLDER",
        default_value = "halotau-simulation"
    )]
    output: PathBuf,
    /// Container of the series
    #[arg(long, value_enum, default_value = "zarr")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Zarr,
    Npy,
}

impl Simulate {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let settings = load_settings(self.settings.as_deref(), &self.overrides)?;
        let format = match self.format {
            Format::Zarr => SeriesFormat::Zarr,
            Format::Npy => SeriesFormat::Npy,
        };
        if session.dry_run {
            let text = simulate::plan_text(&settings, &self.output, format);
            let plan = json!({"settings": settings, "n_bytes": simulate::n_bytes(&settings)});
            return session.print(&text, &plan);
        }
        let written = session
            .with_context(|context| simulate::simulate(&settings, &self.output, format, context))?;
        let text = format!(
            "wrote {} series of {} in all (uncompressed) to {}, with truth.json\nnext: halotau run {}\n",
            written.series.len(),
            size_text(written.n_bytes),
            self.output.display(),
            written.recipe.display(),
        );
        session.print(&text, &written)
    }
}
