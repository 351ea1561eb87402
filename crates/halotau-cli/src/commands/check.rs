//! `halotau check`

use clap::Args;
use halotau_flow::inspect::inspect;
use halotau_flow::recipe_file::to_toml;
use halotau_flow::{OpenRequest, Result};
use serde_json::json;

use crate::arguments::RecipeArguments;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau check recipe.toml
  halotau check recipe.toml -s profile=paper -v";

/// Check a recipe: every key, every value, and that its data can be opened
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Check {
    #[command(flatten)]
    recipe: RecipeArguments,
}

impl Check {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        let recipe = &loaded.recipe;
        let mut text = String::new();
        let mut found = Vec::new();
        for block in loaded.require_data()? {
            let request = OpenRequest::from_block(block, &loaded.folder);
            let series = inspect(&request, recipe.microscope.probe_current_pa)?;
            text.push_str(&format!("ok {}   {}\n", series.path, series.shape));
            found.push(series);
        }
        if session.verbose {
            text.push_str(&format!("\n{}", to_toml(recipe)));
        }
        session.print(
            &text,
            &json!({"recipe": recipe, "data": found, "warnings": loaded.warnings}),
        )
    }
}
