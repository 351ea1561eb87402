//! `halotau reduce`

use clap::Args;
use halotau_flow::{Result, run};
use serde_json::json;

use super::run::plan_text;
use crate::arguments::RecipeArguments;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau reduce recipe.toml --memory 4GiB
  halotau reduce recipe.toml && halotau analyze recipe.toml -s profile=paper";

/// Read every frame once and keep the counts on the annulus
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Reduce {
    #[command(flatten)]
    recipe: RecipeArguments,
}

impl Reduce {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        if session.dry_run {
            let plan = session.with_context(|context| run::plan(&loaded, context))?;
            return session.print(&plan_text(&plan), &plan);
        }
        let written = session.with_context(|context| run::reduce_all(&loaded, context))?;
        let mut text = String::new();
        for path in &written {
            text.push_str(&format!("wrote {}\n", path.display()));
        }
        session.print(&text, &json!({"reductions": written}))
    }
}
