//! How does a drawing become pixels, and a map an image?

use halotau::ndarray::Array2;
use resvg::{tiny_skia, usvg};

use crate::color::Rgb;
use crate::error::{Error, Result};
use crate::svg::Svg;

/// The drawing as a PNG file of a resolution in dots an inch.
///
/// No font and no file of the machine is read: all text is outlines.
///
/// # Errors
///
/// [`Error::Drawing`] where the drawing cannot be read, [`Error::TooLarge`] where the image would not fit in memory.
pub fn png(svg: &Svg, dots_per_inch: f64) -> Result<Vec<u8>> {
    let tree = tree(svg)?;
    let width = (svg.width() * dots_per_inch / 72.0).round().max(1.0) as u32;
    let height = (svg.height() * dots_per_inch / 72.0).round().max(1.0) as u32;
    let too_large = || Error::TooLarge {
        title: svg.title().to_owned(),
        width,
        height,
    };
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or_else(too_large)?;
    let transform = tiny_skia::Transform::from_scale(
        width as f32 / tree.size().width(),
        height as f32 / tree.size().height(),
    );
    resvg::render(&tree, transform, &mut pixels.as_mut());
    // The page is white and opaque: three channels hold it.
    let rgb: Vec<u8> = pixels
        .data()
        .chunks_exact(4)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let per_meter = (dots_per_inch / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: per_meter,
        yppu: per_meter,
        unit: png::Unit::Meter,
    }));
    write(encoder, &rgb)?;
    Ok(bytes)
}

/// The shapes of a drawing.
pub(crate) fn tree(svg: &Svg) -> Result<usvg::Tree> {
    usvg::Tree::from_str(&svg.to_xml(), &usvg::Options::default()).map_err(|source| {
        Error::Drawing {
            title: svg.title().to_owned(),
            problem: source.to_string(),
        }
    })
}

/// Cells enlarged to at least this many image pixels along the longer side, for viewers that smooth images
/// whatever the drawing says.
const ENLARGED: usize = 480;

/// An image of palette indices, `[row, col]`, as a PNG file. Each cell becomes a square of whole pixels.
///
/// # Errors
///
/// [`Error::Png`].
pub(crate) fn palette_png(indices: &Array2<u8>, palette: &[Rgb]) -> Result<Vec<u8>> {
    let (n_rows, n_cols) = indices.dim();
    let zoom = (ENLARGED / n_rows.max(n_cols).max(1)).clamp(1, 16);
    let (width, height) = (n_cols.max(1) * zoom, n_rows.max(1) * zoom);
    let mut pixels = vec![0_u8; width * height];
    for (row, line) in pixels.chunks_exact_mut(width).enumerate() {
        for (col, pixel) in line.iter_mut().enumerate() {
            *pixel = indices
                .get((row / zoom, col / zoom))
                .copied()
                .unwrap_or_default();
        }
    }
    let colors: Vec<u8> = palette
        .iter()
        .flat_map(|color| [color.0, color.1, color.2])
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colors);
    write(encoder, &pixels)?;
    Ok(bytes)
}

fn write(encoder: png::Encoder<'_, &mut Vec<u8>>, pixels: &[u8]) -> Result<()> {
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}
