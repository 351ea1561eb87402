//! What only a look at every frame shows: drift, beam current, lost and bad scans, the edge.

use std::path::Path;

use halotau::conditions::{Conditions, DriftLimit};
use halotau::current::LeftOut;
use halotau::drift::{Course, DriftOrigin};
use halotau::recipe::DataBlock;
use halotau::reduce::Reduction;
use halotau_figure::figures::{self, ConditionsView};
use serde::{Deserialize, Serialize};

use super::Calibrated;
use crate::analyze;
use crate::context::Context;
use crate::draw;
use crate::error::Result;
use crate::fingerprint;
use crate::prepare::prepare_with;
use crate::recipe_file::Loaded;
use crate::reduce::{Pass, REDUCTION, Reduced, input_paths};
use crate::run::block_folders;

/// The conditions of a series in a few numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionsRecord {
    /// Median time from scan to scan, seconds.
    pub time_step_s: f64,
    /// Its relative standard deviation, without gaps.
    pub time_jitter: f64,
    /// Relative standard deviation of the beam current from scan to scan.
    pub current_spread: f64,
    /// What speckle and counting alone make of it.
    pub current_spread_expected: f64,
    /// Relative standard deviation of the current from frame to frame, beyond counting noise; 0 where it is below its own error.
    pub flicker: f64,
    /// Positions in vacuum.
    pub n_vacuum: usize,
    /// Positions that are not looked at.
    pub n_masked: usize,
    /// All positions.
    pub n_positions: usize,
    /// Along scan rows' index; none where it was not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_row: Option<MovementRecord>,
    /// Along scan columns' index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_col: Option<MovementRecord>,
    /// What drift makes of perfectly still speckle.
    pub drift_limit: DriftLimit,
    /// Scans and frames that are left out.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// The movement along one direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovementRecord {
    /// Difference of the largest and the smallest displacement, scan steps.
    pub range_steps: f64,
    /// Standard error of a displacement up to a constant, scan steps.
    pub error_steps: f64,
    /// Where it came from.
    pub method: DriftOrigin,
    /// Whether whole steps are corrected.
    pub applied: bool,
    /// Root mean square difference of the courses from speckle and from images, scan steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disagreement_steps: Option<f64>,
    /// What their errors lead to expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_disagreement_steps: Option<f64>,
}

impl MovementRecord {
    fn of(course: &Course) -> Self {
        Self {
            range_steps: course.range(),
            error_steps: course.rms_error(),
            method: course.origin,
            applied: course.whole_steps().iter().any(|&step| step != 0),
            disagreement_steps: course.disagreement,
            expected_disagreement_steps: course.expected_disagreement,
        }
    }

    fn words(&self, step_nm: f64) -> String {
        let method = match self.method {
            DriftOrigin::Unknown => return "not measured".to_owned(),
            DriftOrigin::Speckle => "speckle",
            DriftOrigin::Images => "images",
            DriftOrigin::Both => "speckle and images",
            DriftOrigin::Given => "given",
        };
        let length = if step_nm.is_finite() {
            format!(" ({:.3} nm)", self.range_steps * step_nm)
        } else {
            String::new()
        };
        let applied = if self.applied {
            "whole steps corrected"
        } else {
            "nothing to correct"
        };
        format!(
            "{:.2} ± {:.2} scan steps{length}   {method}, {applied}",
            self.range_steps, self.error_steps
        )
    }
}

impl ConditionsRecord {
    fn of(reduction: &Reduction, conditions: &Conditions) -> Self {
        let count = |map: &halotau::ndarray::Array2<bool>| map.iter().filter(|&&is| is).count();
        let drift = conditions.drift.as_ref();
        Self {
            time_step_s: reduction.time.usual_step_s(),
            time_jitter: reduction.time.jitter(),
            current_spread: conditions.current.spread,
            current_spread_expected: conditions.current.spread_expected,
            flicker: conditions.current.flicker,
            n_vacuum: count(&conditions.region.vacuum),
            n_masked: count(&conditions.region.masked),
            n_positions: conditions.region.masked.len(),
            drift_row: drift.map(|drift| MovementRecord::of(&drift.row)),
            drift_col: drift.map(|drift| MovementRecord::of(&drift.col)),
            drift_limit: conditions.drift_limit,
            left_out: conditions.left_out.clone(),
        }
    }

