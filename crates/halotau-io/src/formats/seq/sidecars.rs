//! What lies beside a StreamPix file?
//!
//! ```text
//! NAME.seq · NAME.seq.dark.mrc · NAME.seq.gain.mrc · NAME.seq.metadata · NAME.seq.Config.Metadata.xml
//! NAME_Top_13-49-04.160.seq · NAME_Bottom_13-49-04.196.seq      the halves of a split sensor share the sidecars of NAME
//! ```

use std::path::{Path, PathBuf};

use halotau::series::{SampleType, Samples};

use crate::error::{Error, Result};
use crate::file_names::files_beside;
use crate::formats::mrc::MrcHeader;
use crate::positioned::PositionedFile;
use crate::sample_bytes::zeroed;
use crate::stream::corrected::References;

/// Real files have 4 KB, and a few bytes for each bad pixel.
const MOST_CONFIG_BYTES: u64 = 4 << 20;

/// A half of a split sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Top,
    Bottom,
}

impl Half {
    fn word(self) -> &'static str {
        match self {
            Self::Top => "_Top_",
            Self::Bottom => "_Bottom_",
        }
    }

    /// The half that a file's name says, and the name that both share.
    fn of(name: &str) -> Option<(Self, &str)> {
        [Self::Top, Self::Bottom]
            .into_iter()
            .find_map(|half| Some((half, &name[..name.rfind(half.word())?])))
    }
}

/// The files of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acquisition {
    /// The file, or the top half.
    pub(super) main: PathBuf,
    /// The bottom half.
    pub(super) bottom: Option<PathBuf>,
    /// Whether this is a half whose other half is missing.
    pub(super) is_half: bool,
}

impl Acquisition {
    /// The recording that a file of frames belongs to.
    pub(super) fn of(path: &Path) -> Self {
        let alone = |is_half| Self {
            main: path.to_owned(),
            bottom: None,
            is_half,
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((_, shared)) = name.and_then(Half::of) else {
            return alone(false);
        };
        let [tops, bottoms] = [Half::Top, Half::Bottom].map(|half| {
            let begin = format!("{shared}{}", half.word());
            files_beside(path, |name| name.starts_with(&begin) && is_frames(name))
        });
        // Halves of the same number belong together: their names differ by the time at which each was saved.
        let same = |path: &PathBuf| path.file_name() == Some(name.unwrap_or_default().as_ref());
        let number = tops.iter().position(same).or(bottoms.iter().position(same));
        match number.and_then(|number| Some((tops.get(number)?, bottoms.get(number)?))) {
            Some((top, bottom)) => Self {
                main: top.clone(),
                bottom: Some(bottom.clone()),
                is_half: false,
            },
            None => alone(true),
        }
    }

    /// The name that sidecars begin with.
    fn shared_name(&self) -> String {
        let name = crate::open::display_name(&self.main);
        match Half::of(&name) {
            Some((_, shared)) => shared.to_owned(),
            None => name.split(".seq").next().unwrap_or_default().to_owned(),
        }
    }

    /// A sidecar of an ending such as `.dark.mrc`.
    fn sidecar(&self, ending: &str) -> Option<PathBuf> {
        let name = crate::open::display_name(&self.main);
        let of_shared = format!("{}.seq{ending}", self.shared_name());
        [of_shared, format!("{name}{ending}")]
            .iter()
            .map(|name| self.main.with_file_name(name))
            .find(|path| path.is_file())
    }

    /// A reference of the recording; where it has none, the only one in its folder, which is often kept from an earlier recording.
    fn reference(&self, ending: &str) -> Option<PathBuf> {
        self.sidecar(ending).or_else(|| {
            let all = files_beside(&self.main, |name| name.ends_with(&format!(".seq{ending}")));
            <[PathBuf; 1]>::try_from(all).ok().map(|[only]| only)
        })
    }

    pub(super) fn dark(&self) -> Option<PathBuf> {
        self.reference(".dark.mrc")
    }

    pub(super) fn gain(&self) -> Option<PathBuf> {
        self.reference(".gain.mrc")
    }

    /// Numbers of frames that the recorder lists as lost.
    pub(super) fn n_lost(&self) -> Result<usize> {
        let Some(path) = self.sidecar(".Missing_Frame_Info.txt") else {
            return Ok(0);
        };
        let bytes = PositionedFile::open(&path)?.start(MOST_CONFIG_BYTES as usize)?;
        let text = String::from_utf8_lossy(&bytes);
        let list = text.split_once(':').map_or("", |(_, list)| list);
        let numbers = list.split(|c: char| !c.is_ascii_digit());
        Ok(numbers.filter(|number| !number.is_empty()).count())
    }

    /// What the camera's configuration says.
    pub(super) fn config(&self) -> Result<Option<Config>> {
        let Some(path) = self.sidecar(".Config.Metadata.xml") else {
            return Ok(None);
        };
        let file = PositionedFile::open(&path)?;
        if file.len() > MOST_CONFIG_BYTES {
            return Err(Error::BadContainer {
                path,
                format: super::FORMAT.name,
                problem: format!(
                    "the configuration has {} bytes; {MOST_CONFIG_BYTES} are far more than any needs",
                    file.len()
                ),
            });
        }
        let bytes = file.start(file.len() as usize)?;
        Ok(Some(Config::parse(&String::from_utf8_lossy(&bytes))))
    }
}

/// Whether a name is that of a file of frames.
fn is_frames(name: &str) -> bool {
    name.ends_with(".seq")
}

/// The recording that a sidecar belongs to; of a reference without one, the first recording of its folder.
pub(super) fn main_of_sidecar(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (shared, ending) = name.split_once(".seq.")?;
    if ending == "seq" {
        return None;
    }
    let is_reference = matches!(ending, "dark.mrc" | "gain.mrc");
    let begins = |name: &str| {
        let rest = name.strip_prefix(shared);
        rest.is_some_and(|rest| {
            rest.starts_with(".seq") || Half::of(rest).is_some_and(|(_, before)| before.is_empty())
        })
    };
    let own = files_beside(path, |name| is_frames(name) && begins(name));
    let any = || {
        if is_reference {
            files_beside(path, is_frames)
        } else {
            Vec::new()
        }
    };
    let first = own
        .into_iter()
        .next()
        .or_else(|| any().into_iter().next())?;
    Some(Acquisition::of(&first).main)
}

/// What `Config.Metadata.xml` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Config {
    /// Half frames in a record of a split sensor.
    pub(super) prebuffer: Option<u64>,
    /// Rows of a whole frame.
    pub(super) n_rows: Option<u64>,
    pub(super) voltage_kv: Option<f64>,
    /// Bad rows, columns and pixels that are listed.
    pub(super) n_defects: usize,
}

