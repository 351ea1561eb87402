//! All temperatures again, as if each had been measured with the record, the step and the dose that all of them have.

use std::path::Path;

use halotau::Error as CoreError;
use halotau::alike::{self, Alike, Common, Own};
use halotau::analysis::Analysis;
use halotau::conditions::Measured;

use crate::context::{Context, Unit};
use crate::error::Result;
use crate::reduce::{REDUCTION, Reduced};
use crate::study::fits;
use crate::taken::Kept;

/// One temperature with the folder of its counts.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Where its reduction was kept.
    pub folder: &'a Path,
    /// As measured.
    pub analysis: &'a Analysis,
    /// Its conditions, where they were measured before.
    pub measured: Option<&'a Measured>,
}

/// Mean counts of a pixel and scan in the band of V, over the positions that are looked at.
fn counts(analysis: &Analysis) -> f64 {
    let (sum, n) = analysis
        .fluctuation
        .mean_counts
        .iter()
        .filter(|counts| counts.is_finite())
        .fold((0.0, 0.0), |(sum, n), counts| (sum + counts, n + 1.0));
    sum / n
}

/// Analyzes the stored counts of all temperatures alike. `None` for one temperature, where the temperatures were measured alike, where a
/// reduction was not kept, and where what all have is too little.
///
/// # Errors
///
/// Damaged files.
pub fn alike(parts: &[Part<'_>], context: &Context<'_>) -> Result<Option<Alike>> {
    let own: Vec<Own<'_>> = parts
        .iter()
        .map(|part| Own {
            time: &part.analysis.time,
            counts: counts(part.analysis),
        })
        .collect();
    let Some(common) = Common::of(&own) else {
        return Ok(None);
    };
    let kept = parts
        .iter()
        .all(|part| part.folder.join(REDUCTION).is_dir());
    if !kept || !own.iter().any(|own| common.is_less_than(own)) {
        return Ok(None);
    }
    let mut temperatures = Vec::new();
    for (part, own) in parts.iter().zip(&own) {
        let recipe = &part.analysis.recipe;
        let reduced = Reduced::open(part.folder, recipe, 0)?;
        let reduction = &reduced.reduction;
        let kept = Kept::of(part.folder, &reduced, recipe);
        let again;
        let measured = match part.measured {
            Some(measured) => measured,
            None => {
                again = kept.measure(&reduced, recipe, None, context)?;
                &again
            }
        };
        let n_positions = (reduction.n_rows() * reduction.n_cols()) as u64;
        context.stage(
            format!("alike {}", reduction.name),
            n_positions,
            Unit::Positions,
        );
        // One count of a thinned series is kept or not by the seed.
        let share = [common.record_s, common.step_s, common.counts, own.counts];
        let kept = kept.alike(&share.map(f64::to_bits), recipe.seed);
        let mut taken = kept.taken(recipe, context);
        let found = context.install(|| {
            let done = |n| {
                context.advance(n);
                true
            };
            let load = reduced.loader();
            Ok(alike::analyze(
                reduction,
                recipe,
                measured,
                (own.counts, &common),
                &mut taken,
                &load,
                &done,
            ))
        })?;
        context.stage_done();
        match found {
            // Too little in common is an answer, and no fault of the run.
            Err(CoreError::TooFewTimes { .. }) => return Ok(None),
            found => temperatures.push(found?),
        }
        kept.keep(recipe, &taken, None, context);
        kept.sweep();
    }
    let level = parts
        .first()
        .map_or(0.95, |part| part.analysis.recipe.interval.level);
    let summaries = temperatures
        .iter()
        .map(|one| (one.temperature_k, &one.summary));
    Ok(Some(Alike {
        arrhenius: fits(&summaries.collect::<Vec<_>>(), level),
        common,
        equal_dose: common.has_equal_dose(&temperatures),
        temperatures,
    }))
}
