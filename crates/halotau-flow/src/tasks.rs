//! How do many processes, on one computer or many, make the reductions of a recipe together?
//!
//! ```text
//! begin ─▶ task 1/n · task 2/n · … · task n/n ─▶ finish
//! ```
//!
//! [`begin`] does once what all tasks share: it calibrates, begins the reductions and keeps the calibration beside them, bit for
//! bit. Each [`reduce_task`] does its part of all shards; killed or repeated, it goes on where it was. [`finish`] takes their work
//! together. The bytes are those of one process that did everything.

use std::path::{Path, PathBuf};

use halotau::calibrate::Calibration;
use halotau::recipe::DataBlock;
use halotau::reduce::{Shard, Totals};
use halotau_io::reduction_folder::Task;
use serde::Serialize;

use crate::calibrate;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::prepare::{Prepared, prepare, prepare_with};
use crate::recipe_file::Loaded;
use crate::reduce::{Pass, REDUCTION};
use crate::results;
use crate::run::{block_folders, output_folder};

/// The folder beside a reduction in which its calibration waits for the tasks.
const KEPT: &str = "tasks";
const CALIBRATION: &str = "calibration.json";
const VALID: &str = "detector_valid.npy";

/// What was begun.
#[derive(Debug, Clone, Serialize)]
pub struct Begun {
    /// The reductions.
    pub reductions: Vec<PathBuf>,
    /// Shards of all of them.
    pub n_shards: usize,
}

/// What a task did.
#[derive(Debug, Clone, Serialize)]
pub struct TaskDone {
    /// Shards that it had to do.
    pub n_shards: usize,
    /// Shards that were not there already.
    pub n_reduced: usize,
}

/// Calibrates each series and begins its reduction.
///
/// # Errors
///
/// What is wrong with recipe, data or output folder.
pub fn begin(loaded: &Loaded, context: &Context<'_>) -> Result<Begun> {
    let mut begun = Begun {
        reductions: Vec::new(),
        n_shards: 0,
    };
    for (block, folder) in loaded.require_data()?.iter().zip(block_folders(loaded)?) {
        results::create_folder(&folder)?;
        let pictures = folder.join(results::FIGURES);
        let prepared = prepare(loaded, block, Some(&pictures), context)
            .map_err(|error| loaded.locate(error))?;
        let warnings = &prepared.warnings;
        warnings.iter().for_each(|warning| context.warn(warning));
        let calibration = prepared.plan.calibration().clone();
        let pass = Pass::new(loaded, block, prepared, context)?;
        let path = folder.join(REDUCTION);
        // What is kept must fit what was begun, so it is kept only after an earlier one with other parameters was refused.
        drop(pass.writer(&path, context)?);
        keep(&folder.join(KEPT), &calibration)?;
        let calibrated = pass.prepared.calibrated.as_deref();
        results::write_record(&folder, calibrated.map(|calibrated| &calibrated.record))?;
        if let Some(calibrated) = calibrated {
            calibrate::draw_pictures(calibrated, &loaded.recipe, &pictures, context)?;
        }
        results::write_recipe(&folder, &pass.recipe)?;
        begun.n_shards += pass.prepared.plan.shards().len();
        begun.reductions.push(path);
    }
    if begun.reductions.len() > 1 {
        results::write_recipe(&output_folder(loaded), &loaded.recipe)?;
    }
    Ok(begun)
}

/// Does the shards of one task, of all series together.
///
/// # Errors
///
/// As [`begin`]; where nothing was begun; [`Error::Locked`] while another process does the same task.
pub fn reduce_task(loaded: &Loaded, task: Task, context: &Context<'_>) -> Result<TaskDone> {
    let mut passes = Vec::new();
    for (block, folder) in loaded.require_data()?.iter().zip(block_folders(loaded)?) {
        let prepared = prepare_as_begun(loaded, block, &folder)?;
        passes.push((folder, Pass::new(loaded, block, prepared, context)?));
    }
    let shards: Vec<(usize, Shard)> = passes
        .iter()
        .enumerate()
        .flat_map(|(idx, (_, pass))| {
            let shards = pass.prepared.plan.shards().into_iter();
            shards.map(move |shard| (idx, shard))
        })
        .collect();
    let share = &shards[task.share(shards.len())];
    let mut n_reduced = 0;
    for (idx, (folder, pass)) in passes.iter().enumerate() {
        let own: Vec<Shard> = share
            .iter()
            .filter(|(of, _)| *of == idx)
            .map(|(_, shard)| *shard)
            .collect();
        if !own.is_empty() {
            n_reduced += pass.join(&folder.join(REDUCTION), task, &own, context)?;
        }
    }
    Ok(TaskDone {
        n_shards: share.len(),
        n_reduced,
    })
}

