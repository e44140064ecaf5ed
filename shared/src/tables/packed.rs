//! Long texts of items. An item stays below a kilobyte where that can be done, because each further one costs as much as a whole
//! write: what is too long is compressed.

use std::cell::RefCell;
use std::io::Read;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::item::{Item, text};

/// What one unit of writing pays for.
pub(super) const WRITE_UNIT: usize = 1024;
/// No text of ours is longer. It bounds what a compressed one may become.
const LONGEST_TEXT: u64 = 1024 * 1024;

/// Adds a text to an item: as it is if there is room for it, else compressed.
pub(super) fn insert_text(item: &mut Item, name: &str, value: String) {
    let has_room = size(item) + name.len() + value.len() <= WRITE_UNIT;
    let value = if has_room { text(value) } else { compressed(&value) };
    item.insert(name.to_owned(), value);
}

thread_local! {
    /// It works with 300 KB. To get them from the system and give them back each time takes ten times as long as to compress an event.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::best(), false));
}

pub(super) fn compressed(text: &str) -> AttributeValue {
    let bytes = COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut bytes = Vec::with_capacity(text.len());
        loop {
            let rest = &text.as_bytes()[compressor.total_in() as usize..];
            let status = compressor.compress_vec(rest, &mut bytes, FlushCompress::Finish).expect("it was reset");
            if status == Status::StreamEnd {
                return bytes;
            }
            bytes.reserve(64); // What cannot be compressed becomes a little longer.
        }
    });
    AttributeValue::B(Blob::new(bytes))
}

/// The text of an attribute, however it is written.
pub(super) fn read_text(value: &AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text.clone()),
        AttributeValue::B(bytes) => {
            let mut text = String::new();
            DeflateDecoder::new(bytes.as_ref()).take(LONGEST_TEXT).read_to_string(&mut text).ok()?;
            Some(text)
        }
        _ => None,
    }
}

/// How many bytes of an item are paid for, about.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len() / 2 + 2,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size_of(value)).sum::<usize>(),
        AttributeValue::M(item) => 3 + item.len() + size(item),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_compressed_and_read_back() {
        for (length, is_text) in [(900, true), (1_100, false), (100_000, false)] {
            let (mut item, long) = (Item::from([("pk".to_owned(), text("x".repeat(100)))]), "äb".repeat(length / 3));
            insert_text(&mut item, "body", long.clone());
            assert_eq!(item["body"].is_s(), is_text, "{length}");
            assert_eq!(read_text(&item["body"]), Some(long));
            assert!(size(&item) <= WRITE_UNIT, "{}", size(&item));
        }
    }

    #[test]
    fn what_cannot_be_compressed_is_read_back() {
        let noise: String = (0..3_000u32).filter_map(|n| char::from_u32(n.wrapping_mul(2_654_435_761) >> 15)).collect();
        for text in [noise.as_str(), "", "a"] {
            assert_eq!(read_text(&compressed(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_text_that_grows_without_end_is_cut() {
        let long = compressed(&"a".repeat(LONGEST_TEXT as usize + 1));
        assert_eq!(read_text(&long).map(|text| text.len() as u64), Some(LONGEST_TEXT));
        assert_eq!(read_text(&AttributeValue::B(Blob::new([7, 7, 7]))), None);
    }
}
