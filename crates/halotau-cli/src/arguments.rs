//! What can be typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use halotau_flow::memory;

use crate::commands::{
    analyze, bench, calibrate, check, completions, convert, demo, export, figure, init, inspect,
    plan, reduce, report, run, series, simulate,
};

/// Relaxation time and structural order of a glass from time series of 4D-STEM scans.
#[derive(Debug, Parser)]
#[command(name = "halotau", version, max_term_width = 110, before_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  halotau demo                        simulate the paper's experiment and analyze it
  halotau init 633K.h5 643K.h5 && halotau run recipe.toml";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Inspect(inspect::Inspect),
    Convert(convert::Convert),
    Init(init::Init),
    Calibrate(calibrate::Calibrate),
    Check(check::Check),
    Run(run::Run),
    Reduce(reduce::Reduce),
    Analyze(analyze::Analyze),
    Series(series::Series),
    Figure(figure::Figure),
    Report(report::Report),
    Export(export::Export),
    Simulate(simulate::Simulate),
    Bench(bench::Bench),
    Plan(plan::Plan),
    Completions(completions::Completions),
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flags of every command")]
pub(crate) struct Global {
    /// Print one JSON object instead of text, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say what would be done, how much memory and disk it needs, and write nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Threads to use; all that the process may use if absent
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Memory to plan with, such as 4GiB; if absent, below 1 GiB wherever that is enough
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Discard what an earlier run left instead of going on with it
    #[arg(long, global = true)]
    pub(crate) restart: bool,
    /// Where the disk fails to read a part of the data, do the rest before failing (exit code 74)
    #[arg(long, global = true)]
    pub(crate) keep_going: bool,
    /// Fail (exit code 10) if more than half of the positions have no usable result
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// No progress and no notes; warnings and errors stay
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say which limits the work has, and the causes of an error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Color the words for people
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// A recipe and what overrides it.
#[derive(Debug, Args)]
pub(crate) struct RecipeArguments {
    /// Recipe file, or a result folder to repeat
    pub(crate) recipe: std::path::PathBuf,
    /// Override a key of the recipe, such as -s pattern.bin=2 (repeatable)
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Folder of the results, instead of output.folder of the recipe
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: Option<std::path::PathBuf>,
}

/// Whether to work while the data are still recorded.
#[derive(Debug, Args)]
pub(crate) struct FollowArguments {
    /// Follow a file or folder that still grows: maps of the scans so far in live.csv, all else when the record has ended
    #[arg(long)]
    pub(crate) follow: bool,
    /// Take the record as ended after so many seconds without a new scan
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds, requires = "follow")]
    pub(crate) follow_idle: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds.is_finite() => Ok(seconds),
        _ => Err("must be a number of seconds above 0".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("must be a whole number from 1".to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    memory::parse_size(text).ok_or_else(|| "write a size such as 4GiB, 500MB or 8G".to_owned())
}
