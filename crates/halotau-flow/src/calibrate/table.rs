//! What was measured of the microscope, as a table of the report.

use halotau_figure::report::Table;

use super::record::{Record, Values};

/// A row of the table: what it is, and its value in one record.
type Row = (&'static str, fn(&Values) -> Option<String>);

/// One row a quantity, one column a series; `None` where nothing was measured.
pub(crate) fn microscope(records: &[Option<Record>]) -> Option<Table> {
    let known: Vec<&Record> = records.iter().flatten().collect();
    if known.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "The microscope as measured, in native detector pixels with standard errors",
        &["quantity"],
    );
    table.columns.extend(known.iter().map(|record| {
        if record.temperature_k.is_finite() {
            format!("{} K", record.temperature_k)
        } else {
            record.name.clone()
        }
    }));
    for (name, value) in ROWS {
        let cells: Vec<Option<String>> = known
            .iter()
            .map(|record| value(&record.calibration))
            .collect();
        if cells.iter().any(Option::is_some) {
            let mut row = vec![name.to_owned()];
            row.extend(
                cells
                    .into_iter()
                    .map(|cell| cell.unwrap_or_else(|| "not measured".to_owned())),
            );
            table.rows.push(row);
        }
    }
    Some(table)
}

const ROWS: [Row; 18] = [
    ("center, row", |values| {
        let center = values.center.as_ref()?;
        Some(with_error(center.value[0], center.error[0], 3))
    }),
    ("center, column", |values| {
        let center = values.center.as_ref()?;
        Some(with_error(center.value[1], center.error[1], 3))
    }),
    ("center by symmetry, row", |values| {
        let center = values.center.as_ref()?;
        Some(with_error(
            center.by_symmetry?[0],
            center.by_symmetry_error?[0],
            3,
        ))
    }),
    ("center by symmetry, column", |values| {
        let center = values.center.as_ref()?;
        Some(with_error(
            center.by_symmetry?[1],
            center.by_symmetry_error?[1],
            3,
        ))
    }),
    ("center over the record moves by", |values| {
        Some(format!("{:.3}", values.center.as_ref()?.moves_over_time?))
    }),
    ("descan from the middle of the scan, up to", |values| {
        let descan = values.descan.as_ref()?;
        let used = if descan.used {
            "followed"
        } else {
            "no more than chance"
        };
        Some(format!("{:.3} ({used})", descan.range))
    }),
    ("ellipse, distortion (%)", |values| {
        let ellipse = values.ellipse.as_ref()?;
        Some(with_error(
            100.0 * ellipse.distortion,
            100.0 * ellipse.distortion_error,
            3,
        ))
    }),
    ("ellipse, angle from +column toward +row (°)", |values| {
        let ellipse = values.ellipse.as_ref()?;
        Some(with_error(
            ellipse.angle_rad.to_degrees(),
            ellipse.angle_error_rad.to_degrees(),
            1,
        ))
    }),
    ("halo (1/nm)", |values| {
        Some(format!("{:.3}", values.halo.as_ref()?.q_per_nm))
    }),
    ("beam stop", |values| {
        let stop = values.beam_stop.as_ref()?;
        Some(if stop.n_pixels == 0 {
            "none".to_owned()
        } else {
            format!(
                "{} pixels, {:.1} % passes",
                stop.n_pixels,
                100.0 * stop.leak
            )
        })
    }),
    ("hot pixels", |values| {
        Some(values.bad_pixels.as_ref()?.hot.len().to_string())
    }),
    ("dead pixels", |values| {
        Some(values.bad_pixels.as_ref()?.dead.len().to_string())
    }),
    ("noisy, saturated and broken pixels", |values| {
        let bad = values.bad_pixels.as_ref()?;
        Some((bad.noisy.len() + bad.saturated.len() + bad.broken.len()).to_string())
    }),
    (
        "gain from pixel to pixel, standard deviation (%)",
        |values| {
            let gain = values.gain_spread.as_ref()?;
            Some(with_error(100.0 * gain.value, 100.0 * gain.error, 2))
        },
    ),
    ("detector units an electron", |values| {
        let units = values.units_per_electron.as_ref()?;
        Some(with_error(units.value, units.error, 3))
    }),
    ("common mode of rows, standard deviation", |values| {
        let shared = values.common_mode.as_ref()?;
        let done = if shared.subtracted {
            "subtracted"
        } else {
            "left"
        };
        Some(format!(
            "{} over {} columns, {done}",
            with_error(shared.sd, shared.error, 3),
            shared.cols
        ))
    }),
    ("spikes of single frames", |values| {
        let spikes = values.spikes.as_ref()?;
        Some(format!(
            "{} samples in {} frames",
            spikes.n_samples, spikes.n_frames
        ))
    }),
    ("masked or off the detector", |values| {
        let shares: Vec<String> = values
            .rings
            .iter()
            .map(|ring| format!("{} {:.1} %", ring.name, 100.0 * ring.masked_share))
            .collect();
        (!shares.is_empty()).then(|| shares.join(", "))
    }),
];

/// `33.013 ± 0.044`; without an error where there is none.
fn with_error(value: f64, error: f64, digits: usize) -> String {
    if error > 0.0 {
        format!("{value:.digits$} ± {error:.digits$}")
    } else if error == 0.0 {
        format!("{value:.digits$} (given)")
    } else {
        format!("{value:.digits$}")
    }
}
