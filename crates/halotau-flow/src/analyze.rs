//! From a reduction to all results of a temperature, and the same data under the other profile's choices.

use std::path::Path;

use halotau::Error as CoreError;
use halotau::analysis::{Analysis, Estimate, MapSummary};
use halotau::conditions::{self, Measured};
use halotau::map;
use halotau::map::curves::Taken;
use halotau::recipe::{Profile, Recipe};
use halotau::relate::StructureDynamics;
use halotau::series::Warning;
use halotau_figure::figures;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Unit};
use crate::draw;
use crate::error::{Error, Result};
use crate::reduce::Reduced;
use crate::taken::Kept;

/// Measures the conditions of a reduction: drift, beam, scans that are none, region. All analyses of it share them. Where the sample
/// left the field, `pictures` is the folder for a picture that shows it.
///
/// # Errors
///
/// A drift, region or mask that makes no sense or leaves nothing to look at; damaged files.
pub fn measure(
    reduced: &Reduced,
    recipe: &Recipe,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Result<Measured> {
    let mask = match &recipe.scan.mask_file {
        Some(file) => Some(halotau_io::read_pattern(file)?.mapv(|value| value != 0.0)),
        None => None,
    };
    let reduction = &reduced.reduction;
    let measured = context.install(|| {
        let load = reduced.loader();
        Ok(conditions::measure(reduction, recipe, mask.as_ref(), &load))
    })?;
    measured.map_err(|error| match error {
        CoreError::DriftBeyondField { .. } => moved_away(reduced, error, pictures, context),
        other => other.into(),
    })
}

/// Draws the course of a sample that left the field.
fn moved_away(
    reduced: &Reduced,
    error: CoreError,
    pictures: Option<&Path>,
    context: &Context<'_>,
) -> Error {
    let mut picture = None;
    if let (CoreError::DriftBeyondField { drift, .. }, Some(folder)) = (&error, pictures) {
        let times_s = reduced.reduction.time.times_s();
        let figure = figures::moved_away(drift, times_s, &error.to_string());
        let output = &reduced.recipe.output;
        if let Err(error) = draw::write(std::slice::from_ref(&figure), folder, output, context) {
            return error;
        }
        picture = Some(folder.join(format!("{}.svg", figure.id)));
    }
    Error::MovedAway {
        name: reduced.reduction.name.clone(),
        source: Box::new(error),
        picture,
    }
}

/// Analyzes a reduction with the choices of a recipe, from what an earlier analysis took of the counts where that is kept.
///
/// # Errors
///
/// Rings that the reduction does not hold, a single scan, damaged files.
pub fn analyze(
    reduced: &Reduced,
    recipe: &Recipe,
    measured: &Measured,
    kept: &Kept,
    context: &Context<'_>,
) -> Result<Analysis> {
    let analysis = start_from(
        "analyze",
        (reduced, recipe),
        kept,
        context,
        |taken, done| {
            let load = reduced.loader();
            map::analyze_from(&reduced.reduction, recipe, measured, taken, &load, done)
        },
    )?;
    Ok(with_warnings(analysis, reduced))
}

/// Runs a stage over all positions from what is kept, and keeps what it took.
fn start_from<T: Send>(
    stage: &str,
    (reduced, recipe): (&Reduced, &Recipe),
    kept: &Kept,
    context: &Context<'_>,
    analyze: impl FnOnce(&mut Taken, &(dyn Fn(u64) -> bool + Sync)) -> halotau::Result<T> + Send,
) -> Result<T> {
    let reduction = &reduced.reduction;
    let mut taken = kept.taken(recipe, context);
    let before = taken.matrices.clone();
    if taken.curves.is_some() {
        let what = if taken.likelihoods.is_some() {
            "curves and likelihoods"
        } else {
            "curves"
        };
        context.note(format!(
            "{stage} {}: {what} of the analysis before are used, the counts are not read again",
            reduction.name
        ));
    }
    let n_positions = (reduction.n_rows() * reduction.n_cols()) as u64;
    context.stage(
        format!("{stage} {}", reduction.name),
        n_positions,
        Unit::Positions,
    );
    let made = context.install(|| {
        let done = |n| {
            context.advance(n);
            true
        };
        Ok(analyze(&mut taken, &done)?)
    })?;
    context.stage_done();
    kept.keep(recipe, &taken, before.as_ref(), context);
    Ok(made)
}

fn with_warnings(mut analysis: Analysis, reduced: &Reduced) -> Analysis {
    let mut warnings = reduced.warnings.clone();
    warnings.extend(halo_warning(reduced, &analysis.recipe));
    if analysis.n_ring_pixels < 50 {
        warnings.push(Warning::new(
            "W062",
            format!(
                "The correlated ring holds only {} pixels: a wider dynamics.q_range_per_nm lowers the scatter of tau.",
                analysis.n_ring_pixels
            ),
        ));
    }
    warnings.extend(static_structure_warning(&analysis));
    warnings.append(&mut analysis.warnings);
    analysis.warnings = warnings;
    analysis
}

/// Whether distant positions, which share no speckle, are alike along the ring.
fn static_structure_warning(analysis: &Analysis) -> Option<Warning> {
    let excess = analysis.distant_baseline? - 1.0;
    // Below 2 % of the contrast it changes tau by less than its own error.
    if excess < 0.02 * analysis.summary.contrast_mean.value.max(0.05) {
        return None;
    }
    let cure = if analysis.flattening.is_some() {
        "It is left after flattening by the radial profile: is the beam stop masked (pattern.mask), and is the center right?"
    } else {
        "Mask the beam stop (pattern.mask), check the center, or flatten (dynamics.normalization = \"flattened\")."
    };
    Some(Warning::new(
        "W043",
        format!(
            "Static structure along the ring (beam stop, center, gain) adds {excess:.3} to g at every lag, which lengthens \
             tau. {cure}"
        ),
    ))
}

/// Whether the halo is where the ring was put: a slip in the q scale is the commonest mistake.
fn halo_warning(reduced: &Reduced, recipe: &Recipe) -> Option<Warning> {
    let reduction = &reduced.reduction;
    let profile: Vec<f64> = (0..reduction.q_bins.len())
        .map(|bin| {
            let sum: f64 = reduction
                .q_sums
                .slice(halotau::ndarray::s![.., .., bin])
                .sum();
            sum / reduction.q_pixels[bin].max(1) as f64
        })
        .collect();
    // The direct beam or its stop's edge lies at small q; the halo is the highest local maximum beyond.
    let peak = (2..profile.len().saturating_sub(2))
        .filter(|&bin| {
            reduction.q_pixels[bin] > 20
                && profile[bin] >= profile[bin - 1]
                && profile[bin] > profile[bin + 1]
        })
        .filter(|&bin| profile[bin] > 1.05 * profile[bin - 2].min(profile[bin + 2]))
        .max_by(|&a, &b| profile[a].total_cmp(&profile[b]))?;
    let range = reduction.q_bins[peak];
    let peak_per_nm = (range.min_per_nm + range.max_per_nm) / 2.0;
    let band = recipe
        .dynamics
        .q_range_per_nm
        .union(&recipe.structure.q_range_per_nm);
    (!band.contains(peak_per_nm)).then(|| {
        Warning::new(
            "W063",
            format!(
                "The brightest halo of the mean pattern is at {peak_per_nm:.2} 1/nm, outside the analyzed {:.2}-{:.2} 1/nm: \
                 check pattern.q_step_per_nm, the center and the mask.",
                band.min_per_nm, band.max_per_nm
            ),
        )
    })
}

/// One temperature under the choices of both profiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Temperature.
    pub temperature_k: f64,
    /// With the choices of the paper.
    pub paper: ProfileNumbers,
    /// With the recommended choices.
    pub recommended: ProfileNumbers,
}

