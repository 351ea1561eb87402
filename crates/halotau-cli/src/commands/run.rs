//! `halotau run`

use clap::Args;
use halotau_flow::Result;
use halotau_flow::memory::size_text;
use halotau_flow::results::Summary;
use halotau_flow::run::{self, Plan, RunOutcome};

use crate::arguments::{FollowArguments, RecipeArguments};
use crate::progress::duration;
use crate::session::Session;
use crate::study_text::study_text;

const EXAMPLES: &str = "\
Examples:
  halotau run recipe.toml --dry-run
  halotau run recipe.toml -s profile=paper -o paper-results
  halotau run recipe.toml --follow --follow-idle 60        # while the microscope records";

/// Reduce, analyze, draw and report: all temperatures of a recipe
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    recipe: RecipeArguments,
    #[command(flatten)]
    follow: FollowArguments,
}

impl Run {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        if session.dry_run {
            let plan = session.plan(&loaded)?;
            return session.print(&plan_text(&plan), &plan);
        }
        let loaded = session.follow(loaded, &self.follow)?;
        let outcome = session.with_context(|context| run::run(&loaded, context))?;
        print_outcome(session, &outcome)
    }
}

/// Prints the numbers of a run and where the rest is.
pub(crate) fn print_outcome(session: &Session, outcome: &RunOutcome) -> Result<()> {
    let text = format!(
        "{}wrote {}\n",
        study_text(&outcome.study),
        outcome.report.display()
    );
    session.print(
        &text,
        &Summary::of(&outcome.study, &outcome.comparison, &outcome.records),
    )
}

/// What a run would do, for people.
pub(crate) fn plan_text(plan: &Plan) -> String {
    let mut text = format!(
        "plan  read {} in about {}, as fast as a part of it was read now · {} of memory at most · results in {}\n",
        size_text(plan.read_bytes),
        duration(plan.pass_s),
        size_text(plan.memory_bytes),
        plan.folder.display()
    );
    for series in &plan.series {
        let [row, col] = series.center;
        text.push_str(&format!(
            "  {} · {} · {} positions · {} pixels kept · {} shards · center ({row:.2}, {col:.2})\n",
            series.name, series.shape, series.n_positions, series.n_annulus_pixels, series.n_shards
        ));
        for warning in &series.warnings {
            text.push_str(&format!("    {} {}\n", warning.code, warning.text));
        }
    }
    text.push_str("nothing written (dry run)\n");
    text
}
