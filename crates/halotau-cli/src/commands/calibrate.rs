//! `halotau calibrate`

use clap::Args;
use halotau_flow::calibrate::{self, Calibrated};
use halotau_flow::{Result, recipe_file};

use crate::arguments::RecipeArguments;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  halotau calibrate recipe.toml
  halotau calibrate recipe.toml --write && halotau run recipe.toml";

/// Measure what the microscope did: beam stop, bad pixels, geometry, drift, bad scans
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(crate) struct Calibrate {
    #[command(flatten)]
    recipe: RecipeArguments,
    /// Write calibration-TEMPERATURE.toml and its mask beside the recipe, and name them in it
    #[arg(long)]
    write: bool,
    /// Look at a sample of the frames only: no drift, no current, no bad scans
    #[arg(long)]
    sample: bool,
}

impl Calibrate {
    pub(crate) fn run(&self, session: &Session) -> Result<()> {
        let loaded = session.load(&self.recipe)?;
        let folder = self.recipe.output.clone().map_or_else(
            || loaded.folder.clone(),
            |folder| std::path::absolute(&folder).unwrap_or(folder),
        );
        let (mut text, mut records) = (String::new(), Vec::new());
        let mut done: Vec<Calibrated> = Vec::new();
        for block in loaded.require_data()? {
            let failed = folder.join("calibration-pictures");
            let pictures = (!session.dry_run).then_some(failed.as_path());
            let mut calibrated = session
                .with_context(|context| calibrate::calibrate(&loaded, block, pictures, context))
                .map_err(|error| loaded.locate(error))?;
            let pictures = folder.join(calibrate::stem(&calibrated));
            if !self.sample && !session.dry_run {
                session
                    .with_context(|context| {
                        calibrate::look_at_every_frame(
                            &loaded,
                            block,
                            &mut calibrated,
                            &pictures,
                            &failed,
                            context,
                        )
                    })
                    .map_err(|error| loaded.locate(error))?;
            }
            calibrated
                .warnings
                .iter()
                .for_each(|warning| session.warn(warning));
            text.push_str(&calibrated.record.to_string());
            text.push_str(&calibrated.conditions_text);
            if !session.dry_run {
                session.with_context(|context| {
                    calibrate::draw_pictures(&calibrated, &loaded.recipe, &pictures, context)
                })?;
                text.push_str(&format!("  pictures    {}\n", pictures.display()));
            }
            records.push(calibrated.record.clone());
            done.push(calibrated);
        }
        // Nothing is written unless all series could be calibrated.
        if self.write && !session.dry_run {
            let recipe = recipe_file::path_of(&self.recipe.recipe);
            for (idx, calibrated) in done.iter().enumerate() {
                let written = calibrate::write(calibrated, &recipe, idx, &folder)?;
                text.push_str(&format!("wrote {}\n", written.file.display()));
                if !written.linked {
                    let file = written.file.display();
                    text.push_str(&format!(
                        "  add calibration = \"{file}\" to its [[data]] block\n"
                    ));
                }
            }
        }
        session.print(&text, &records)
    }
}
