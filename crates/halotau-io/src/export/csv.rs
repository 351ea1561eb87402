//! Tables of text: one row a position, one row a temperature.

use std::fmt::Write as _;
use std::path::Path;

use halotau::analysis::{Analysis, Estimate, Study};
use halotau::ndarray::Array2;
use halotau::relate::DecoupledRelation;

use crate::error::Result;
use crate::manifest::{Sync, write_whole};
use crate::maps::{maps, positions_nm, region_start};

/// Whether lines that begin with `#` explain the columns; spreadsheets do better without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Comments {
    /// Version, origin and units before the header.
    #[default]
    With,
    /// The header is the first line.
    Without,
}

/// Maps that have a column, in the order of the columns.
const MAP_COLUMNS: [&str; 11] = [
    "tau_s",
    "tau_lower_s",
    "tau_upper_s",
    "contrast",
    "stretch",
    "fluctuation",
    "fluctuation_error",
    "persistence",
    "mean_counts",
    "ring_intensity",
    "thickness_proxy",
];

/// Writes `maps.csv`: one row a position.
///
/// `row` and `col` count positions of the analyzed region from 0, `row_nm` and `col_nm` distances from the first
/// position of the whole scan. A field is empty where there is no value, and `inf` where an interval is open. `quality`
/// is the bit mask, `flags` its names.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
pub fn write_maps_csv(path: &Path, analysis: &Analysis, comments: Comments) -> Result<()> {
    let (n_rows, n_cols) = analysis.quality.dim();
    let all = maps(analysis);
    let columns: Vec<&Array2<f64>> = MAP_COLUMNS
        .iter()
        .filter_map(|name| all.iter().find(|map| map.name == *name))
        .map(|map| map.values)
        .collect();
    let [first_row, first_col] = region_start(analysis);
    let rows_nm = positions_nm(first_row, n_rows, analysis.step_nm);
    let cols_nm = positions_nm(first_col, n_cols, analysis.step_nm);
    let mut text = String::new();
    if comments == Comments::With {
        push_line(
            &mut text,
            &format!(
                "# halotau {} maps of {} at {} K",
                env!("CARGO_PKG_VERSION"),
                analysis.name.escape_default(),
                analysis.temperature_k
            ),
        );
        push_line(
            &mut text,
            "# units are the last part of a name; row and col count positions of the analyzed region from 0; \
             row_nm and col_nm count from the first position of the scan; empty is no value, inf an open interval",
        );
    }
    push_line(
        &mut text,
        &format!(
            "row,col,row_nm,col_nm,{},quality,flags",
            MAP_COLUMNS.join(",")
        ),
    );
    for ((row, col), quality) in analysis.quality.indexed_iter() {
        let at = |positions: &Option<Vec<f64>>, idx: usize| {
            positions
                .as_ref()
                .map_or_else(String::new, |positions| number(positions[idx]))
        };
        let mut fields = vec![
            row.to_string(),
            col.to_string(),
            at(&rows_nm, row),
            at(&cols_nm, col),
        ];
        fields.extend(columns.iter().map(|map| {
            map.get([row, col])
                .copied()
                .map_or_else(String::new, number)
        }));
        fields.push(quality.0.to_string());
        fields.push(quality.names().collect::<Vec<_>>().join(" "));
        push_line(&mut text, &fields.join(","));
    }
    write_whole(path, text.as_bytes(), Sync::Cache)
}

/// Writes `series.csv`: one row a temperature.
///
/// Each average of tau has its standard error and interval; `tau_16_s` and `tau_84_s` are percentiles over positions.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io).
pub fn write_series_csv(path: &Path, study: &Study, comments: Comments) -> Result<()> {
    let mut text = String::new();
    if comments == Comments::With {
        push_line(
            &mut text,
            &format!(
                "# halotau {} series of {} temperatures; units are the last part of a name; the headline is tau_{}_s",
                env!("CARGO_PKG_VERSION"),
                study.analyses.len(),
                study.headline.name()
            ),
        );
    }
    let mut header = true;
    for analysis in &study.analyses {
        let fields = series_fields(analysis);
        if std::mem::take(&mut header) {
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            push_line(&mut text, &names.join(","));
        }
        let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
        push_line(&mut text, &values.join(","));
    }
    write_whole(path, text.as_bytes(), Sync::Cache)
}

