//! Where do searches for the best tau and stretch start?

/// So many local minima of the coarse scan are followed to their ends. Of 5000 synthetic curves, two end lower from the
/// second lowest start than from the lowest, and none from a later one.
pub(super) const MAX_STARTS: usize = 4;

/// A place of the coarse scan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) cost: f64,
    pub(super) ln_tau: f64,
    pub(super) ln_stretch: f64,
}

/// Local minima of the scan over ln tau and ln stretch, the lowest first.
pub(super) fn lowest_starts(rows: &[Vec<Start>]) -> Vec<Start> {
    let mut starts = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let row_before = index.checked_sub(1).map(|before| &rows[before]);
        for (place, start) in row.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| &row[before]);
            let across_before = || row_before.and_then(|row| nearest(row, start.ln_tau));
            let after = row.get(place + 1);
            let across_after = || {
                rows.get(index + 1)
                    .and_then(|row| nearest(row, start.ln_tau))
            };
            // Of equal neighbors only the first is a start.
            if before.is_none_or(|other| start.cost < other.cost)
                && after.is_none_or(|other| start.cost <= other.cost)
                && across_before().is_none_or(|other| start.cost < other.cost)
                && across_after().is_none_or(|other| start.cost <= other.cost)
            {
                starts.push(*start);
            }
        }
    }
    starts.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    starts.truncate(MAX_STARTS);
    starts
}

/// The place of a row nearest to a tau; rows run from the highest tau to the lowest.
fn nearest(row: &[Start], ln_tau: f64) -> Option<&Start> {
    let below = row.partition_point(|start| start.ln_tau > ln_tau);
    let neighbors = [below.checked_sub(1), Some(below)];
    let neighbors = neighbors.into_iter().flatten().filter_map(|n| row.get(n));
    neighbors.min_by(|a, b| {
        let distance = |start: &Start| (start.ln_tau - ln_tau).abs();
        distance(a).total_cmp(&distance(b))
    })
}
