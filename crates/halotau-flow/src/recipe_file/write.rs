//! A recipe as commented text.

use std::fmt::Write;

use halotau::recipe::Recipe;
use toml::{Table, Value};

/// One key: (section, key, example where it is absent, comment).
type Line = (&'static str, &'static str, &'static str, &'static str);

/// All keys but those of data blocks, in the order of the file.
#[rustfmt::skip]
const LINES: &[Line] = &[
    ("", "schema", "1", "version of these keys"),
    ("", "title", "\"\"", "what figures and report are called"),
    ("", "profile", "\"recommended\"", "paper | recommended: which choices the defaults are"),
    ("", "seed", "1", "of every random number"),
    ("sample", "composition", "\"Zr50Cu40Al10\"", "for the report"),
    ("sample", "glass_transition_k", "673.0", "K"),
    ("sample", "first_peak_per_nm", "4.3", "1/nm, first diffraction peak as 1/d, to check the scale"),
    ("microscope", "voltage_kv", "200.0", "kV"),
    ("microscope", "convergence_mrad", "1.6", "mrad, semi-angle"),
    ("microscope", "probe_fwhm_nm", "0.78", "nm, full width at half maximum"),
    ("microscope", "probe_current_pa", "8.9", "pA"),
    ("scan", "step_nm", "0.1617", "nm, distance of neighboring positions"),
    ("scan", "region", "{ rows = [0, 60], cols = [60, 120] }", "analyzed part, half-open; the whole scan if absent"),
    ("scan", "polygon", "[[0.0, 60.0], [0.0, 119.0], [59.0, 119.0]]", "only positions inside, corners [row, col]"),
    ("scan", "mask_file", "\"positions.npy\"", "nonzero = looked at, shape of the scan or of the region"),
    ("scan", "vacuum", "\"auto\"", "auto | none: whether vacuum is looked for"),
    ("scan", "edge_margin_nm", "2.0", "nm left out along the edge of vacuum"),
    ("scan", "thickness_window", "[0.8, 1.2]", "lowest and highest ring intensity over its median"),
    ("pattern", "q_step_per_nm", "0.058", "1/nm a native pixel, as 1/d without 2 pi"),
    ("pattern", "bin", "1", "native pixels summed along each side"),
    ("pattern", "center", "[131.4, 130.9]", "native pixels [row, col]; found from the halo if absent"),
    ("pattern", "descan", "{ row_per_row = 0.0, row_per_col = 0.0, col_per_row = 0.0, col_per_col = 0.0 }", "pattern pixels a scan step"),
    ("pattern", "center_path", "[[0.0, -0.6, 0.0], [105.0, 0.6, 0.0]]", "[scan, rows, columns]: movement of the center, linear between"),
    ("pattern", "ellipse", "{ distortion = 0.0, angle_rad = 0.0 }", "long axis 1 + distortion, from +column toward +row"),
    ("pattern", "crop", "{ rows = [0, 264], cols = [0, 264] }", "used part of the pattern, half-open"),
    ("pattern", "mask_file", "\"mask.npy\"", "nonzero = valid, native shape"),
    ("pattern", "mask", "[{ shape = \"circle\", center = [131.4, 130.9], radius = 22.0 }]", "circle | arm | wedge | rectangle | polygon, native pixels"),
    ("pattern", "dark_file", "\"dark.npy\"", "subtracted; of several dark frames the clipped mean"),
    ("pattern", "gain_file", "\"gain.npy\"", "divided by, after the dark"),
    ("pattern", "common_mode_cols", "66", "columns of a row segment whose shared offset is subtracted from each frame"),
    ("calibration", "center", "\"off\"", "auto | off: measured from halo and symmetry, unless pattern.center is given; off: a quick look"),
    ("calibration", "descan", "\"off\"", "auto | off: movement of the center over the scan"),
    ("calibration", "center_path", "\"off\"", "auto | off: movement of the center during the record"),
    ("calibration", "ellipse", "\"off\"", "auto | off"),
    ("calibration", "beam_stop", "\"off\"", "auto | off: found beside pattern.mask and mask_file"),
    ("calibration", "grow_px", "0", "native pixels by which the stop that was found is widened"),
    ("calibration", "bad_pixels", "\"off\"", "auto | off: hot, dead, noisy and saturated pixels are masked, spikes of single frames left out"),
    ("calibration", "ring_per_nm", "4.3", "1/nm of the halo where it is known: makes the scale"),
    ("calibration", "camera_length_mm", "330.0", "mm; with pixel_um and the voltage makes the scale"),
    ("calibration", "pixel_um", "48.0", "µm, a native detector pixel"),
    ("calibration", "sample_mib", "1024", "MiB of frames that are read for it"),
    ("reduction", "q_range_per_nm", "[3.0, 5.8]", "1/nm kept of the raw data; at least the ranges below"),
    ("time", "basis", "\"auto\"", "auto | timestamps | total | period"),
    ("time", "exclude", "[]", "scans left out, from 0"),
    ("time", "bad_scans", "\"leave_out\"", "leave_out | keep: blinks, doubled, distorted and lost scans and frames"),
    ("drift", "method", "\"auto\"", "auto | speckle | images | given | none"),
    ("drift", "reference", "\"mean\"", "mean | first: what images are registered to"),
    ("drift", "row_steps", "[0.0, 0.1]", "given: movement of the sample along rows, scan steps, one a scan"),
    ("drift", "col_steps", "[0.0, 0.1]", "given: along columns"),
    ("dynamics", "q_range_per_nm", "[4.2, 4.6]", "1/nm, ring of eqs. (1) and (2)"),
    ("dynamics", "normalization", "\"flattened\"", "ring (paper) | flattened | per_pixel"),
    ("dynamics", "flattening", "\"auto\"", "auto | pixel | radial: the pattern divided by"),
    ("dynamics", "lags", "\"auto\"", "auto | all | multi_tau: lags 1 to 15, then eight each time they double, of scans added up; auto: from 1000 scans on"),
    ("dynamics", "two_time", "\"region\"", "region | all: matrices kept"),
    ("dynamics", "two_time_positions", "[]", "{ row = .., col = .. } whose matrix is kept too"),
    ("dynamics", "tests", "false", "true: test aging, fluctuations in time, four-point functions, form of the decay"),
    ("dynamics", "q_rings", "5", "rings of Q over the band of [structure] whose tau is compared; 0 none"),
    ("relaxation", "estimator", "\"likelihood\"", "least_squares (paper) | likelihood: a quarter of its error, for stretch = { fixed = 1.0 }"),
    ("relaxation", "exponent_factor", "\"two\"", "two | one: k in exp[-k (t/tau)^stretch], eq. (3)"),
    ("relaxation", "stretch", "{ fixed = 1.0 }", "{ fixed = .. } | { free = { min = .., max = .. } }"),
    ("relaxation", "baseline", "\"one\"", "one | free | distant_pairs"),
    ("relaxation", "lag_fraction", "1.0", "share of the record whose lags are fitted"),
    ("relaxation", "weights", "\"lag_count\"", "none (paper) | lag_count"),
    ("relaxation", "tau_bounds", "[0.1, 100.0]", "[scan steps, records]"),
    ("relaxation", "min_times", "8", "fewer valid scans give no fit"),
    ("structure", "q_range_per_nm", "[3.0, 5.8]", "1/nm, band of eq. (5)"),
    ("structure", "grouping", "\"per_ring\"", "per_ring | band"),
    ("structure", "noise", "\"counting\"", "none (paper) | counting | finite_counting | factorial | two_frame"),
    ("structure", "gain", "1.0", "detector units an electron"),
    ("structure", "excess_factor", "1.0", "noise of an electron's signal over counting, at least 1"),
    ("interval", "sectors", "6", "azimuthal sectors of the jackknife, opposite ones together"),
    ("interval", "level", "0.95", "probability that an interval is meant to cover"),
    ("arrhenius", "average", "\"log_mean\"", "mean (paper) | log_mean | median | ensemble | within_record, eq. (4)"),
    ("output", "folder", "\"halotau-results\"", "beside this file unless absolute"),
    ("output", "keep_reduction", "true", "other settings need no second pass over the raw data"),
    ("output", "png", "true", "PNG beside the SVG figures"),
    ("output", "pdf", "false", "PDF beside the SVG figures; needs a build with the feature pdf"),
    ("output", "max_bad", "0.5", "share of BAD positions above which the exit code is 10"),
];

