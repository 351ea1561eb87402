//! One file a subcommand: what it takes, and the one function of the workflow that it calls.

use halotau_flow::Result;

use crate::arguments::Command;
use crate::session::Session;

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod simulate;

/// Does what was asked for.
pub(crate) fn run(command: &Command, session: &Session) -> Result<()> {
    match command {
        Command::Inspect(inspect) => inspect.run(session),
        Command::Init(init) => init.run(session),
        Command::Check(check) => check.run(session),
        Command::Simulate(simulate) => simulate.run(session),
        Command::Completions(completions) => completions.run(),
    }
}
