//! `halotau analyze`

use clap::Args;
use halotau_flow::{Result, run};
use serde_json::json;

use super::run::print_outcome;
use crate::arguments::RecipeArguments;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau analyze recipe.toml
  halotau analyze halotau-results -s relaxation.baseline=free";

/// Analyze reductions that are there, without reading the raw data
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Analyze {
    #[command(flatten)]
    recipe: RecipeArguments,
}

impl Analyze {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        if session.dry_run {
            let folder = run::output_folder(&loaded);
            let text = format!("analyze the reductions in {}\n", folder.display());
            return session.print(&text, &json!({"folder": folder, "recipe": loaded.recipe}));
        }
        let outcome = session.with_context(|context| run::analyze_again(&loaded, context))?;
        print_outcome(session, &outcome)
    }
}