/// The keys of a data block.
#[rustfmt::skip]
const DATA_LINES: &[Line] = &[
    ("data", "temperature_k", "633.0", "K"),
    ("data", "path", "\"633K.h5\"", "file, or folder of one-scan files in natural order"),
    ("data", "files", "[\"a.npy\", \"b.npy\"]", "one-scan files in order, instead of path"),
    ("data", "dataset", "\"data\"", "inside HDF5 or a Zarr group"),
    ("data", "shape", "[106, 60, 120, 264, 264]", "time, scan row, scan col, pattern row, pattern col; one may be 0"),
    ("data", "n_times", "57", "scans to take, from the first; what follows may be cut short"),
    ("data", "raw", "{ sample_type = \"u16\" }", "layout of a raw binary file: big_endian, header_bytes, ..."),
    ("data", "frames", "{ sync_offset = 0, flyback_cols = 0 }", "which frames belong to which positions; docs/formats.md"),
    ("data", "calibration", "\"calibration-633K.toml\"", "of `halotau calibrate --write`; wins over [calibration]"),
    ("data", "period_s", "9.2", "s from scan to scan"),
    ("data", "total_s", "1048.0", "s from first start to last end; wins over period_s"),
    ("data", "times_s", "[0.0, 9.9]", "s, start of each scan"),
    ("data", "dwell_ms", "1.0", "ms, exposure of one pattern"),
];

