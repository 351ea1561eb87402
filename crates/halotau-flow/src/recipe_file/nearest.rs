//! Which known word was meant?

/// The known word nearest to a given one, if any is near enough to be a slip or an abbreviation.
pub(super) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    // A third of the letters wrong is no slip any more.
    let limit = (given.chars().count() / 3).max(1);
    let by_letters = known
        .iter()
        .map(|word| (distance(&given, word), *word))
        .filter(|(distance, _)| *distance <= limit)
        .min();
    // `q_range` for `q_range_per_nm`: all but the unit.
    let without_unit = known.iter().find(|word| {
        word.strip_prefix(given.as_str())
            .is_some_and(|unit| unit.starts_with('_'))
    });
    let by_start = || {
        let is_start = |word: &&&str| word.starts_with(&given) || given.starts_with(**word);
        known.iter().find(is_start).copied()
    };
    // `step_pm` for `step_nm`: same quantity, other unit.
    let by_quantity = || {
        let stem = given.rsplit_once('_')?.0;
        known
            .iter()
            .find(|word| {
                word.rsplit_once('_')
                    .is_some_and(|(quantity, _)| quantity == stem)
            })
            .copied()
    };
    without_unit
        .copied()
        .or_else(|| by_letters.map(|(_, word)| word))
        .or_else(by_start)
        .or_else(by_quantity)
}

/// Letters to insert, delete, replace or swap with their neighbor (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (row, &letter) in a.iter().enumerate() {
        let mut next = vec![row + 1];
        for (col, &other) in b.iter().enumerate() {
            let replaced = rows[row][col] + usize::from(letter != other);
            let mut best = replaced.min(rows[row][col + 1] + 1).min(next[col] + 1);
            if row > 0 && col > 0 && letter == b[col - 1] && a[row - 1] == other {
                best = best.min(rows[row - 1][col - 1] + 1);
            }
            next.push(best);
        }
        rows.push(next);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_abbreviations_and_other_units_are_found() {
        let known = [
            "q_rings",
            "q_range_per_nm",
            "normalization",
            "voltage_kv",
            "step_nm",
            "bin",
        ];
        for (given, meant) in [
            ("normalisation", "normalization"),
            ("normalizaiton", "normalization"),
            ("q_range", "q_range_per_nm"),
            ("voltage_kV", "voltage_kv"),
            ("step_pm", "step_nm"),
            ("step_angstrom", "step_nm"),
            ("bins", "bin"),
        ] {
            assert_eq!(nearest(given, &known), Some(meant), "{given}");
        }
        assert_eq!(nearest("temperature", &known), None);
    }

    #[test]
    fn a_swap_is_one_step() {
        assert_eq!(distance("tau", "tua"), 1);
        assert_eq!(distance("", "tau"), 3);
        assert_eq!(distance("stretch", "strech"), 1);
    }
}
