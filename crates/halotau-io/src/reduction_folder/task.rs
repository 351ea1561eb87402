//! Which shards does one of several processes do, and what are its files called?

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// One of several processes that fill a reduction together, as `3/10`: the third of ten.
///
/// # Example
///
/// ```
/// use halotau_io::reduction_folder::Task;
/// let task: Task = "3/10".parse().unwrap();
/// assert_eq!(task.share(25), 5..7);
/// assert!("11/10".parse::<Task>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    number: usize,
    of: usize,
}

impl Task {
    /// All tasks of a number of them.
    pub fn all(of: usize) -> impl Iterator<Item = Self> {
        (1..=of).map(move |number| Self { number, of })
    }

    /// Its part of some items in a row. The parts of all tasks are disjoint, cover the items, and differ by one item at most.
    pub fn share(&self, n_items: usize) -> Range<usize> {
        let edge = |number: usize| (n_items as u128 * number as u128 / self.of as u128) as usize;
        edge(self.number - 1)..edge(self.number)
    }

    /// What stands in the names of its files.
    pub(super) fn label(&self) -> String {
        format!("{}-of-{}", self.number, self.of)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            let (number, of) = (number.trim().parse().ok()?, of.trim().parse().ok()?);
            (1..=of).contains(&number).then_some(Self { number, of })
        });
        numbers.ok_or_else(|| {
            format!("\"{text}\" is no task; tasks count from 1, as in 3/10 for the third of ten")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_item_once() {
        for (n_items, of) in [(0, 1), (1, 3), (7, 3), (20, 20), (20, 7), (1000, 13)] {
            let shares: Vec<_> = Task::all(of).map(|task| task.share(n_items)).collect();
            let items: Vec<usize> = shares.iter().cloned().flatten().collect();
            assert!(items.into_iter().eq(0..n_items), "{n_items} in {of}");
            let longest = shares.iter().map(ExactSizeIterator::len).max();
            assert!(longest <= Some(n_items.div_ceil(of)));
        }
    }

    #[test]
    fn what_is_no_task_is_refused() {
        for text in ["", "3", "0/3", "4/3", "a/b", "1/0", "-1/3", "1/2/3"] {
            assert!(text.parse::<Task>().is_err(), "{text}");
        }
    }
}
