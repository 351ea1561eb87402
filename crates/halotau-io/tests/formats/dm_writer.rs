//! Writes DigitalMicrograph files from their layout, to test the reader and to hand to other programs.

/// A tag's content. Groups hold names with content; an empty name stands for the tag's number.
pub(crate) enum Tag {
    Group(Vec<(&'static str, Tag)>),
    U32(u32),
    F32(f32),
    F64(f64),
    Text(String),
    /// A struct of two 32-bit numbers.
    Pair(u32, u32),
    /// Type code, number and bytes of elements.
    Array(u64, usize, Vec<u8>),
}

/// Version 3 or 4, and the order of the bytes of data.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) version: u32,
    pub(crate) big_endian: bool,
}

pub(crate) const DM4: Dialect = Dialect {
    version: 4,
    big_endian: false,
};

impl Dialect {
    /// A number of the structure.
    fn n(self, n: usize) -> Vec<u8> {
        if self.version == 3 {
            (n as u32).to_be_bytes().to_vec()
        } else {
            (n as u64).to_be_bytes().to_vec()
        }
    }

    /// Bytes of data in the file's order.
    fn data(self, little: &[u8]) -> Vec<u8> {
        let mut bytes = little.to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn group(self, tags: &[(&'static str, Tag)]) -> Vec<u8> {
        let mut bytes = vec![1, 0];
        bytes.extend(self.n(tags.len()));
        for (name, tag) in tags {
            let (kind, content) = match tag {
                Tag::Group(tags) => (20, self.group(tags)),
                tag => (21, self.value(tag)),
            };
            bytes.push(kind);
            bytes.extend((name.chars().count() as u16).to_be_bytes());
            bytes.extend(name.chars().map(|c| c as u8));
            if self.version == 4 {
                bytes.extend(self.n(content.len()));
            }
            bytes.extend(content);
        }
        bytes
    }

    fn value(self, tag: &Tag) -> Vec<u8> {
        let (info, data) = match tag {
            Tag::Group(_) => unreachable!("groups are written by themselves"),
            Tag::U32(value) => (vec![5], self.data(&value.to_le_bytes())),
            Tag::F32(value) => (vec![6], self.data(&value.to_le_bytes())),
            Tag::F64(value) => (vec![7], self.data(&value.to_le_bytes())),
            Tag::Text(text) => {
                let units: Vec<u16> = text.encode_utf16().collect();
                let data = units.iter().flat_map(|unit| self.data(&unit.to_le_bytes()));
                (vec![20, 4, units.len()], data.collect())
            }
            Tag::Pair(first, second) => {
                let data = [first, second].map(|value| self.data(&value.to_le_bytes()));
                (vec![15, 0, 2, 0, 5, 0, 5], data.concat())
            }
            Tag::Array(code, n, bytes) => {
                let width = bytes.len() / n;
                let data = bytes.chunks(width).flat_map(|word| self.data(word));
                (vec![20, *code as usize, *n], data.collect())
            }
        };
        let mut bytes = b"%%%%".to_vec();
        bytes.extend(self.n(info.len()));
        for n in info {
            bytes.extend(self.n(n));
        }
        bytes.extend(data);
        bytes
    }

    /// A whole file.
    pub(crate) fn file(self, root: &[(&'static str, Tag)]) -> Vec<u8> {
        let root = self.group(root);
        let mut bytes = self.version.to_be_bytes().to_vec();
        bytes.extend(self.n(root.len() + 8));
        bytes.extend(u32::from(!self.big_endian).to_be_bytes());
        bytes.extend(root);
        bytes.extend([0; 8]);
        bytes
    }
}

/// An image as `ImageList` holds it.
pub(crate) struct ImageSpec {
    /// `DataType` of the image.
    pub(crate) data_type: u32,
    /// Type of the array of pixels in the tags.
    pub(crate) array_code: u64,
    /// Lengths, fastest first.
    pub(crate) dims: Vec<u32>,
    /// Little-endian.
    pub(crate) pixels: Vec<u8>,
    /// Scale and units of each axis.
    pub(crate) axes: Vec<(f32, &'static str)>,
    /// Tags of `ImageTags`.
    pub(crate) tags: Vec<(&'static str, Tag)>,
}

impl ImageSpec {
    /// Little-endian 16-bit counts with the axes' lengths, fastest first.
    pub(crate) fn u16(dims: &[u32], samples: impl Iterator<Item = u16>) -> Self {
        Self {
            data_type: 10,
            array_code: 4,
            dims: dims.to_vec(),
            pixels: samples.flat_map(u16::to_le_bytes).collect(),
            axes: vec![(1.0, ""); dims.len()],
            tags: Vec::new(),
        }
    }

    fn into_tag(self) -> Tag {
        let axis = |(scale, units): (f32, &str)| {
            let tags = vec![
                ("Origin", Tag::F32(0.0)),
                ("Scale", Tag::F32(scale)),
                ("Units", Tag::Text(units.to_owned())),
            ];
            ("", Tag::Group(tags))
        };
        let brightness = vec![
            ("Origin", Tag::F32(0.0)),
            ("Scale", Tag::F32(1.0)),
            ("Units", Tag::Text(String::new())),
        ];
        let n_pixels = self.dims.iter().product::<u32>() as usize;
        let depth = (self.pixels.len() / n_pixels) as u32;
        let dims = self.dims.iter().map(|&len| ("", Tag::U32(len))).collect();
        let axes = self.axes.into_iter().map(axis).collect();
        let data = vec![
            (
                "Calibrations",
                Tag::Group(vec![
                    ("Brightness", Tag::Group(brightness)),
                    ("Dimension", Tag::Group(axes)),
                ]),
            ),
            ("Data", Tag::Array(self.array_code, n_pixels, self.pixels)),
            ("DataType", Tag::U32(self.data_type)),
            ("Dimensions", Tag::Group(dims)),
            ("PixelDepth", Tag::U32(depth)),
        ];
        Tag::Group(vec![
            ("ImageData", Tag::Group(data)),
            ("ImageTags", Tag::Group(self.tags)),
            ("Name", Tag::Text("scan".to_owned())),
            ("UniqueID", Tag::Group(vec![("", Tag::U32(1))])),
        ])
    }

    /// A file of a thumbnail and this image, as the program writes it.
    pub(crate) fn file(self, dialect: Dialect) -> Vec<u8> {
        let thumbnail = Self {
            data_type: 23,
            array_code: 3,
            dims: vec![2, 2],
            pixels: vec![0; 16],
            axes: vec![(1.0, ""); 2],
            tags: Vec::new(),
        };
        let object = vec![("ImageSource", Tag::U32(0))];
        let source = vec![
            ("ClassName", Tag::Text("ImageSource:Simple".to_owned())),
            ("Id", Tag::Group(vec![("", Tag::U32(0))])),
            ("ImageRef", Tag::U32(1)),
        ];
        let small = vec![
            ("ImageIndex", Tag::U32(0)),
            ("SourceSize_Pixels", Tag::Pair(2, 2)),
        ];
        let list = |tag| Tag::Group(vec![("", tag)]);
        dialect.file(&[
            ("DocumentObjectList", list(Tag::Group(object))),
            (
                "ImageList",
                Tag::Group(vec![("", thumbnail.into_tag()), ("", self.into_tag())]),
            ),
            ("ImageSourceList", list(Tag::Group(source))),
            ("Thumbnails", list(Tag::Group(small))),
        ])
    }

    /// A file of nothing but the pixels, their type and their dimensions.
    pub(crate) fn smallest_file(self, dialect: Dialect) -> Vec<u8> {
        let n_pixels = self.dims.iter().product::<u32>() as usize;
        let dims = self.dims.iter().map(|&len| ("", Tag::U32(len))).collect();
        let data = vec![
            ("Data", Tag::Array(self.array_code, n_pixels, self.pixels)),
            ("DataType", Tag::U32(self.data_type)),
            ("Dimensions", Tag::Group(dims)),
        ];
        let image = Tag::Group(vec![("ImageData", Tag::Group(data))]);
        dialect.file(&[("ImageList", Tag::Group(vec![("", image)]))])
    }
}
