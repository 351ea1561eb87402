//! What does each figure show, in words? Captions with the conventions that the numbers depend on, from the recipe.

use halotau::analysis::{Analysis, Study};
use halotau::conditions::Conditions;
use halotau::correlate::{Flattening, Normalization};
use halotau::drift::{Course, DriftOrigin};
use halotau::fluctuate::{FluctuateSettings, Grouping, Noise};
use halotau::recipe::Recipe;
use halotau::relax::{Baseline, RelaxSettings, Stretch, Weights};

use crate::figures::average_name;
use crate::scale::{short_number, significant};

fn range(range: halotau::axes::QRange) -> String {
    format!(
        "{} to {} nm⁻¹",
        short_number(range.min_per_nm),
        short_number(range.max_per_nm)
    )
}

/// "95 %"
pub(crate) fn level(recipe: &Recipe) -> String {
    format!(
        "{} %",
        short_number((1000.0 * recipe.interval.level).round() / 10.0)
    )
}

/// How G was normalized, on which ring.
pub(crate) fn correlation(recipe: &Recipe, flattening: Option<Flattening>) -> String {
    let how = match recipe.dynamics.normalization {
        Normalization::Ring => "the mean over the ring in each scan".to_owned(),
        Normalization::Flattened => format!(
            "the mean over the ring in each scan after division by {}",
            match flattening.unwrap_or(recipe.dynamics.flattening) {
                Flattening::Pixel => "the ensemble-mean pattern, pixel by pixel",
                Flattening::Radial => "the ensemble-mean radial profile",
                Flattening::Auto => "the ensemble-mean pattern",
            }
        ),
        Normalization::PerPixel => {
            "each pixel's mean over the two time windows (fitted with the finite-window model)"
                .to_owned()
        }
    };
    format!(
        "correlation of the ring {} (s = 1/d, no 2π), normalized by {how}; lag 0 is left out",
        range(recipe.dynamics.q_range_per_nm)
    )
}

/// The fitted form with its conventions.
pub(crate) fn fit(settings: &RelaxSettings) -> String {
    let k = short_number(settings.exponent_factor.value());
    let stretch = match settings.stretch {
        Stretch::Fixed(value) => format!("γ = {} held fixed", short_number(value)),
        Stretch::Free { min, max } => format!(
            "γ fitted between {} and {}",
            short_number(min),
            short_number(max)
        ),
    };
    let baseline = match settings.baseline {
        Baseline::One => "baseline 1",
        Baseline::Free => "baseline fitted",
        Baseline::DistantPairs => "baseline from distant pairs of positions",
    };
    let weights = match settings.weights {
        Weights::None => "all lags weighted alike",
        Weights::LagCount => "lags weighted by their number of pairs of scans",
    };
    let factor = if k == "2" {
        "factor 2 in the exponent: τ is the relaxation time of the field"
    } else {
        "no factor 2 in the exponent: τ is the relaxation time of the intensity"
    };
    let shown = if k == "1" { String::new() } else { k };
    format!(
        "g(t) = baseline + contrast · exp[−{shown}(t/τ)^γ] ({factor}), {stretch}, {baseline}, {weights}, lags up to {} % of the record",
        short_number((100.0 * settings.lag_fraction).round())
    )
}

/// What V is.
pub(crate) fn variance(settings: &FluctuateSettings) -> String {
    let grouping = match settings.grouping {
        Grouping::PerRing => "per ring of one pixel width, averaged over the band",
        Grouping::Band => "over the whole band at once (holds the shape of the halo as well)",
    };
    let noise = match settings.noise {
        Noise::None => "not corrected for shot noise".to_owned(),
        Noise::Counting => format!(
            "shot noise subtracted as gain · excess / mean counts (gain {}, excess {})",
            short_number(settings.gain),
            short_number(settings.excess_factor)
        ),
        Noise::FiniteCounting => format!(
            "shot noise subtracted as gain · excess / mean counts · (1 − 1/pixels) (gain {}, excess {})",
            short_number(settings.gain),
            short_number(settings.excess_factor)
        ),
        Noise::Factorial => "free of shot noise by factorial moments".to_owned(),
        Noise::TwoFrame => "free of shot noise by correlating consecutive scans".to_owned(),
    };
    format!(
        "V = ⟨I²⟩/⟨I⟩² − 1 over azimuth in {}, {grouping}, averaged over time, {noise}",
        range(settings.q_range_per_nm)
    )
}

/// Probe, scale bar and marks that all maps share.
fn map_marks(recipe: &Recipe, step_known: bool) -> String {
    let mut text = String::from("Hatched gray: no number.");
    let fwhm = recipe.probe_fwhm_nm();
    if fwhm.is_finite() && step_known {
        text.push_str(&format!(
            " Circle: full width at half maximum of the probe, {} nm, to scale.",
            short_number(fwhm)
        ));
    }
    if !step_known {
        text.push_str(" The scan step is not known: lengths are in positions.");
    }
    text
}