/// The numbers of one profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileNumbers {
    /// Median tau, seconds.
    pub tau_median_s: Estimate,
    /// Average of tau that the profile uses for the Arrhenius fit, seconds.
    pub tau_average_s: Estimate,
    /// tau of the position-averaged curve, seconds.
    pub tau_ensemble_s: Estimate,
    /// Standard deviation of ln tau over positions.
    pub ln_tau_sd: f64,
    /// Share of valid positions whose tau is only a lower limit.
    pub censored_share: f64,
    /// Mean V.
    pub fluctuation_mean: Estimate,
    /// Spearman's rho of tau and V.
    pub spearman: f64,
    /// Positions in it.
    pub n: usize,
}

impl ProfileNumbers {
    fn of(recipe: &Recipe, summary: &MapSummary, relation: &StructureDynamics) -> Self {
        Self {
            tau_median_s: summary.tau_median_s,
            tau_average_s: summary.tau_s(recipe.arrhenius.average),
            tau_ensemble_s: summary.tau_ensemble_s,
            ln_tau_sd: summary.ln_tau_sd,
            censored_share: summary.n_censored as f64 / summary.n_valid.max(1) as f64,
            fluctuation_mean: summary.fluctuation_mean,
            spearman: relation.spearman,
            n: relation.n,
        }
    }
}

/// Analyzes the same reduction with the choices of both profiles; `analysis` is used where it already has them.
///
/// # Errors
///
/// As [`analyze`].
pub fn compare(
    reduced: &Reduced,
    analysis: &Analysis,
    measured: &Measured,
    kept: &Kept,
    context: &Context<'_>,
) -> Result<Comparison> {
    let numbers = |profile| -> Result<ProfileNumbers> {
        let mut recipe = with_choices(&analysis.recipe, profile, reduced);
        if same_choices(&recipe, &analysis.recipe) {
            let relation = &analysis.relation;
            return Ok(ProfileNumbers::of(&recipe, &analysis.summary, relation));
        }
        // None of the numbers comes from the tests of the dynamics.
        recipe.dynamics.tests = false;
        let numbers = start_from(
            "compare",
            (reduced, &recipe),
            kept,
            context,
            |taken, done| {
                let load = reduced.loader();
                map::numbers_from(&reduced.reduction, &recipe, measured, taken, &load, done)
            },
        );
        let (summary, relation) = numbers?;
        Ok(ProfileNumbers::of(&recipe, &summary, &relation))
    };
    Ok(Comparison {
        temperature_k: analysis.temperature_k,
        paper: numbers(Profile::Paper)?,
        recommended: numbers(Profile::Recommended)?,
    })
}

/// The recipe with a profile's choices; its ring only where the reduction holds it and the user's own ring is one of
/// the profiles' rings.
fn with_choices(recipe: &Recipe, profile: Profile, reduced: &Reduced) -> Recipe {
    let mut other = recipe.clone();
    other.apply(profile);
    let own = recipe.dynamics.q_range_per_nm;
    let of_a_profile = [Profile::Paper, Profile::Recommended]
        .into_iter()
        .any(|profile| Recipe::of(profile).dynamics.q_range_per_nm == own);
    if !of_a_profile
        || reduced
            .reduction
            .annulus
            .ring(other.dynamics.q_range_per_nm)
            .is_err()
    {
        other.dynamics.q_range_per_nm = own;
    }
    other
}

fn same_choices(a: &Recipe, b: &Recipe) -> bool {
    a.dynamics == b.dynamics
        && a.relaxation == b.relaxation
        && a.structure == b.structure
        && a.arrhenius == b.arrhenius
}