fn series_fields(analysis: &Analysis) -> Vec<(String, String)> {
    let summary = &analysis.summary;
    let mut fields = vec![
        ("temperature_k".to_owned(), number(analysis.temperature_k)),
        ("name".to_owned(), quoted(&analysis.name)),
        ("n_positions".to_owned(), summary.n_positions.to_string()),
        ("n_valid".to_owned(), summary.n_valid.to_string()),
        ("n_censored".to_owned(), summary.n_censored.to_string()),
    ];
    let mut estimate = |name: &str, unit: &str, estimate: &Estimate| {
        fields.push((format!("{name}{unit}"), number(estimate.value)));
        fields.push((format!("{name}_error{unit}"), number(estimate.error)));
        fields.push((format!("{name}_lower{unit}"), number(estimate.lower)));
        fields.push((format!("{name}_upper{unit}"), number(estimate.upper)));
    };
    estimate("tau_mean", "_s", &summary.tau_mean_s);
    estimate("tau_log_mean", "_s", &summary.tau_log_mean_s);
    estimate("tau_median", "_s", &summary.tau_median_s);
    estimate("tau_ensemble", "_s", &summary.tau_ensemble_s);
    estimate("tau_within_record", "_s", &summary.tau_within_record_s);
    estimate("fluctuation_mean", "", &summary.fluctuation_mean);
    estimate(
        "fluctuation_unbiased_mean",
        "",
        &summary.fluctuation_unbiased_mean,
    );
    estimate("contrast_mean", "", &summary.contrast_mean);
    let [lower, upper] = summary.tau_spread_s;
    fields.extend([
        ("tau_16_s".to_owned(), number(lower)),
        ("tau_84_s".to_owned(), number(upper)),
        ("ln_tau_sd".to_owned(), number(summary.ln_tau_sd)),
        ("fluctuation_sd".to_owned(), number(summary.fluctuation_sd)),
        ("spearman".to_owned(), number(analysis.relation.spearman)),
        ("spearman_n".to_owned(), analysis.relation.n.to_string()),
    ]);
    let of_decoupled = |value: fn(&DecoupledRelation) -> f64| {
        analysis
            .decoupled
            .as_ref()
            .map_or_else(String::new, |relation| number(value(relation)))
    };
    let corrected: fn(&DecoupledRelation) -> f64 = |relation| {
        relation
            .corrected
            .map_or(f64::NAN, |corrected| corrected.value)
    };
    fields.extend([
        (
            "decoupled_r".to_owned(),
            of_decoupled(|r| r.correlation.value),
        ),
        (
            "decoupled_r_lower".to_owned(),
            of_decoupled(|r| r.correlation.lower),
        ),
        (
            "decoupled_r_upper".to_owned(),
            of_decoupled(|r| r.correlation.upper),
        ),
        ("decoupled_p".to_owned(), of_decoupled(|r| r.p_value)),
        (
            "decoupled_n_effective".to_owned(),
            of_decoupled(|r| r.n_effective),
        ),
        ("decoupled_r_corrected".to_owned(), of_decoupled(corrected)),
        (
            "tau_reliability".to_owned(),
            of_decoupled(|r| r.tau_reliability),
        ),
        (
            "fluctuation_reliability".to_owned(),
            of_decoupled(|r| r.fluctuation_reliability),
        ),
    ]);
    fields.extend(over_ring(analysis));
    fields.extend(variation(analysis));
    fields.extend(checks(analysis));
    fields
}