fn first(study: &Study) -> Option<&Analysis> {
    study.analyses.first()
}

fn of_study(study: &Study, words: impl Fn(&Analysis) -> String) -> String {
    first(study).map(words).unwrap_or_default()
}

fn is_step_known(analysis: &Analysis) -> bool {
    analysis.step_nm.is_finite() && analysis.step_nm > 0.0
}

/// Caption of [`tau_maps`](crate::figures::tau_maps).
pub fn tau_maps(study: &Study) -> String {
    of_study(study, |analysis| {
        let recipe = &analysis.recipe;
        format!(
            "Relaxation time τ of every position, on one logarithmic scale that leaves out 1 % of the positions at either end. \
             Fit of {}; {}. Dots: τ is beyond the record or its {} interval is open above, so that it is a lower limit. \
             Triangles at the color bar: length of the records. {}",
            fit(&recipe.relaxation),
            correlation(recipe, analysis.flattening),
            level(recipe),
            map_marks(recipe, is_step_known(analysis))
        )
    })
}

/// Caption of [`fluctuation_maps`](crate::figures::fluctuation_maps).
pub fn fluctuation_maps(study: &Study) -> String {
    of_study(study, |analysis| {
        format!(
            "Azimuthal variance V of every position, on one scale that leaves out 1 % of the positions at either end. {}. {}",
            variance(&analysis.recipe.structure),
            map_marks(&analysis.recipe, is_step_known(analysis))
        )
    })
}

/// Caption of [`averages_against_temperature`](crate::figures::averages_against_temperature).
pub fn averages_against_temperature(study: &Study) -> String {
    of_study(study, |analysis| {
        format!(
            "{} of τ and mean of V against temperature. Thin bars with caps: {} intervals from leaving out azimuthal sectors. \
             Wide pale bars: 16th to 84th percentile of τ, and plus and minus one standard deviation of V, over positions; \
             both hold the noise of single positions. Positions without a number are left out; lower limits of τ enter at their estimates.",
            capitalized(average_name(study.headline)),
            level(&analysis.recipe)
        )
    })
}

/// Caption of [`scatter`](crate::figures::scatter).
pub fn scatter(study: &Study) -> String {
    let crowded = study.analyses.iter().any(|a| a.summary.n_valid > 3000);
    let drawn = if crowded {
        "Gray: density of positions (square root of their number). The last panel shows an even choice of the positions of each temperature."
    } else {
        "Dots: positions; open circles: positions whose τ is a lower limit."
    };
    format!(
        "Azimuthal variance V against relaxation time τ. {drawn} ρ: Spearman's rank correlation of n positions within one \
         temperature; temperatures are not pooled, because a common trend with temperature would make any two quantities \
         correlate. No p-value is given: neighboring positions share the probe, and both numbers come from the same speckles."
    )
}

/// Caption of [`example_curves`](crate::figures::example_curves).
pub fn example_curves(analysis: &Analysis) -> String {
    format!(
        "Correlation g(t) of a slow and a fast position, (row, column), and their patterns at the times given. Points: data, thinned where \
         they would overlap. Bands: plus and minus one standard error from leaving out azimuthal sectors. Lines: fit of {}; dashed beyond \
         the fitted lags. Brackets: {} intervals. {}.",
        fit(&analysis.recipe.relaxation),
        level(&analysis.recipe),
        capitalized(&correlation(&analysis.recipe, analysis.flattening))
    )
}

/// Caption of [`two_time`](crate::figures::two_time).
pub fn two_time(analysis: &Analysis) -> String {
    format!(
        "Two-time correlation G(t₁, t₂) of the mean over valid positions and of single positions, on one scale; {}. \
         The diagonal, which holds shot noise, is blank. Parallel contours along the diagonal mean that the dynamics do not change with time; \
         steps along rows and columns mean sudden changes.",
        correlation(&analysis.recipe, analysis.flattening)
    )
}

/// Caption of [`dynamics_in_time`](crate::figures::dynamics_in_time).
pub fn dynamics_in_time(analysis: &Analysis) -> String {
    let dynamics = analysis.dynamics.as_ref();
    let says = dynamics.map_or_else(String::new, |found| {
        let aging = found.aging.iter().map(|part| part.sentence());
        let in_time = found.fluctuations.iter().map(|part| part.sentence());
        aging.chain(in_time).collect::<Vec<_>>().join(" ")
    });
    format!(
        "Left: mean of G − 1 over the region at fixed lags against the age (t₁ + t₂)/2, over its mean at the shortest lag. Middle: τ of the \
         mean curve of parts of the record. Right: variance over time of G of single positions, as seen with a finite number of speckles, and from the \
         product of two halves of the directions, which has no speckle noise in its mean. Bars and bands: {} intervals from blocks of the scan. {says}",
        level(&analysis.recipe)
    )
}