/// Completes the reductions after all tasks.
///
/// # Errors
///
/// [`halotau_io::Error::Incomplete`] while shards are missing, [`Error::Locked`] while tasks are at work.
pub fn finish(loaded: &Loaded, context: &Context<'_>) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (block, folder) in loaded.require_data()?.iter().zip(block_folders(loaded)?) {
        let prepared = prepare_as_begun(loaded, block, &folder)?;
        let pass = Pass::new(loaded, block, prepared, context)?;
        let path = folder.join(REDUCTION);
        let writer = pass.writer(&path, context)?;
        if !writer.is_complete() {
            let plan = pass.prepared.plan;
            let shards = plan.shards();
            let n_done = writer.n_done();
            if n_done < shards.len() {
                return Err(Error::Io(halotau_io::Error::Incomplete {
                    path,
                    done: n_done,
                    total: shards.len(),
                }));
            }
            let mut totals = Totals::new(&plan);
            for shard in &shards {
                totals.add(&writer.read_sums(shard.index)?)?;
            }
            writer.finish(&plan.finish(totals)?)?;
        }
        written.push(path);
    }
    Ok(written)
}

/// A script for `sbatch` that does all tasks of a command as an array of jobs: `command --task 1/n` and so on.
///
/// Each word of the command is quoted for the shell. What a job gets of processors and memory stands in the first lines, to be
/// edited; the command keeps to what the job has.
pub fn slurm_script(command: &[String], n_tasks: usize) -> String {
    let command = shell(command);
    format!(
        "#!/bin/sh\n\
         #SBATCH --job-name=halotau\n\
         #SBATCH --array=1-{n_tasks}\n\
         #SBATCH --cpus-per-task=4\n\
         #SBATCH --mem=8G\n\
         #SBATCH --output=reduce-%a.log\n\
         # Submit this, and what completes the reduction when all tasks have ended well:\n\
         #   job=$(sbatch --parsable reduce.sbatch)\n\
         #   sbatch --dependency=afterok:$job --wrap={finish}\n\
         # A task that failed is repeated with: sbatch --array=NUMBER reduce.sbatch\n\
         {command} --task \"$SLURM_ARRAY_TASK_ID/{n_tasks}\"\n",
        finish = shell(&[format!("{command} --finish")]),
    )
}

/// Words as the shell reads them back, whatever they hold.
fn shell(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+,:@%".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Keeps a calibration so that it comes back bit for bit.
fn keep(folder: &Path, calibration: &Calibration) -> Result<()> {
    results::create_folder(folder)?;
    let valid = calibration.pixel_valid.mapv(u8::from);
    halotau_io::write_pattern(&folder.join(VALID), &valid)?;
    let json = serde_json::to_vec_pretty(calibration).expect("numbers and words always serialize");
    results::write_file(&folder.join(CALIBRATION), &json)
}

/// Prepares a series with the calibration that was kept when its reduction was begun.
fn prepare_as_begun(loaded: &Loaded, block: &DataBlock, folder: &Path) -> Result<Prepared> {
    let path = folder.join(KEPT).join(CALIBRATION);
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            "--task and --finish",
            format!(
                "nothing was begun in {}; run this command with --tasks N first",
                folder.display()
            ),
        ),
        _ => Error::read(&path, source),
    })?;
    let mut calibration: Calibration =
        serde_json::from_slice(&bytes).map_err(|error| Error::Content {
            path: path.clone(),
            problem: format!("{error}; begin again with --tasks N --restart"),
        })?;
    let valid = halotau_io::read_pattern(&folder.join(KEPT).join(VALID))?;
    calibration.pixel_valid = valid.mapv(|valid| valid != 0.0);
    prepare_with(loaded, block, calibration).map_err(|error| loaded.locate(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_reads_every_word_back() {
        let words = [
            "halotau",
            "it's here/recipe.toml",
            "-s",
            "title=\"a $b\"",
            "",
        ];
        let script = slurm_script(&words.map(str::to_owned), 12);
        assert!(script.contains("#SBATCH --array=1-12\n"));
        let last = script.lines().last().unwrap_or_default();
        assert_eq!(
            last,
            r#"halotau 'it'\''s here/recipe.toml' -s 'title="a $b"' '' --task "$SLURM_ARRAY_TASK_ID/12""#
        );
    }
}
