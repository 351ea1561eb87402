//! Which color stands for which number?
//!
//! All maps are perceptually uniform and readable with red-green color blindness and in gray print. The tables are
//! those that their authors published (see each constant in the source of this module).

use std::fmt;

mod tables;

/// A color of the sRGB space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// Paper.
    pub const WHITE: Self = Self(255, 255, 255);
    /// Ink.
    pub const BLACK: Self = Self(0, 0, 0);

    /// `0xRRGGBB`.
    pub const fn hex(value: u32) -> Self {
        Self((value >> 16) as u8, (value >> 8) as u8, value as u8)
    }

    /// Luma between 0 and 1, to choose between dark and light marks on it.
    pub fn luma(self) -> f64 {
        (0.299 * f64::from(self.0) + 0.587 * f64::from(self.1) + 0.114 * f64::from(self.2)) / 255.0
    }

    /// Mixed with white: 0 is white, 1 the color itself.
    pub fn tint(self, share: f64) -> Self {
        let mix = |channel: u8| (255.0 - share * (255.0 - f64::from(channel))).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// A color map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorMap {
    /// For relaxation times.
    Magma,
    /// For V.
    Viridis,
    /// For counts.
    Inferno,
    /// For two-time matrices.
    Cividis,
    /// For differences; its middle is zero.
    Vik,
    /// From white to black, for densities of points.
    Gray,
}

impl ColorMap {
    /// The 256 colors from low to high.
    pub fn colors(self) -> [Rgb; 256] {
        let table = match self {
            Self::Magma => &tables::MAGMA,
            Self::Viridis => &tables::VIRIDIS,
            Self::Inferno => &tables::INFERNO,
            Self::Cividis => &tables::CIVIDIS,
            Self::Vik => &tables::VIK,
            Self::Gray => {
                return std::array::from_fn(|level| {
                    let gray = 255 - level as u8;
                    Rgb(gray, gray, gray)
                });
            }
        };
        table.map(Rgb::hex)
    }

    /// Index of the color of a fraction between 0 and 1; outside it the ends, and 0 for NaN.
    pub fn index(fraction: f64) -> u8 {
        // The cast saturates and takes NaN to 0.
        (fraction * 256.0) as u8
    }

    /// The color of a fraction between 0 and 1.
    pub fn at(self, fraction: f64) -> Rgb {
        self.colors()[usize::from(Self::index(fraction))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_maps_brighten_steadily() {
        for map in [
            ColorMap::Magma,
            ColorMap::Viridis,
            ColorMap::Inferno,
            ColorMap::Cividis,
        ] {
            let colors = map.colors();
            // Steps of 16 entries: single steps are rounded to 8 bits.
            for pair in colors.chunks(16).collect::<Vec<_>>().windows(2) {
                assert!(pair[0][0].luma() < pair[1][0].luma(), "{map:?}");
            }
        }
    }

    #[test]
    fn fractions_outside_take_the_ends() {
        assert_eq!(ColorMap::index(-1.0), 0);
        assert_eq!(ColorMap::index(2.0), 255);
        assert_eq!(ColorMap::index(f64::NAN), 0);
        assert_eq!(ColorMap::Gray.at(1.0), Rgb::BLACK);
    }
}