impl Config {
    fn parse(text: &str) -> Self {
        let text = without_comments(text);
        let value = |name: &str| {
            let start = text.find(&format!("<{name} "))?;
            let element = &text[start..start + text[start..].find('>')?];
            let value = element.split_once("Value=\"")?.1;
            value.split('"').next()?.trim().parse::<f64>().ok()
        };
        let count = |name: &str| {
            let value = value(name).filter(|&v| v >= 1.0 && v.fract() == 0.0 && v < 1e9)?;
            Some(value as u64)
        };
        Self {
            prebuffer: count("SegmentPreBuffer"),
            n_rows: count("ImageSizeY"),
            voltage_kv: value("HT").filter(|&v| v > 0.0 && v < 5000.0),
            n_defects: text.matches("<Defect ").count(),
        }
    }
}

/// The text without `<!-- -->`, in which the program explains its elements by examples.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some((_, rest)) = part.split_once("-->") {
            kept.push_str(rest);
        }
    }
    kept
}

/// Reads references and compares their size with that of a frame.
pub(super) fn references(
    dark: Option<&Path>,
    gain: Option<&Path>,
    (n_rows, n_cols): (usize, usize),
) -> Result<References> {
    let read = |path: Option<&Path>| {
        path.map(|path| reference(path, n_rows as u64, n_cols as u64))
            .transpose()
    };
    Ok(References {
        dark: read(dark)?,
        gain: read(gain)?,
    })
}

fn reference(path: &Path, n_rows: u64, n_cols: u64) -> Result<Vec<f32>> {
    let bad = |problem: String| Error::BadContainer {
        path: path.to_owned(),
        format: "dark or gain reference",
        problem,
    };
    let file = PositionedFile::open(path)?;
    let header = MrcHeader::read(&file, true)?;
    if (header.n_rows, header.n_cols) != (n_rows, n_cols) {
        return Err(bad(format!(
            "it has {} x {} pixels, and the frames {n_rows} x {n_cols}",
            header.n_rows, header.n_cols
        )));
    }
    if header.pixel.sample_type() != SampleType::F32 {
        return Err(bad(format!(
            "its pixels are {}, not f32",
            header.pixel.sample_type()
        )));
    }
    // The count of frames in its header is not to be trusted; the first frame is the reference.
    let mut pixels = zeroed(SampleType::F32, (n_rows * n_cols) as usize);
    header.frames(file).for_each(0..1, |frame| {
        header.decode(frame, &mut pixels, 0);
        Ok(())
    })?;
    match pixels {
        Samples::F32(pixels) => Ok(pixels),
        other => Err(bad(format!("its pixels are {}", other.sample_type()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_without_their_comments() {
        let text = r#"<C><BadPixels><!-- <Defect Column="1" Row="2" /> --><BadPixelMap Rows="4" Columns="4">
            <Defect Column="3" /></BadPixelMap></BadPixels><FileInfo><HT Value="200" /><ImageSizeY Value="8" />
            <SegmentPreBuffer Value="2" /></FileInfo></C>"#;
        let expected = Config {
            prebuffer: Some(2),
            n_rows: Some(8),
            voltage_kv: Some(200.0),
            n_defects: 1,
        };
        assert_eq!(Config::parse(text), expected);
        assert_eq!(
            Config::parse("<HT <!-- <SegmentPreBuffer"),
            Config::default()
        );
    }

    #[test]
    fn names_say_which_half() {
        let half = Half::of("Movie_00785_Bottom_13-49-04.196.seq");
        assert_eq!(half, Some((Half::Bottom, "Movie_00785")));
        assert_eq!(Half::of("Movie_00785.seq"), None);
    }
}
