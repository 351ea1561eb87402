//! Which other files may a file lead to?
//!
//! Those in its own folder or below, by a relative name or by the last part of an absolute one: a copied
//! acquisition keeps working, and a file from elsewhere cannot choose what else is read.

use std::path::{Component, Path, PathBuf};

/// Where a link of a file leads.
///
/// # Errors
///
/// In words, where that is outside of the folder.
pub(super) fn inside(from: &Path, link: &str) -> Result<PathBuf, String> {
    let folder = from.parent().unwrap_or(Path::new(""));
    // Files come from all systems.
    let link = link.replace('\\', "/");
    let link = Path::new(&link);
    let is_absolute = link.is_absolute() || link.to_string_lossy().get(1..3) == Some(":/");
    if is_absolute {
        return match link.file_name() {
            Some(name) => Ok(folder.join(name)),
            None => Err(format!("it refers to {}, which is no file", link.display())),
        };
    }
    let is_below = link
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_below {
        return Err(format!(
            "it refers to {}, which is outside of its folder; put both files into one folder and link them there",
            link.display()
        ));
    }
    Ok(folder.join(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_folder() {
        let from = Path::new("data/scan_master.h5");
        let to = |link: &str| inside(from, link).ok();
        let found = |path: &str| Some(PathBuf::from(path));
        assert_eq!(to("scan_data_000001.h5"), found("data/scan_data_000001.h5"));
        assert_eq!(to("./sub/x.h5"), found("data/./sub/x.h5"));
        assert_eq!(to("/mnt/detector/x.h5"), found("data/x.h5"));
        assert_eq!(to(r"D:\images\x.h5"), found("data/x.h5"));
        assert_eq!(to("../secret.h5"), None);
        assert_eq!(to("sub/../../secret.h5"), None);
        assert_eq!(to("/"), None);
    }
}
