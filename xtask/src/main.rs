//! Tasks of the project.
//!
//! ```text
//! cargo xtask test     everything that must hold before a change lands; this is what CI runs
//! cargo xtask check    the quick part: format, files, licenses, notation, warnings, clippy, unit tests
//! cargo xtask bench    the benchmark in bench/ and its Python twin
//! cargo xtask docs     the API documentation, warnings denied
//! ```
//!
//! A task is a list of steps. Each step is announced, and the first that fails ends the task with its name.
//! The cheap steps come first, so that a forgotten `cargo fmt` does not cost ten minutes.

use std::process::ExitCode;
use std::time::Instant;

use workspace::Workspace;

mod demo;
mod files;
mod license;
mod notation;
mod python;
mod warnings;
mod workspace;

/// How a step ended that did not fail.
enum Done {
    Passed,
    /// Left out, with the reason and its cure.
    Skipped(String),
}

/// What went wrong, for the person at the terminal.
type Failure = String;

struct Step {
    name: &'static str,
    run: fn(&Workspace) -> Result<Done, Failure>,
}

const FORMAT: Step = Step {
    name: "format",
    run: |workspace| workspace.cargo(&["fmt", "--all", "--check"]),
};
const FILES: Step = Step {
    name: "files",
    run: files::check,
};
const LICENSES: Step = Step {
    name: "licenses",
    run: license::check,
};
const NOTATION: Step = Step {
    name: "notation",
    run: notation::check,
};
const WARNINGS: Step = Step {
    name: "warnings",
    run: warnings::check,
};
const CLIPPY: Step = Step {
    name: "clippy",
    run: |workspace| {
        workspace.cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])
    },
};
const UNIT_TESTS: Step = Step {
    name: "unit tests",
    run: |workspace| workspace.cargo(&["test", "--workspace", "--lib", "--bins", "--locked"]),
};
// Plain `cargo test`: unit, integration and documentation tests of every crate.
const TESTS: Step = Step {
    name: "tests",
    run: |workspace| workspace.cargo(&["test", "--workspace", "--locked"]),
};
const DOCS: Step = Step {
    name: "documentation",
    run: |workspace| {
        workspace.run(
            workspace
                .command("cargo")
                .args(["doc", "--workspace", "--no-deps", "--locked"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    },
};
const PYTHON: Step = Step {
    name: "other programs (Python)",
    run: python::check,
};
const DEMO: Step = Step {
    name: "demo",
    run: demo::check,
};
// A workspace of its own, which the steps above do not see; the target folder is shared, so that dependencies are not built
// again.
const BENCH_CLIPPY: Step = Step {
    name: "clippy of the benchmark",
    run: |workspace| {
        workspace.run(
            workspace
                .command("cargo")
                .args(["clippy", "--locked", "--manifest-path", "bench/Cargo.toml"])
                .args(["--", "-D", "warnings"])
                .env("CARGO_TARGET_DIR", workspace.target()),
        )
    },
};
const BENCH: Step = Step {
    name: "benchmark",
    run: |workspace| bench(workspace, "halotau-bench"),
};
const BENCH_KERNELS: Step = Step {
    name: "benchmark of the kernels",
    run: |workspace| bench(workspace, "kernels"),
};
const BENCH_PIPELINE: Step = Step {
    name: "benchmark from the file to the answer",
    run: |workspace| bench(workspace, "pipeline"),
};
const BENCH_PIPELINE_PYTHON: Step = Step {
    name: "the same in Python",
    run: python::bench_pipeline,
};
const BENCH_READING: Step = Step {
    name: "benchmark of reading",
    run: |workspace| bench(workspace, "reading"),
};
const BENCH_FILES: Step = Step {
    name: "files of the benchmark",
    run: python::bench_files,
};
const BENCH_PYTHON: Step = Step {
    name: "benchmark in Python",
    run: python::bench,
};

fn bench(workspace: &Workspace, binary: &str) -> Result<Done, Failure> {
    workspace.cargo(&[
        "run",
        "--release",
        "--locked",
        "--manifest-path",
        "bench/Cargo.toml",
        "--bin",
        binary,
    ])
}

fn steps(task: &str) -> Option<&'static [Step]> {
    Some(match task {
        "test" => &[
            FORMAT,
            FILES,
            LICENSES,
            NOTATION,
            WARNINGS,
            CLIPPY,
            TESTS,
            DOCS,
            BENCH_CLIPPY,
            PYTHON,
            DEMO,
        ],
        "check" => &[
            FORMAT, FILES, LICENSES, NOTATION, WARNINGS, CLIPPY, UNIT_TESTS,
        ],
        "bench" => &[
            BENCH,
            BENCH_PYTHON,
            BENCH_KERNELS,
            BENCH_PIPELINE,
            BENCH_PIPELINE_PYTHON,
            BENCH_FILES,
            BENCH_READING,
        ],
        "docs" => &[DOCS],
        _ => return None,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task] = arguments.as_slice() else {
        eprintln!("usage: cargo xtask test | check | bench | docs");
        return ExitCode::from(2);
    };
    let Some(steps) = steps(task) else {
        eprintln!("unknown task `{task}`; there are test, check, bench and docs");
        return ExitCode::from(2);
    };
    let workspace = Workspace::find();
    match perform(&workspace, steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(workspace: &Workspace, steps: &[Step]) -> Result<(), Failure> {
    let start = Instant::now();
    let mut skipped = Vec::new();
    for (idx, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}", idx + 1, steps.len(), step.name);
        let step_start = Instant::now();
        let done = (step.run)(workspace)
            .map_err(|reason| format!("step `{}` failed: {reason}", step.name))?;
        match done {
            Done::Passed => println!(
                "=== {} passed in {} s",
                step.name,
                step_start.elapsed().as_secs()
            ),
            Done::Skipped(reason) => {
                println!("=== {} skipped: {reason}", step.name);
                skipped.push(step.name);
            }
        }
    }
    println!(
        "\n{} steps passed in {} s",
        steps.len() - skipped.len(),
        start.elapsed().as_secs()
    );
    if !skipped.is_empty() {
        println!("skipped: {}", skipped.join(", "));
    }
    Ok(())
}
