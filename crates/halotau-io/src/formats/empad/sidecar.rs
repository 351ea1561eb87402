//! What does the XML beside a recording of the EMPAD state?
//!
//! The real size of a scan can be in `pix_x`, in the block `scan_parameters` of mode `acquire` or (where the search mode was
//! recorded) `search`, or only in the name of the `.raw` file; which, the length of that file tells.

use std::path::{Path, PathBuf};

use halotau::series::{SeriesHeader, Stated};
use roxmltree::{Document, Node, ParsingOptions};

use super::FORMAT;
use crate::clock::unix_ns_of_seconds;
use crate::error::{Error, Result};
use crate::file_names::files_beside;
use crate::formats::Probe;
use crate::positioned::PositionedFile;

/// A real sidecar has 4 kB; longer XML is of something else.
const MOST_BYTES: u64 = 1 << 20;
/// Nodes of the XML; a real one has some hundreds.
const MOST_NODES: u32 = 100_000;
/// XML files beside a .raw file that are looked into. One folder holds one acquisition.
const MOST_SIDECARS: usize = 64;

/// A size that is stated for the scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanSize {
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    /// Whether these are patterns of one position, one after another.
    pub(super) is_series: bool,
    /// In words: "pix_x and pix_y of the XML".
    pub(super) origin: String,
}

impl ScanSize {
    fn new(n_rows: usize, n_cols: usize, origin: &str) -> Option<Self> {
        (n_rows > 0 && n_cols > 0 && n_rows.checked_mul(n_cols).is_some()).then(|| Self {
            n_rows,
            n_cols,
            is_series: false,
            origin: origin.to_owned(),
        })
    }

    pub(super) fn n_frames(&self) -> u64 {
        // The constructor checked the product.
        (self.n_rows * self.n_cols) as u64
    }

    /// Whether a file of so many frames holds the scan once or several times.
    pub(super) fn fits(&self, n_frames: u64) -> bool {
        n_frames.is_multiple_of(self.n_frames()) && n_frames > 0
    }
}

/// What a sidecar states.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    raw_name: Option<String>,
    /// In the order in which they are tried.
    pub(super) sizes: Vec<ScanSize>,
    exposure_ms: Option<f64>,
    start_s: Option<f64>,
    voltage_v: Option<f64>,
    field_of_view_m: Option<f64>,
}

/// Whether a file is XML that names a .raw file.
pub(super) fn is_sidecar(probe: &Probe<'_>) -> bool {
    let start = probe.start.trim_ascii_start();
    let is_xml = start.starts_with(b"<?xml") || start.starts_with(b"<root");
    is_xml && Sidecar::read(probe.path).is_ok_and(|sidecar| sidecar.raw_name.is_some())
}

/// The sidecar of a .raw file, among the XML files beside it.
pub(super) fn of_raw(raw: &Path) -> Option<PathBuf> {
    let name = raw.file_name()?.to_str()?;
    let mut sidecars = files_beside(raw, |name| name.to_lowercase().ends_with(".xml"));
    sidecars.truncate(MOST_SIDECARS);
    sidecars.into_iter().find(|path| {
        Sidecar::read(path).is_ok_and(|sidecar| sidecar.raw_name.as_deref() == Some(name))
    })
}