/// A key that the user must still fill in, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unfilled {
    /// Such as `pattern.q_step_per_nm` or `data[0].temperature_k`.
    pub key: String,
    /// What to write there.
    pub hint: String,
}

/// The complete recipe as TOML, each key with a comment; absent ones as commented examples.
///
/// [`parse`](super::parse) gives the same recipe back.
pub fn to_toml(recipe: &Recipe) -> String {
    commented_toml(recipe, &[])
}

/// As [`to_toml`]; keys to be filled in are marked.
pub fn commented_toml(recipe: &Recipe, unfilled: &[Unfilled]) -> String {
    let table = Table::try_from(recipe).expect("every recipe is a TOML table: its keys are names");
    let mut text = String::new();
    let mut section = "";
    for &line in LINES {
        if line.0 != section {
            section = line.0;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let values = match section {
            "" => Some(&table),
            name => table.get(name).and_then(Value::as_table),
        };
        let full = match section {
            "" => line.1.to_owned(),
            name => format!("{name}.{}", line.1),
        };
        push_line(&mut text, line, values, &full, unfilled);
    }
    let blocks = table.get("data").and_then(Value::as_array);
    for (idx, block) in blocks.into_iter().flatten().enumerate() {
        text.push_str("\n[[data]]\n");
        let values = block.as_table();
        for &line in DATA_LINES {
            let full = format!("data[{idx}].{}", line.1);
            let is_given = values.is_some_and(|values| given(values, line.1).is_some());
            // Absent keys are explained once, in the first block.
            if idx == 0 || is_given || unfilled.iter().any(|missing| missing.key == full) {
                push_line(&mut text, line, values, &full, unfilled);
            }
        }
    }
    text
}

/// The value of a key, unless it is an empty path, which stands for none.
fn given<'a>(values: &'a Table, key: &str) -> Option<&'a Value> {
    let value = values.get(key)?;
    let is_empty_path = key == "path" && value.as_str() == Some("");
    (!is_empty_path).then_some(value)
}

