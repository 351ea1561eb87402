//! One file a subcommand: what it takes, and the one function of the workflow that it calls.

use halotau_flow::Result;

use crate::arguments::Command;
use crate::session::Session;

pub(crate) mod analyze;
pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod figure;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod plan;
pub(crate) mod reduce;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod series;
pub(crate) mod simulate;

/// Does what was asked for.
pub(crate) fn run(command: &Command, session: &Session) -> Result<()> {
    match command {
        Command::Demo(demo) => demo.run(session),
        Command::Inspect(inspect) => inspect.run(session),
        Command::Convert(convert) => convert.run(session),
        Command::Init(init) => init.run(session),
        Command::Calibrate(calibrate) => calibrate.run(session),
        Command::Check(check) => check.run(session),
        Command::Run(run) => run.run(session),
        Command::Reduce(reduce) => reduce.run(session),
        Command::Analyze(analyze) => analyze.run(session),
        Command::Series(series) => series.run(session),
        Command::Figure(figure) => figure.run(session),
        Command::Report(report) => report.run(session),
        Command::Export(export) => export.run(session),
        Command::Simulate(simulate) => simulate.run(session),
        Command::Bench(bench) => bench.run(session),
        Command::Plan(plan) => plan.run(session),
        Command::Completions(completions) => completions.run(),
    }
}