/// Caption of [`dynamics_in_space`](crate::figures::dynamics_in_space).
pub fn dynamics_in_space(analysis: &Analysis) -> String {
    let four = analysis
        .dynamics
        .as_ref()
        .and_then(|found| found.four_point.as_ref());
    let says = four.map_or_else(String::new, |four| four.sentence());
    format!(
        "Four-point functions of the overlap of each position with itself after a lag, whatever its contrast, from products of two halves \
         of the directions, so that speckle noise is not in their mean. χ₄: sum over the area, in probe areas. G₄: against distance, with \
         what uncorrelated places give under the probe. S₄: against spatial frequency. Bars: {} intervals from blocks of the scan. {says}",
        level(&analysis.recipe)
    )
}

/// Caption of [`dynamics_form`](crate::figures::dynamics_form).
pub fn dynamics_form(analysis: &Analysis) -> String {
    let dynamics = analysis.dynamics.as_ref();
    let says = dynamics.map_or_else(String::new, |found| {
        let stretch = found.stretch.iter().map(|part| part.sentence());
        let rings = found.rings.iter().map(|part| part.sentence());
        stretch.chain(rings).collect::<Vec<_>>().join(" ")
    });
    format!(
        "Stretch exponent of mean curves: of positions that are sorted by τ of one half of the directions and averaged from the other, of all \
         positions, and of all with the spread of τ between them taken out. τ of rings of Q; gray: mean counts of the ring, the halo. Bars: {} \
         intervals from blocks of the scan. {says}",
        level(&analysis.recipe)
    )
}

/// Caption of [`arrhenius`](crate::figures::arrhenius).
pub fn arrhenius(study: &Study) -> String {
    of_study(study, |analysis| {
        let glass = match analysis.recipe.sample.glass_transition_k {
            Some(glass_transition) => format!(
                " Dashed: glass transition, {} K.",
                short_number(glass_transition)
            ),
            None => String::new(),
        };
        let tau = study
            .arrhenius
            .iter()
            .find(|fit| fit.average == study.headline)
            .map(|fit| {
                format!(
                    " ln(τ∞/s) = {} ± {} (standard error).",
                    significant(fit.ln_tau_infinite, 3),
                    significant(fit.ln_tau_infinite_error, 2)
                )
            })
            .unwrap_or_default();
        format!(
            "Arrhenius plot, τ = τ∞ exp(E/RT). Line and {level} band: weighted fit to the {average} of τ at each temperature; bars: \
             its standard error. Open symbols: the other averages.{glass} Right: activation energy from each average with its {level} \
             interval, and from the {average} with one temperature left out.{tau}",
            level = level(&analysis.recipe),
            average = average_name(study.headline),
        )
    })
}

/// Caption of [`mean_pattern`](crate::figures::mean_pattern).
pub fn mean_pattern(recipe: &Recipe) -> String {
    format!(
        "Mean diffraction pattern on a logarithmic scale and its mean over azimuth. Solid ring: dynamics, {}; dashed ring: structure, {}. \
         Cross: center; hatched: masked pixels. Spatial frequency is q = 1/d, without 2π.",
        range(recipe.dynamics.q_range_per_nm),
        range(recipe.structure.q_range_per_nm)
    )
}

/// Caption of [`conditions`](crate::figures::conditions); `at` is the temperature or the name of the series.
pub fn conditions(conditions: &Conditions, at: &str) -> String {
    let drift = match &conditions.drift {
        None => "Drift was not looked for.".to_owned(),
        Some(drift) => {
            let of = |course: &Course| match course.origin {
                DriftOrigin::Unknown => "not measured".to_owned(),
                _ => format!(
                    "{} ± {}",
                    significant(course.range(), 2),
                    significant(course.rms_error(), 1)
                ),
            };
            format!(
                "Drift: displacement of the sample under the scan with its standard error, range {} scan steps along rows and {} along \
                 columns; whole steps, drawn thin, are corrected by an index.",
                of(&drift.row),
                of(&drift.col)
            )
        }
    };
    let n_masked = conditions.region.masked.iter().filter(|&&m| m).count();
    format!(
        "Conditions at {at}. {drift} Beam current of each scan over the median; large crosses: scans left out, small ones: scans of which \
         frames are left out. Thickness proxy: ring intensity over its median. Hatched: {n_masked} positions that are not looked at.",
    )
}

/// Caption of [`quality`](crate::figures::quality).
pub fn quality(analysis: &Analysis) -> String {
    format!(
        "Quality at {} K. Flags: a note leaves the number standing with a condition; a lower limit means that τ is beyond the record of {} s; \
         without a number a position is left out of every statistic. A position can have several flags. Residual: root mean square of g minus fit. \
         Below: counts of each scan over their mean.",
        short_number(analysis.temperature_k),
        short_number(analysis.time.record_s().round())
    )
}

pub(crate) fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
