//! What does the `.emi` file beside a series know?
//!
//! It is the display document of the program, binary and not described anywhere, with one piece of XML for each object:
//!
//! ```text
//! NAME.emi: ... <ObjectInfo> ... </ObjectInfo> ...      NAME_1.ser, NAME_2.ser: one series an object
//! ```

use std::path::{Path, PathBuf};

use halotau::series::{SeriesHeader, Stated};

use crate::error::Result;
use crate::formats::Probe;
use crate::positioned::PositionedFile;

/// Longer documents hold images, and are not searched.
const MOST_BYTES: u64 = 16 << 20;
/// Nodes of a piece of XML; a real one has some hundreds.
const MOST_NODES: u32 = 100_000;

/// The first series of a document, where a file is one.
pub(super) fn series_of(probe: &Probe<'_>) -> Option<PathBuf> {
    let is_document = probe
        .path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("emi"));
    let stem = probe.path.file_stem()?.to_str()?;
    let series = probe.path.with_file_name(format!("{stem}_1.ser"));
    (is_document && series.is_file()).then_some(series)
}

/// Name of the document of a series, and the series' number in it: `NAME_2.ser` gives `NAME` and 2.
fn document_of(path: &Path) -> Option<(PathBuf, usize)> {
    let (name, number) = path.file_stem()?.to_str()?.rsplit_once('_')?;
    let number = number.parse().ok().filter(|&number| number > 0)?;
    Some((path.with_file_name(format!("{name}.emi")), number))
}

/// Fills in what the document of a series states, if it is there and can be read.
pub(super) fn describe(path: &Path, header: &mut SeriesHeader) -> Result<()> {
    let Some((document, number)) = document_of(path).filter(|(document, _)| document.is_file())
    else {
        return Ok(());
    };
    let file = PositionedFile::open(&document)?;
    if file.len() > MOST_BYTES {
        return Ok(());
    }
    let bytes = file.start(file.len() as usize)?;
    let text = String::from_utf8_lossy(&bytes);
    let objects: Vec<&str> = text
        .match_indices("<ObjectInfo>")
        .filter_map(|(start, _)| {
            let rest = &text[start..];
            let end = rest.find("</ObjectInfo>")? + "</ObjectInfo>".len();
            Some(&rest[..end])
        })
        .take(number)
        .collect();
    let Some(object) = objects.get(number - 1).or_else(|| objects.first()) else {
        return Ok(());
    };
    let options = roxmltree::ParsingOptions {
        nodes_limit: MOST_NODES,
        ..Default::default()
    };
    // A document that cannot be understood costs two numbers of metadata, no sample.
    let Ok(object) = roxmltree::Document::parse_with_options(object, options) else {
        return Ok(());
    };
    let number = |name: &str| {
        let node = object.descendants().find(|node| node.has_tag_name(name))?;
        let value: f64 = node.text()?.trim().parse().ok()?;
        (value.is_finite() && value > 0.0).then_some(value)
    };
    header.voltage_kv = number("AcceleratingVoltage")
        .map(|volts| Stated::new(volts / 1e3, "AcceleratingVoltage of the .emi file"));
    header.dwell_ms = number("DwellTimePath")
        .map(|seconds| Stated::new(seconds * 1e3, "DwellTimePath of the .emi file"));
    Ok(())
}