/// The size that a name such as `scan_x128_y64.raw` states.
pub(super) fn size_in_name(raw: &Path) -> Option<ScanSize> {
    let stem = raw.file_stem()?.to_str()?;
    let after = |mark: &str| {
        let (_, rest) = stem.rsplit_once(mark)?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    ScanSize::new(after("_y")?, after("_x")?, "name of the .raw file")
}

impl Sidecar {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bad = |problem: String| Error::BadContainer {
            path: path.to_owned(),
            format: FORMAT.name,
            problem,
        };
        let file = PositionedFile::open(path)?;
        if file.len() > MOST_BYTES {
            return Err(bad(format!(
                "an XML file of {} bytes is no sidecar",
                file.len()
            )));
        }
        let bytes = file.start(file.len() as usize)?;
        let text = String::from_utf8_lossy(&bytes);
        let options = ParsingOptions {
            nodes_limit: MOST_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(&text, options)
            .map_err(|e| bad(format!("the XML cannot be understood: {e}")))?;
        Ok(Self::of(document.root_element()))
    }

    fn of(root: Node<'_, '_>) -> Self {
        let text = |name: &str| {
            let node = root.descendants().find(|node| node.has_tag_name(name))?;
            node.text().map(str::trim)
        };
        let number = |name: &str| {
            let value: f64 = text(name)?.parse().ok()?;
            value.is_finite().then_some(value)
        };
        let count = |node: Node<'_, '_>, name: &str| -> Option<usize> {
            let node = node.descendants().find(|node| node.has_tag_name(name))?;
            node.text()?.trim().parse().ok()
        };
        let block = |mode: &str| {
            root.descendants().find(|node| {
                node.has_tag_name("scan_parameters") && node.attribute("mode") == Some(mode)
            })
        };
        let mut sizes = Vec::new();
        if let Some(n) = count(root, "series_count").or_else(|| count(root, "count"))
            && text("type") == Some("series")
        {
            sizes.extend(
                ScanSize::new(1, n, "number of the series in the XML").map(|size| ScanSize {
                    is_series: true,
                    ..size
                }),
            );
        }
        let pix = count(root, "pix_y").zip(count(root, "pix_x"));
        sizes.extend(pix.and_then(|(y, x)| ScanSize::new(y, x, "pix_x and pix_y of the XML")));
        for (mode, origin) in [
            ("acquire", "scan_resolution of the acquisition in the XML"),
            ("search", "scan_resolution of the search in the XML"),
        ] {
            let size = block(mode).and_then(|block| {
                count(block, "scan_resolution_y").zip(count(block, "scan_resolution_x"))
            });
            sizes.extend(size.and_then(|(y, x)| ScanSize::new(y, x, origin)));
        }
        let attribute = |name: &str, key: &str| {
            let node = root.descendants().find(|node| node.has_tag_name(name))?;
            node.attribute(key)
        };
        // The path is that of the computer that recorded; only the name is of use.
        let raw_name = attribute("raw_file", "filename")
            .map(|path| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned())
            .filter(|name| !name.is_empty() && name != "." && name != "..");
        Self {
            raw_name,
            sizes,
            exposure_ms: number("exposure_time").filter(|&ms| ms > 0.0),
            start_s: attribute("timestamp", "timestamp").and_then(|text| text.parse().ok()),
            voltage_v: number("source.get_voltage").filter(|&volts| volts > 0.0),
            field_of_view_m: text("optics.get_full_scan_field_of_view").and_then(first_of_list),
        }
    }

    /// The .raw file beside the sidecar.
    pub(super) fn raw_file(&self, sidecar: &Path) -> Result<PathBuf> {
        let named = self
            .raw_name
            .as_ref()
            .map(|name| sidecar.with_file_name(name));
        let renamed = sidecar.with_extension("raw");
        match named {
            Some(path) if path.is_file() => Ok(path),
            _ if renamed.is_file() => Ok(renamed),
            _ => Err(Error::BadContainer {
                path: sidecar.to_owned(),
                format: FORMAT.name,
                problem: format!(
                    "the file with the frames, {}, is not beside it",
                    self.raw_name.as_deref().unwrap_or("which it does not name")
                ),
            }),
        }
    }

    /// Fills in what does not depend on the size of the scan.
    pub(super) fn describe(&self, header: &mut SeriesHeader) {
        header.dwell_ms = self
            .exposure_ms
            .map(|ms| Stated::new(ms, "exposure_time of the XML"));
        header.voltage_kv = self
            .voltage_v
            .map(|volts| Stated::new(volts / 1e3, "source.get_voltage of the XML"));
        header.start_unix_ns = self.start_s.and_then(unix_ns_of_seconds);
    }

    /// The step of a scan of a size over the field of view.
    pub(super) fn describe_step(&self, size: &ScanSize, header: &mut SeriesHeader) {
        let step_nm = self
            .field_of_view_m
            .map(|meters| meters * 1e9 / size.n_cols as f64)
            .filter(|step| step.is_finite() && *step > 0.0 && !size.is_series);
        header.step_nm = step_nm.map(|step| {
            Stated::new(
                step,
                "full field of view of the XML over the columns (scan_size not applied)",
            )
        });
    }
}

/// The first number of `[4.5e-06, 4.5e-06]`.
fn first_of_list(text: &str) -> Option<f64> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split(',').next()?.trim().parse().ok()
}
