//! What does the TOML file beside a recording say that the recording does not?
//!
//! `frames.raw.toml` beside `frames.raw`, in the words of a recipe's `[data]` block. A file of raw samples and a stream of events
//! cannot be read without; docs/formats.md has the list of keys.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use halotau::series::{SeriesHeader, Stated};
use serde::Deserialize;

use super::timepix3::EventSettings;
use crate::clock::unix_ns_of_seconds;
use crate::error::{Error, Result};
use crate::positioned::PositionedFile;

/// A list of a million times fits; anything longer was not written for this purpose.
const MOST_BYTES: u64 = 16 << 20;

/// What is said of a recording.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sidecar {
    /// Times, scan rows, scan columns, pattern rows, pattern columns; one of the first three may be 0 for "find out".
    pub(super) shape: Option<[usize; 5]>,
    pub(super) sample_type: Option<StoredType>,
    pub(super) big_endian: bool,
    pub(super) header_bytes: u64,
    pub(super) frame_header_bytes: u64,
    pub(super) frame_footer_bytes: u64,
    pub(super) scan_header_bytes: u64,
    pub(super) sync_offset: i64,
    pub(super) prescan_cols: usize,
    pub(super) flyback_cols: usize,
    pub(super) events: Option<EventSettings>,
    step_nm: Option<f64>,
    q_step_per_nm: Option<f64>,
    voltage_kv: Option<f64>,
    convergence_mrad: Option<f64>,
    dwell_ms: Option<f64>,
    temperature_k: Option<f64>,
    period_s: Option<f64>,
    total_s: Option<f64>,
    times_s: Option<Vec<f64>>,
    start_unix_s: Option<f64>,
}

/// How samples are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoredType {
    U8,
    /// Two samples in three bytes.
    U12,
    U16,
    U32,
    I16,
    I32,
    F32,
    F64,
}

/// The sidecar's path for a recording.
pub(super) fn path_of(recording: &Path) -> PathBuf {
    let mut name = OsString::from(recording.as_os_str());
    name.push(".toml");
    PathBuf::from(name)
}

impl Sidecar {
    /// Reads the sidecar of a recording, `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::BadContainer`] where it is no TOML or has a key that is not known.
    pub(super) fn of(recording: &Path) -> Result<Option<Self>> {
        let path = path_of(recording);
        if !path.is_file() {
            return Ok(None);
        }
        let bad = |problem: String| Error::BadContainer {
            path: path.clone(),
            format: "sidecar",
            problem,
        };
        let file = PositionedFile::open(&path)?;
        if file.len() > MOST_BYTES {
            return Err(bad(format!(
                "{} bytes; at most {MOST_BYTES} are read",
                file.len()
            )));
        }
        let bytes = file.start(file.len() as usize)?;
        let text = std::str::from_utf8(&bytes).map_err(|e| bad(e.to_string()))?;
        let sidecar: Self = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
        sidecar.check().map_err(bad)?;
        Ok(Some(sidecar))
    }

    /// Whether the numbers make sense.
    fn check(&self) -> Result<(), String> {
        for (key, value, _) in self.numbers() {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0)
            {
                return Err(format!("{key} = {value} is not a positive number"));
            }
        }
        let times = self.times_s.as_deref().unwrap_or_default();
        if times.iter().any(|time| !time.is_finite()) || !times.is_sorted_by(|a, b| a < b) {
            return Err("times_s is not a list of growing numbers".to_owned());
        }
        if self
            .start_unix_s
            .is_some_and(|s| unix_ns_of_seconds(s).is_none())
        {
            return Err("start_unix_s is no number of seconds since 1970".to_owned());
        }
        Ok(())
    }

    /// Key, value, and the field of a header that it fills.
    #[allow(clippy::type_complexity, reason = "one row a key, used in two places")]
    fn numbers(
        &self,
    ) -> [(
        &'static str,
        Option<f64>,
        fn(&mut SeriesHeader) -> &mut Option<Stated>,
    ); 8] {
        [
            ("step_nm", self.step_nm, |h| &mut h.step_nm),
            ("q_step_per_nm", self.q_step_per_nm, |h| {
                &mut h.q_step_per_nm
            }),
            ("voltage_kv", self.voltage_kv, |h| &mut h.voltage_kv),
            ("convergence_mrad", self.convergence_mrad, |h| {
                &mut h.convergence_mrad
            }),
            ("dwell_ms", self.dwell_ms, |h| &mut h.dwell_ms),
            ("temperature_k", self.temperature_k, |h| {
                &mut h.temperature_k
            }),
            ("period_s", self.period_s, |h| &mut h.period_s),
            ("total_s", self.total_s, |h| &mut h.total_s),
        ]
    }

    /// Fills a header with what is said of axes and times.
    pub(super) fn describe(&self, header: &mut SeriesHeader) {
        for (key, value, field) in self.numbers() {
            if let Some(value) = value {
                *field(header) = Some(Stated::new(value, format!("{key} of the .toml file")));
            }
        }
        if let Some(first) = self.times_s.as_ref().and_then(|times| times.first()) {
            let times = self.times_s.iter().flatten();
            header.times_s = Some(times.map(|time| time - first).collect());
        }
        header.start_unix_ns = self.start_unix_s.and_then(unix_ns_of_seconds);
    }
}