/// Whether tau is the same over the ring; empty where it was not tested.
fn over_ring(analysis: &Analysis) -> Vec<(String, String)> {
    let found = analysis.q_dependence.as_ref();
    let ratio = found.map(|found| found.outer_over_inner);
    let slope = found.map(|found| found.slope);
    [
        ("tau_outer_over_inner", ratio.map(|ratio| ratio.value)),
        ("tau_outer_over_inner_lower", ratio.map(|ratio| ratio.lower)),
        ("tau_outer_over_inner_upper", ratio.map(|ratio| ratio.upper)),
        ("ln_tau_over_ln_q", slope.map(|slope| slope.value)),
        ("ln_tau_over_ln_q_lower", slope.map(|slope| slope.lower)),
        ("ln_tau_over_ln_q_upper", slope.map(|slope| slope.upper)),
        ("one_tau_over_ring_p", found.map(|found| found.p_value)),
        (
            "over_ring_n_effective",
            found.map(|found| found.n_effective),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), number(value.unwrap_or(f64::NAN))))
    .collect()
}

/// How the maps vary beyond their noise; empty where it was not measured.
fn variation(analysis: &Analysis) -> Vec<(String, String)> {
    let found = analysis.heterogeneity.as_ref();
    let maps = [
        ("ln_tau", found.and_then(|found| found.ln_tau.as_ref())),
        (
            "fluctuation",
            found.and_then(|found| found.fluctuation.as_ref()),
        ),
    ];
    // Lengths are in the unit of the step where that is known.
    let unit = found.map_or("nm", |found| found.unit.as_str());
    let mut fields = Vec::new();
    for (name, variation) in maps {
        let mut estimate = |what: &str, unit: &str, estimate: Option<&Estimate>| {
            let of = |value: fn(&Estimate) -> f64| number(estimate.map_or(f64::NAN, value));
            fields.push((format!("{name}_{what}{unit}"), of(|e| e.value)));
            fields.push((format!("{name}_{what}_lower{unit}"), of(|e| e.lower)));
            fields.push((format!("{name}_{what}_upper{unit}"), of(|e| e.upper)));
        };
        estimate("sd_without_noise", "", variation.map(|v| &v.sd));
        estimate("half_reliability", "", variation.map(|v| &v.reliability));
        let unit = format!("_{unit}");
        estimate(
            "length_beyond_probe",
            &unit,
            variation.and_then(|v| v.length.as_ref()),
        );
        let variation_p = variation.map_or(f64::NAN, |v| v.p_value);
        fields.push((format!("{name}_no_differences_p"), number(variation_p)));
    }
    fields
}

/// The relation from other sides; empty where it was not looked at.
fn checks(analysis: &Analysis) -> Vec<(String, String)> {
    let checks = analysis.relation_checks.as_ref();
    let apart = checks.and_then(|checks| checks.apart);
    let partial = checks.and_then(|checks| checks.partial.last());
    let coupled = checks.map(|checks| checks.coupled);
    [
        ("apart_r", apart.map(|apart| apart.correlation.value)),
        ("apart_r_lower", apart.map(|apart| apart.correlation.lower)),
        ("apart_r_upper", apart.map(|apart| apart.correlation.upper)),
        ("apart_p", apart.map(|apart| apart.p_value)),
        ("apart_n_effective", apart.map(|apart| apart.n_effective)),
        ("partial_r", partial.map(|left| left.correlation.value)),
        ("partial_p", partial.map(|left| left.p_value)),
        (
            "spearman_without_relation",
            coupled.map(|range| range.as_here),
        ),
        (
            "spearman_without_relation_one_tau",
            coupled.map(|range| range.one_tau),
        ),
        ("kendall", checks.map(|checks| checks.kendall.kendall)),
        ("kendall_p", checks.map(|checks| checks.kendall.p_value)),
        ("torus_p", checks.map(|checks| checks.p_torus)),
        ("phases_p", checks.map(|checks| checks.p_phases)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), number(value.unwrap_or(f64::NAN))))
    .collect()
}

/// The shortest text that reads back as the same number; empty for NaN.
pub(super) fn number(value: f64) -> String {
    let mut text = String::new();
    if value.is_nan() {
        return text;
    }
    let is_plain = value == 0.0 || (1e-4..1e15).contains(&value.abs()) || value.is_infinite();
    let written = if is_plain {
        write!(text, "{value}")
    } else {
        write!(text, "{value:e}")
    };
    written.expect("writing to a string cannot fail");
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

pub(super) fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
