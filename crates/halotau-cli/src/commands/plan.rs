//! `halotau plan`

use std::path::PathBuf;

use clap::Args;
use halotau_flow::Result;
use halotau_flow::plan;

use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau plan
  halotau plan plan.toml -s step_nm=0.3 -s glass.tau_median_s=500
  halotau plan --from results/633K -s n_times=212";

/// Say before the experiment how good it will be, and what to change first
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Plan {
    /// Settings of the experiment; the paper's if absent
    settings: Option<PathBuf>,
    /// Take what is known from a recipe or from results; what is given wins
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Override a setting, such as -s glass.spearman=0.3 (repeatable)
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print the settings as a file to edit, and predict nothing
    #[arg(long)]
    settings_only: bool,
}

impl Plan {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let planned = plan::load_settings(
            self.settings.as_deref(),
            self.from.as_deref(),
            &self.overrides,
        )?;
        if self.settings_only {
            let text = plan::to_toml(&planned.settings);
            return session.print(&text, &planned.settings);
        }
        let predicted = plan::predict(planned)?;
        session.print(&predicted.text(), &predicted)
    }
}