fn push_line(
    text: &mut String,
    (_, key, example, comment): Line,
    values: Option<&Table>,
    full: &str,
    unfilled: &[Unfilled],
) {
    let missing = unfilled.iter().find(|missing| missing.key == full);
    let start = match values.and_then(|values| given(values, key)) {
        Some(value) => format!("{key} = {value}"),
        None => format!("# {key} = {example}"),
    };
    let note = match missing {
        Some(missing) => format!("FILL IN: {}", missing.hint),
        None => comment.to_owned(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{start:<40} # {note}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use halotau::axes::QRange;
    use halotau::calibrate::{CenterPath, Descan, Ellipse};
    use halotau::correlate::TwoTimeKept;
    use halotau::drift::DriftMethod;
    use halotau::recipe::{
        BinnedRows, CalibrationSettings, Corrections, DataBlock, FrameLayout, MaskShape,
        Orientation, Profile, RawLayout, Region, VacuumSearch,
    };
    use halotau::relax::Stretch;
    use halotau::series::{Position, SampleType};

    use super::super::parse;
    use super::*;

    /// A recipe in which every optional key is given and nothing is at its default.
    fn full_recipe() -> Recipe {
        let mut recipe = Recipe::of(Profile::Paper);
        recipe.title = "a \"quoted\" title # no comment".to_owned();
        recipe.seed = 7;
        recipe.sample.composition = "Zr50Cu40Al10".to_owned();
        recipe.sample.glass_transition_k = Some(673.0);
        recipe.sample.first_peak_per_nm = Some(4.3);
        recipe.microscope.voltage_kv = Some(200.0);
        recipe.microscope.convergence_mrad = Some(1.6);
        recipe.microscope.probe_fwhm_nm = Some(0.1 + 0.2);
        recipe.microscope.probe_current_pa = Some(8.9);
        recipe.scan.step_nm = Some(1e-7);
        let region = Region {
            rows: [1, 5],
            cols: [2, 6],
        };
        recipe.scan.region = Some(region);
        recipe.scan.polygon = vec![[0.0, 0.0], [0.0, 4.0], [4.5, 0.0]];
        recipe.scan.mask_file = Some("/d/positions.npy".into());
        recipe.scan.vacuum = VacuumSearch::None;
        recipe.scan.thickness_window = Some([0.8, 1.2]);
        recipe.drift.method = DriftMethod::Given;
        recipe.drift.row_steps = vec![0.0, 0.25, 1.5];
        recipe.drift.col_steps = vec![0.0, -0.5, 0.0];
        let pattern = &mut recipe.pattern;
        pattern.q_step_per_nm = Some(0.058);
        pattern.bin = 4;
        pattern.center = Some([131.42, 130.87]);
        pattern.descan = Some(Descan {
            row_per_row: 0.01,
            ..Descan::default()
        });
        pattern.center_path = Some(CenterPath::new(vec![[0.0, 0.5, 0.0], [9.0, -0.5, 1.0]]));
        pattern.ellipse = Some(Ellipse {
            distortion: 0.012,
            angle_rad: 0.5,
        });
        pattern.crop = Some(region);
        pattern.mask_file = Some("/d/mask.npy".into());
        pattern.common_mode_cols = Some(33);
        pattern.dark_file = Some("/d/dark.npy".into());
        pattern.gain_file = Some("/d/gain.npy".into());
        pattern.mask = vec![
            MaskShape::Circle {
                center: [3.0, 4.0],
                radius: 5.5,
            },
            MaskShape::Polygon {
                corners: vec![[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]],
            },
            MaskShape::Rectangle {
                rows: [0, 3],
                cols: [2, 4],
            },
        ];
        recipe.calibration = CalibrationSettings {
            grow_px: 2,
            ring_per_nm: Some(4.3),
            camera_length_mm: Some(330.0),
            pixel_um: Some(48.0),
            sample_mib: 16,
            ..CalibrationSettings::default().auto()
        };
        recipe.reduction.q_range_per_nm = Some(QRange::new(2.5, 6.0));
        recipe.time.exclude = vec![57];
        recipe.dynamics.two_time = TwoTimeKept::All;
        recipe.dynamics.two_time_positions = vec![Position { row: 3, col: 4 }];
        recipe.relaxation.stretch = Stretch::Free { min: 0.4, max: 2.0 };
        recipe.output.folder = "/d/out".into();
        recipe.output.png = false;
        let block = DataBlock {
            temperature_k: Some(633.0),
            path: "/d/633K.raw".into(),
            files: Vec::new(),
            dataset: Some("entry/data".to_owned()),
            shape: Some([3, 60, 120, 264, 264]),
            n_times: Some(3),
            raw: Some(RawLayout {
                sample_type: SampleType::U16,
                big_endian: true,
                header_bytes: 1024,
                frame_header_bytes: 1,
                frame_footer_bytes: 2,
                scan_header_bytes: 3,
            }),
            frames: FrameLayout {
                sync_offset: Some(-3),
                flyback_cols: Some(1),
                snake: true,
                pattern: Orientation {
                    flip_rows: true,
                    ..Orientation::default()
                },
                corrections: Some(Corrections::None),
                binned_rows: BinnedRows::Keep,
                ..FrameLayout::default()
            },
            calibration: Some("/d/calibration-633K.toml".into()),
            period_s: Some(9.2),
            total_s: Some(30.0),
            times_s: Some(vec![0.0, 9.9, 19.8]),
            dwell_ms: Some(1.0),
        };
        let listed = DataBlock {
            files: vec!["/d/a.npy".into(), "/d/b.npy".into()],
            ..DataBlock::default()
        };
        recipe.data = vec![block, listed];
        recipe
    }

    #[test]
    fn the_text_loads_back_to_the_same_recipe() {
        for recipe in [full_recipe(), absolute(Recipe::default())] {
            let text = to_toml(&recipe);
            // Another folder: nothing in a complete recipe is relative.
            let loaded = parse(&text, "recipe.toml", Path::new("/elsewhere"), &[]).unwrap();
            assert_eq!(loaded.recipe, recipe, "{text}");
        }
    }

    fn absolute(mut recipe: Recipe) -> Recipe {
        recipe.output.folder = "/d/out".into();
        recipe
    }

    #[test]
    fn every_key_has_a_comment_and_every_comment_a_key() {
        let table = Table::try_from(full_recipe()).unwrap();
        let mut keys = BTreeSet::new();
        for (name, value) in &table {
            match value {
                Value::Table(section) => {
                    keys.extend(section.keys().map(|key| (name.as_str(), key.as_str())))
                }
                Value::Array(blocks) => {
                    let tables = blocks.iter().filter_map(Value::as_table);
                    keys.extend(
                        tables
                            .flat_map(Table::keys)
                            .map(|key| (name.as_str(), key.as_str())),
                    );
                }
                _ => drop(keys.insert(("", name.as_str()))),
            }
        }
        let lines = LINES.iter().chain(DATA_LINES);
        let commented: BTreeSet<_> = lines.map(|line| (line.0, line.1)).collect();
        assert_eq!(keys, commented);
    }

    #[test]
    fn every_example_loads() {
        let mut text = to_toml(&Recipe::default());
        // The block of data comes only with data.
        text.push_str("[[data]]\n");
        for &(_, key, example, _) in DATA_LINES.iter().filter(|line| line.1 != "files") {
            text.push_str(&format!("{key} = {example}\n"));
        }
        let text = text.replace("\n# ", "\n");
        let loaded = parse(&text, "recipe.toml", Path::new("/d"), &[]).unwrap();
        assert_eq!(loaded.recipe.pattern.mask.len(), 1);
        assert_eq!(loaded.recipe.data[0].total_s, Some(1048.0));
    }
}
