//! `halotau init`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use halotau::recipe::Profile;
use halotau_flow::init::{self, FirstRecipe};
use halotau_flow::{OpenRequest, Result};
use serde_json::json;

use crate::layout::Layout;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau init 633K.h5 643K.h5 653K.h5
  halotau init scans_633K/ --profile paper -o zrcual.toml";

/// Write a commented recipe from files, one a temperature
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Init {
    /// Files, Zarr folders, or folders of one-scan files, one a temperature
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    layout: Layout,
    /// Whose choices the defaults are
    #[arg(long, value_enum, default_value = "recommended")]
    profile: ProfileName,
    /// Recipe to write; - for stdout
    #[arg(short, long, value_name = "FILE", default_value = "recipe.toml")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    Paper,
    Recommended,
}

impl Init {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let requests: Vec<OpenRequest> = self
            .paths
            .iter()
            .map(|path| self.layout.request(path))
            .collect();
        let profile = match self.profile {
            ProfileName::Paper => Profile::Paper,
            ProfileName::Recommended => Profile::Recommended,
        };
        let first = init::init(&requests, profile, &init::folder_of(&self.output)?)?;
        for warning in &first.warnings {
            session.warn(warning);
        }
        if session.dry_run || self.output == Path::new("-") {
            return session.print(&first.text, &first);
        }
        init::write(&self.output, &first.text, session.restart)?;
        let value =
            json!({"recipe": self.output, "unfilled": first.unfilled, "warnings": first.warnings});
        session.print(&self.report(&first), &value)
    }

    fn report(&self, first: &FirstRecipe) -> String {
        let path = self.output.display();
        let mut text = format!("wrote {path}\n");
        for missing in &first.unfilled {
            text.push_str(&format!("  fill in {:<24} {}\n", missing.key, missing.hint));
        }
        text.push_str(&format!(
            "next: look through it, then halotau run {path} --dry-run\n"
        ));
        text
    }
}
