//! How does a drawing become a page?

use krilla::Document;
use krilla::geom::Size;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};

use crate::error::{Error, Result};
use crate::raster::tree;
use crate::svg::Svg;

/// The drawing as a PDF file of one page of its size; shapes stay shapes, text is outlines.
///
/// # Errors
///
/// [`Error::Drawing`] where the drawing cannot be read or written.
pub fn pdf(svg: &Svg) -> Result<Vec<u8>> {
    let error = |problem: String| Error::Drawing {
        title: svg.title().to_owned(),
        problem,
    };
    let tree = tree(svg)?;
    // Both count in points of 1/72 inch.
    let size = Size::from_wh(svg.width() as f32, svg.height() as f32)
        .ok_or_else(|| error("its page has no area".to_owned()))?;
    let mut document = Document::new();
    let mut page = document.start_page_with(PageSettings::new(size));
    let mut surface = page.surface();
    surface
        .draw_svg(&tree, size, SvgSettings::default())
        .ok_or_else(|| error("it holds shapes that a page cannot".to_owned()))?;
    surface.finish();
    page.finish();
    document
        .finish()
        .map_err(|source| error(format!("{source:?}")))
}
