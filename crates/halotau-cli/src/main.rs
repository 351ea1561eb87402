//! The `halotau` command: parses, calls one function of the workflow, prints.
//!
//! Results go to stdout, words for people to stderr. The exit code is 0 only if everything asked for is complete;
//! `docs/errors.md` lists the others.

use std::panic;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::Arguments;
use crate::session::Session;

mod arguments;
mod commands;
mod layout;
mod problem;
mod progress;
mod session;
mod signals;
mod study_text;

/// An error of the program itself, after `sysexits.h`.
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    panic::set_hook(Box::new(move |panic| {
        problem::print_panic(panic, wants_json)
    }));
    signals::install();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, wants_json),
    };
    let done = panic::catch_unwind(|| {
        let session = Session::new(&arguments.global);
        let result = commands::run(&arguments.command, &session);
        result.map_err(|error| {
            problem::print(&error, &session);
            ExitCode::from(error.exit_code())
        })
    });
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(code)) => code,
        // The hook has said what happened.
        Err(_) => ExitCode::from(INTERNAL),
    }
}

/// Help and version are no errors; everything else that clap reports is 2.
fn usage(error: &clap::Error, wants_json: bool) -> ExitCode {
    let is_asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if wants_json && !is_asked_for {
        problem::print_usage(error);
    } else {
        // A closed pipe is no reason to complain.
        let _ = error.print();
    }
    ExitCode::from(if is_asked_for { 0 } else { 2 })
}
