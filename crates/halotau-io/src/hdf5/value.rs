//! Which numbers and texts do the bytes of an attribute or a small dataset hold?

use halotau::series::SampleType;
use rust_hdf5::format::messages::attribute::AttributeMessage;
use rust_hdf5::{ByteOrder, DatatypeMessage};

use super::file::{Hdf5File, Object};
use crate::metadata::AttributeValue;
use crate::number_type::NumberType;

/// Numbers of an attribute or a dataset of metadata that are kept.
const MOST_NUMBERS: usize = 1 << 20;

/// What an attribute or a small dataset holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Value {
    /// The first number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => numbers.first().copied(),
            Self::Texts(texts) => texts.first()?.trim().parse().ok(),
        }
    }

    /// The text, where there is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Texts(texts) => match texts.as_slice() {
                [text] => Some(text),
                _ => None,
            },
            Self::Numbers(_) => None,
        }
    }

    /// The value as metadata of a series take it.
    pub(super) fn into_attribute(self) -> Option<AttributeValue> {
        match self {
            Self::Numbers(numbers) => Some(AttributeValue::Numbers(numbers)),
            Self::Texts(texts) => {
                let [text] = <[String; 1]>::try_from(texts).ok()?;
                Some(AttributeValue::Text(text))
            }
        }
    }

    /// The value of bytes of a type; `None` for types that are neither numbers nor texts.
    pub(super) fn decode(
        file: &Hdf5File,
        datatype: &DatatypeMessage,
        bytes: &[u8],
    ) -> Option<Self> {
        match datatype {
            DatatypeMessage::FixedString { size, .. } => {
                let size = (*size as usize).max(1);
                let texts = bytes.chunks_exact(size).take(MOST_NUMBERS).map(text);
                Some(Self::Texts(texts.collect()))
            }
            DatatypeMessage::VarLenString { .. } => {
                let (n_addr, _) = file.widths();
                let items = bytes.chunks_exact(8 + n_addr).take(MOST_NUMBERS);
                let texts = items.map(|item| Some(text(&file.heap_item(item)?)));
                Some(Self::Texts(texts.collect::<Option<_>>()?))
            }
            DatatypeMessage::Array { base, .. } => Self::decode(file, base, bytes),
            _ => {
                let number = StoredNumber::of(datatype)?;
                let most = MOST_NUMBERS * number.number_type.n_bytes();
                Some(Self::Numbers(
                    number.numbers(&bytes[..bytes.len().min(most)]),
                ))
            }
        }
    }
}

/// Bytes of text, to the first zero, without padding.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

/// The attributes of an object, by name.
pub(super) fn attributes(file: &Hdf5File, object: &Object) -> Vec<(String, Value)> {
    file.attributes(object)
        .into_iter()
        .filter_map(|attribute| {
            let AttributeMessage {
                name,
                datatype,
                data,
                ..
            } = attribute;
            Some((name, Value::decode(file, &datatype, &data)?))
        })
        .collect()
}

/// One attribute of the object at a path.
pub(super) fn attribute(file: &Hdf5File, path: &str, name: &str) -> Option<Value> {
    let object = file.object(path)?;
    attributes(file, object)
        .into_iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value)
}

/// A number type with its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredNumber {
    pub(super) number_type: NumberType,
    pub(super) big_endian: bool,
}

impl StoredNumber {
    /// The number type of a datatype, where it is one that is read and uses all of its bits.
    pub(super) fn of(datatype: &DatatypeMessage) -> Option<Self> {
        let (number_type, order) = match datatype {
            &DatatypeMessage::FixedPoint {
                size,
                byte_order,
                signed,
                bit_offset: 0,
                bit_precision,
            } if u32::from(bit_precision) == size.checked_mul(8)? => {
                (integer(size, signed)?, byte_order)
            }
            &DatatypeMessage::BitField {
                size,
                byte_order,
                bit_offset: 0,
                bit_precision,
            } if u32::from(bit_precision) == size.checked_mul(8)? => {
                (integer(size, false)?, byte_order)
            }
            &DatatypeMessage::FloatingPoint {
                size,
                byte_order,
                bit_offset: 0,
                bit_precision,
                exponent_size,
                mantissa_size,
                exponent_bias,
                ..
            } => {
                let layout = (
                    size,
                    bit_precision,
                    exponent_size,
                    mantissa_size,
                    exponent_bias,
                );
                let number_type = match layout {
                    (2, 16, 5, 10, 15) => NumberType::F16,
                    (4, 32, 8, 23, 127) => NumberType::Sample(SampleType::F32),
                    (8, 64, 11, 52, 1023) => NumberType::Sample(SampleType::F64),
                    _ => return None,
                };
                (number_type, byte_order)
            }
            // What NumPy calls bool.
            DatatypeMessage::Enum { base, members }
                if members.len() == 2 && base.element_size() == 1 =>
            {
                (NumberType::Bool, ByteOrder::LittleEndian)
            }
            _ => return None,
        };
        let big_endian = match order {
            ByteOrder::LittleEndian => false,
            ByteOrder::BigEndian => true,
            // The order of the VAX.
            #[allow(
                unreachable_patterns,
                reason = "some versions of the reader know more orders"
            )]
            _ => return None,
        };
        Some(Self {
            number_type,
            big_endian,
        })
    }

    /// Numbers as f64, which holds integers up to 2⁵³ exactly.
    pub(super) fn numbers(self, bytes: &[u8]) -> Vec<f64> {
        let words = bytes.chunks_exact(self.number_type.n_bytes());
        words
            .map(|word| {
                let mut le = [0; 8];
                let n = word.len();
                le[..n].copy_from_slice(word);
                if self.big_endian {
                    le[..n].reverse();
                }
                let bits = u64::from_le_bytes(le);
                match self.number_type {
                    NumberType::Sample(SampleType::I16) => f64::from(bits as i16),
                    NumberType::Sample(SampleType::I32) => f64::from(bits as i32),
                    NumberType::Sample(SampleType::F32) => f64::from(f32::from_bits(bits as u32)),
                    NumberType::Sample(SampleType::F64) => f64::from_bits(bits),
                    NumberType::I8 => f64::from(bits as i8),
                    NumberType::I64 => bits as i64 as f64,
                    NumberType::F16 => {
                        let single = self
                            .number_type
                            .convert(&le[..2], false)
                            .unwrap_or_default();
                        let single = single.first_chunk().map(|bytes| f32::from_le_bytes(*bytes));
                        single.map_or(f64::NAN, f64::from)
                    }
                    NumberType::Sample(_) | NumberType::U64 | NumberType::Bool => bits as f64,
                }
            })
            .collect()
    }
}

fn integer(size: u32, signed: bool) -> Option<NumberType> {
    Some(match (size, signed) {
        (1, false) => NumberType::Sample(SampleType::U8),
        (2, false) => NumberType::Sample(SampleType::U16),
        (4, false) => NumberType::Sample(SampleType::U32),
        (2, true) => NumberType::Sample(SampleType::I16),
        (4, true) => NumberType::Sample(SampleType::I32),
        (1, true) => NumberType::I8,
        (8, true) => NumberType::I64,
        (8, false) => NumberType::U64,
        _ => return None,
    })
}
