//! Draws every figure and the report from fabricated results into a folder, to be looked at.
//!
//! ```text
//! cargo run -p halotau-figure --example gallery -- FOLDER
//! ```

#[path = "../tests/figures/dynamics.rs"]
mod dynamics;
#[path = "../tests/figures/fabricate.rs"]
mod fabricate;

use std::error::Error;
use std::path::Path;

use halotau::analysis::Study;
use halotau_figure::{png, report};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let five = [633.0, 643.0, 653.0, 663.0, 673.0];
    draw(folder, "square", &fabricate::study(&five, 40, 40, 106))?;
    draw(folder, "wide", &fabricate::study(&five, 60, 120, 40))?;
    draw(folder, "single", &fabricate::study(&[633.0], 16, 16, 106))?;
    draw(
        folder,
        "two",
        &fabricate::study(&[633.0, 673.0], 24, 24, 30),
    )?;
    draw(
        folder,
        "line",
        &fabricate::study(&[633.0, 653.0, 673.0], 1, 60, 30),
    )?;
    Ok(())
}

fn draw(folder: &Path, name: &str, study: &Study) -> Result<(), Box<dyn Error>> {
    let input = fabricate::report_input(study);
    let report = report::html(&input);
    std::fs::write(folder.join(format!("{name}-report.html")), report)?;
    for figure in &input.figures {
        let stem = folder.join(format!("{name}-{}", figure.id));
        std::fs::write(stem.with_extension("svg"), figure.svg.to_xml())?;
        std::fs::write(stem.with_extension("png"), png(&figure.svg, 200.0)?)?;
    }
    Ok(())
}