    /// Lines for people.
    pub(super) fn text(&self, step_nm: f64) -> String {
        let mut text = String::new();
        for (direction, movement) in [("rows", &self.drift_row), ("columns", &self.drift_col)] {
            let words = movement
                .as_ref()
                .map_or("not looked for".to_owned(), |moved| moved.words(step_nm));
            text.push_str(&format!("  drift       {direction:<8}{words}\n"));
        }
        text.push_str(&format!(
            "  time        {:.4} s from scan to scan, jitter {:.2} %\n",
            self.time_step_s,
            100.0 * self.time_jitter
        ));
        text.push_str(&format!(
            "  current     varies by {:.2} % from scan to scan ({:.2} % by speckle and counting alone), by {:.1} % from frame to frame\n",
            100.0 * self.current_spread,
            100.0 * self.current_spread_expected,
            100.0 * self.flicker
        ));
        if self.left_out.is_empty() {
            text.push_str("  left out    no scan\n");
        }
        for out in &self.left_out {
            let what = out
                .n_frames
                .map_or(String::new(), |n| format!(", {n} frames"));
            text.push_str(&format!(
                "  left out    scan {}{what}   {}\n",
                out.time,
                out.reason.words()
            ));
        }
        text.push_str(&format!(
            "  region      {} of {} positions see vacuum, {} are not looked at\n",
            self.n_vacuum, self.n_positions, self.n_masked
        ));
        text
    }
}

/// Adds to a calibration what every frame shows, from the reduction that is there or from one in memory, and draws it into
/// `pictures`. Where neither can be had, a note says so. A sample that left the field is drawn into `failed`.
///
/// # Errors
///
/// [`Error::MovedAway`](crate::Error::MovedAway); what is wrong with the input.
pub fn look_at_every_frame(
    loaded: &Loaded,
    block: &DataBlock,
    calibrated: &mut Calibrated,
    pictures: &Path,
    failed: &Path,
    context: &Context<'_>,
) -> Result<()> {
    let Some(reduced) = reduced(loaded, block, calibrated, context)? else {
        return Ok(());
    };
    let measured = analyze::measure(&reduced, &reduced.recipe, Some(failed), context)?;
    let reduction = &reduced.reduction;
    let view = ConditionsView {
        conditions: &measured.conditions,
        times_s: reduction.time.times_s(),
        step_nm: reduction.step_nm,
    };
    let figure = figures::of_conditions(&view, &calibrated.name)?;
    draw::write(
        std::slice::from_ref(&figure),
        pictures,
        &loaded.recipe.output,
        context,
    )?;
    let conditions = ConditionsRecord::of(reduction, &measured.conditions);
    calibrated.conditions_text = conditions.text(reduction.step_nm);
    calibrated.record.conditions = Some(conditions);
    for warning in reduced.warnings.iter().chain(&measured.warnings) {
        if !calibrated.warnings.contains(warning) {
            calibrated.warnings.push(warning.clone());
            calibrated.record.warnings.push(warning.clone());
        }
    }
    Ok(())
}

/// The reduction in the output folder, where it is of this input, else one in memory; none where that is not possible.
fn reduced(
    loaded: &Loaded,
    block: &DataBlock,
    calibrated: &Calibrated,
    context: &Context<'_>,
) -> Result<Option<Reduced>> {
    let blocks = loaded.require_data()?;
    let folders = block_folders(loaded)?;
    let own = blocks
        .iter()
        .zip(&folders)
        .find(|(other, _)| *other == block);
    if let Some((_, folder)) = own
        && folder.join(REDUCTION).is_dir()
    {
        let mut recipe = loaded.recipe.clone();
        recipe.data = vec![block.clone()];
        let fingerprint = fingerprint::of(&input_paths(loaded, block))?;
        // One that is not complete, or of something else, is no reason to stop.
        if let Ok(reduced) = Reduced::open(folder, &recipe, 0)
            && reduced.fingerprint == fingerprint
        {
            return Ok(Some(reduced));
        }
    }
    let prepared = match prepare_with(loaded, block, calibrated.calibration.clone()) {
        Ok(prepared) => prepared,
        Err(error) => {
            context.note(format!(
                "drift, current and bad scans were not looked for: {error}"
            ));
            return Ok(None);
        }
    };
    let pass = Pass::new(loaded, block, prepared, context)?;
    if !pass.fits_in_memory(context) {
        context.note(
            "drift, current and bad scans were not looked for: the counts of all frames do not fit in memory; halotau run does it",
        );
        return Ok(None);
    }
    pass.into_memory(context).map(Some)
}
