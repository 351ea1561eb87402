//! Where in an HDF5 file is each block of a dataset?
//!
//! HDF5 knows five kinds of index. Each is read once, as a whole, into a list in order of the blocks; a block
//! that is not in the list was never written.
//!
//! ```text
//! one block         the address itself
//! implicit          all blocks follow each other
//! fixed array       addresses in the order of blocks, in pages
//! extensible array  the same for an axis that grows: header, index block, super blocks, data blocks, pages
//! B-tree 1 and 2    records with their coordinates
//! ```
//!
//! Arrays count blocks along the axes' largest lengths, an unlimited axis first.

use std::ops::Range;

use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::btree_v1::ChunkBTreeV1Node;
use rust_hdf5::format::checksum::checksum_metadata;
use rust_hdf5::format::chunk_index::btree_v2::{
    BT2_TYPE_CHUNK_UNFILT, Bt2Header, collect_btree_v2_records,
};
use rust_hdf5::format::chunk_index::extensible_array::{EaGeometry, ExtensibleArrayHeader};
use rust_hdf5::format::chunk_index::fixed_array::FixedArrayHeader;
use rust_hdf5::format::messages::data_layout::{ChunkIndexType, DataLayoutMessage};

use super::file::{Blocks, Hdf5File, Problem, number, say};
use crate::chunked::ChunkGrid;

/// Where a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) address: u64,
    pub(super) n_bytes: u64,
    /// Filters that were left out for this block, one bit each.
    pub(super) mask: u32,
}

/// The blocks of a dataset that were written, with their numbers, in order.
#[derive(Debug, Default)]
pub(super) struct ChunkIndex {
    chunks: Vec<(u64, Stored)>,
}

/// What the reading of any index needs.
struct Reader<'a> {
    file: &'a Hdf5File,
    grid: &'a ChunkGrid,
    counts: Vec<u64>,
    /// Largest lengths of the axes; `u64::MAX` for an axis without a limit.
    largest: &'a [u64],
    chunk_bytes: u64,
    chunks: Vec<(u64, Stored)>,
}

impl ChunkIndex {
    /// Reads the index that a layout names.
    ///
    /// `grid` has the bytes of a stored sample, and is valid.
    pub(super) fn read(
        file: &Hdf5File,
        layout: &DataLayoutMessage,
        grid: &ChunkGrid,
        largest: &[u64],
    ) -> Problem<Self> {
        let chunk_bytes = grid
            .chunk
            .iter()
            .try_fold(grid.sample_bytes, |n, &len| n.checked_mul(len))
            .ok_or("its blocks are too large")?;
        let mut reader = Reader {
            file,
            grid,
            counts: grid.counts(),
            largest,
            chunk_bytes,
            chunks: Vec::new(),
        };
        match layout {
            DataLayoutMessage::ChunkedV3 { b_tree_address, .. } => {
                reader.old_tree(*b_tree_address)?;
            }
            DataLayoutMessage::ChunkedV4 { index_address, .. } if *index_address == UNDEF_ADDR => {}
            DataLayoutMessage::ChunkedV4 {
                index_type,
                index_address,
                single_chunk_filter,
                ..
            } => match index_type {
                ChunkIndexType::SingleChunk => {
                    let (n_bytes, mask) = single_chunk_filter.map_or((chunk_bytes, 0), |filter| {
                        (filter.nbytes, filter.filter_mask)
                    });
                    reader.push(0, *index_address, n_bytes, mask);
                }
                ChunkIndexType::Implicit => reader.implicit(*index_address)?,
                ChunkIndexType::FixedArray => reader.fixed_array(*index_address)?,
                ChunkIndexType::ExtensibleArray => reader.extensible_array(*index_address)?,
                ChunkIndexType::BTreeV2 => reader.new_tree(*index_address)?,
            },
            _ => {}
        }
        let mut chunks = reader.chunks;
        chunks.sort_unstable_by_key(|(chunk, _)| *chunk);
        Ok(Self { chunks })
    }

    /// Where a block is, by its number in the grid; `None` where it was never written.
    pub(super) fn find(&self, chunk: u64) -> Option<Stored> {
        let at = self.chunks.binary_search_by_key(&chunk, |(c, _)| *c).ok()?;
        Some(self.chunks[at].1)
    }

    /// The largest number of a block that was written.
    pub(super) fn last(&self) -> Option<u64> {
        self.chunks.last().map(|(chunk, _)| *chunk)
    }

    /// Blocks that were written.
    pub(super) fn len(&self) -> u64 {
        self.chunks.len() as u64
    }
}

impl Reader<'_> {
    fn push(&mut self, chunk: u64, address: u64, n_bytes: u64, mask: u32) {
        if address != UNDEF_ADDR && self.file.holds(address, n_bytes) {
            let stored = Stored {
                address,
                n_bytes,
                mask,
            };
            self.chunks.push((chunk, stored));
        }
    }

    /// The number of a block in the grid; `None` outside of the dataset, where blocks stay when it shrinks.
    fn number(&self, coords: impl Iterator<Item = u64>) -> Option<u64> {
        let mut chunk = 0_u64;
        for (coord, &count) in coords.zip(&self.counts) {
            if coord >= count {
                return None;
            }
            chunk = chunk.checked_mul(count)?.checked_add(coord)?;
        }
        Some(chunk)
    }

    fn push_at(&mut self, coords: impl Iterator<Item = u64>, stored: Stored) {
        if let Some(chunk) = self.number(coords) {
            self.push(chunk, stored.address, stored.n_bytes, stored.mask);
        }
    }

    /// The tree of version 1: nodes with a key for each block.
    fn old_tree(&mut self, root: u64) -> Problem<()> {
        if root == UNDEF_ADDR {
            return Ok(());
        }
        let n_axes = self.grid.dims.len();
        let (n_addr, _) = self.file.widths();
        let mut waiting = vec![(root, None)];
        while let Some((address, above)) = waiting.pop() {
            let start = self.file.read_most(address, 8)?;
            let n_entries = number(&start, 6, 2).ok_or("an index of blocks is cut")? as usize;
            let key = 8 + 8 * (n_axes + 1);
            let n_bytes = 8 + 2 * n_addr + n_entries * (key + n_addr) + key;
            let node = self.file.read_most(address, n_bytes)?;
            let node = ChunkBTreeV1Node::decode(&node, n_addr, n_axes, u16::MAX).map_err(say)?;
            // Levels count down, so a tree that loops ends here.
            if above.is_some_and(|above| node.level >= above) {
                return Err("an index of blocks leads back into itself".to_owned());
            }
            if node.level > 0 {
                waiting.extend(node.children.iter().map(|&child| (child, Some(node.level))));
                continue;
            }
            for (key, &address) in node.keys.iter().zip(&node.children) {
                let coords: Vec<u64> = key
                    .offsets
                    .iter()
                    .zip(&self.grid.chunk)
                    .map(|(at, len)| at / len)
                    .collect();
                let stored = Stored {
                    address,
                    n_bytes: u64::from(key.chunk_size),
                    mask: key.filter_mask,
                };
                self.push_at(coords.into_iter(), stored);
            }
        }
        Ok(())
    }

    /// The tree of version 2, whose records are `address | bytes | mask | coordinates` or `address | coordinates`.
    fn new_tree(&mut self, address: u64) -> Problem<()> {
        let header = self.file.read_most(address, 256)?;
        let header = Bt2Header::decode(&header, &self.file.context).map_err(say)?;
        let records = collect_btree_v2_records(&header, &self.file.context, &mut Blocks(self.file))
            .map_err(say)?;
        let n_axes = self.grid.dims.len();
        let record_bytes = usize::from(header.record_size).max(1);
        let coords_at = record_bytes
            .checked_sub(8 * n_axes)
            .ok_or("records of an index of blocks are too short")?;
        let filtered = header.record_type != BT2_TYPE_CHUNK_UNFILT;
        for record in records.chunks_exact(record_bytes) {
            let stored = self.element(&record[..coords_at], filtered)?;
            let coords: Vec<u64> = (0..n_axes)
                .filter_map(|axis| number(record, coords_at + 8 * axis, 8))
                .collect();
            self.push_at(coords.into_iter(), stored);
        }
        Ok(())
    }

    /// An entry of an array or a record: `address`, and where there are filters `bytes` and u4 mask.
    fn element(&self, entry: &[u8], filtered: bool) -> Problem<Stored> {
        let (n_addr, _) = self.file.widths();
        let short = "an entry of an index of blocks is too short";
        let address = number(entry, 0, n_addr).ok_or(short)?;
        if !filtered {
            return Ok(Stored {
                address,
                n_bytes: self.chunk_bytes,
                mask: 0,
            });
        }
        let width = entry.len().checked_sub(n_addr + 4).ok_or(short)?;
        if width == 0 || width > 8 {
            return Err(format!("lengths of blocks have {width} bytes"));
        }
        let bytes = &entry[n_addr..];
        let n_bytes = bytes[..width]
            .iter()
            .rev()
            .fold(0, |n, &b| n << 8 | u64::from(b));
        let mask = number(bytes, width, 4).ok_or(short)?;
        Ok(Stored {
            address,
            n_bytes,
            mask: mask as u32,
        })
    }

    /// Numbers in the grid of the blocks that an array counts, up to the last that can be in the dataset.
    fn array_numbers(&self) -> Problem<ArrayOrder> {
        let grid = &self.grid;
        let first = self
            .largest
            .iter()
            .position(|&len| len == u64::MAX)
            .unwrap_or(0);
        let mut axes: Vec<usize> = (0..grid.dims.len()).collect();
        axes[..=first].rotate_right(1);
        let lens: Vec<u64> = axes
            .iter()
            .map(|&axis| match self.largest.get(axis) {
                Some(&len) if len != u64::MAX => len.div_ceil(grid.chunk[axis]),
                _ => self.counts[axis],
            })
            .collect();
        let n_chunks = lens
            .iter()
            .try_fold(1_u64, |n, &len| n.checked_mul(len))
            .ok_or("an index of more blocks than can be counted")?;
        Ok(ArrayOrder {
            axes,
            lens,
            n_chunks,
        })
    }

    fn push_element(&mut self, order: &ArrayOrder, at: u64, stored: Stored) {
        if stored.address == UNDEF_ADDR || at >= order.n_chunks {
            return;
        }
        let mut coords = vec![0; order.axes.len()];
        let mut rest = at;
        for (&axis, &len) in order.axes.iter().zip(&order.lens).rev() {
            coords[axis] = rest % len.max(1);
            rest /= len.max(1);
        }
        self.push_at(coords.into_iter(), stored);
    }

    /// Entries that follow each other in bytes, the first of which has a number.
    fn push_elements(
        &mut self,
        order: &ArrayOrder,
        first: u64,
        bytes: &[u8],
        (width, filtered): (usize, bool),
    ) -> Problem<()> {
        for (at, entry) in (first..).zip(bytes.chunks_exact(width)) {
            let stored = self.element(entry, filtered)?;
            self.push_element(order, at, stored);
        }
        Ok(())
    }

    fn implicit(&mut self, address: u64) -> Problem<()> {
        let order = self.array_numbers()?;
        let n_bytes = order.n_chunks.checked_mul(self.chunk_bytes);
        if !n_bytes.is_some_and(|n_bytes| self.file.holds(address, n_bytes)) {
            return Err("its blocks lie behind the end of the file".to_owned());
        }
        for at in 0..order.n_chunks {
            let stored = Stored {
                address: address + at * self.chunk_bytes,
                n_bytes: self.chunk_bytes,
                mask: 0,
            };
            self.push_element(&order, at, stored);
        }
        Ok(())
    }

    fn fixed_array(&mut self, address: u64) -> Problem<()> {
        let header = self.file.read_most(address, 256)?;
        let header = FixedArrayHeader::decode(&header, &self.file.context).map_err(say)?;
        if header.data_blk_addr == UNDEF_ADDR {
            return Ok(());
        }
        let order = self.array_numbers()?;
        let (n_addr, _) = self.file.widths();
        let width = usize::from(header.element_size).max(1);
        let entry = (width, header.client_id != 0);
        let start = 6 + n_addr as u64;
        let block = header.data_blk_addr;
        // The count is the header's claim; nothing is read that the file could not hold.
        let fits = |n: u64| {
            n.checked_mul(width as u64)
                .is_some_and(|n| self.file.holds(block, n))
        };
        if !fits(header.num_elmts) || header.max_dblk_page_nelmts_bits > 32 {
            return Err("an index of blocks is longer than its file".to_owned());
        }
        if !header.is_paged() {
            let n_bytes = start + header.num_elmts * width as u64 + 4;
            let bytes = self.checked(block, n_bytes)?;
            return self.push_elements(&order, 0, &bytes[start as usize..], entry);
        }
        let n_pages = header.npages();
        let bitmap = self.checked(block, start + n_pages.div_ceil(8) + 4)?;
        let mut at = block + start + n_pages.div_ceil(8) + 4;
        let per_page = header.dblk_page_nelmts();
        for page in 0..n_pages {
            let n = per_page.min(header.num_elmts - page * per_page);
            if is_set(&bitmap[start as usize..], page) {
                let bytes = self.checked(at, n * width as u64 + 4)?;
                self.push_elements(&order, page * per_page, &bytes, entry)?;
            }
            at += per_page * width as u64 + 4;
        }
        Ok(())
    }

    fn extensible_array(&mut self, address: u64) -> Problem<()> {
        let header = self.file.read_most(address, 256)?;
        let header = ExtensibleArrayHeader::decode(&header, &self.file.context).map_err(say)?;
        if header.idx_blk_addr == UNDEF_ADDR {
            return Ok(());
        }
        let geometry = EaGeometry::new(
            header.idx_blk_elmts,
            header.data_blk_min_elmts,
            header.sup_blk_min_data_ptrs,
            header.max_nelmts_bits,
            header.max_dblk_page_nelmts_bits,
        )
        .map_err(say)?;
        let array = Extensible {
            order: self.array_numbers()?,
            entry: (
                usize::from(header.raw_elmt_size).max(1),
                header.class_id != 0,
            ),
            offset_bytes: usize::from(header.max_nelmts_bits).div_ceil(8),
            geometry,
        };
        let (n_addr, _) = self.file.widths();
        let geometry = &array.geometry;
        let n_elements = usize::from(header.idx_blk_elmts);
        let start = 6 + n_addr;
        let blocks_at = start + n_elements * array.entry.0;
        let supers_at = blocks_at + geometry.ndblk_addrs * n_addr;
        let n_bytes = supers_at + geometry.nsblk_addrs * n_addr + 4;
        let index = self.checked(header.idx_blk_addr, n_bytes as u64)?;
        self.push_elements(&array.order, 0, &index[start..blocks_at], array.entry)?;
        let mut first = n_elements as u64;
        for (idx, info) in geometry.sblk.iter().enumerate() {
            if first >= array.order.n_chunks {
                break;
            }
            let n_pages = geometry.npages(idx);
            let is_inside = idx < geometry.iblock_nsblks;
            let (bitmaps, addresses) = if is_inside {
                let at = blocks_at + info.start_dblk as usize * n_addr;
                (
                    Vec::new(),
                    index.get(at..supers_at).unwrap_or_default().to_vec(),
                )
            } else {
                let at = supers_at + (idx - geometry.iblock_nsblks) * n_addr;
                match number(&index, at, n_addr) {
                    None | Some(UNDEF_ADDR) => (Vec::new(), Vec::new()),
                    Some(address) => {
                        let bitmaps = info.ndblks * n_pages.div_ceil(8);
                        let start = (start + array.offset_bytes) as u64;
                        let n_bytes = info
                            .ndblks
                            .checked_mul(n_addr as u64)
                            .and_then(|n| n.checked_add(start + bitmaps + 4))
                            .ok_or("a block of an index is too long")?;
                        let bytes = self.checked(address, n_bytes)?;
                        let (head, addresses) = bytes.split_at((start + bitmaps) as usize);
                        (head[start as usize..].to_vec(), addresses.to_vec())
                    }
                }
            };
            for block in 0..info.ndblks {
                if first >= array.order.n_chunks {
                    break;
                }
                let address = number(&addresses, block as usize * n_addr, n_addr);
                if let Some(address) = address.filter(|&address| address != UNDEF_ADDR) {
                    let pages = block * n_pages..(block + 1) * n_pages;
                    self.extensible_block(&array, (idx, address), first, pages, &bitmaps)?;
                }
                first = first.saturating_add(info.dblk_nelmts);
            }
        }
        Ok(())
    }

    /// One block of entries of an extensible array, whole or in pages.
    fn extensible_block(
        &mut self,
        array: &Extensible,
        (idx, address): (usize, u64),
        first: u64,
        pages: Range<u64>,
        bitmaps: &[u8],
    ) -> Problem<()> {
        let (n_addr, _) = self.file.widths();
        let start = (6 + n_addr + array.offset_bytes) as u64;
        let width = array.entry.0 as u64;
        let n_elements = array.geometry.sblk[idx].dblk_nelmts;
        if pages.is_empty() {
            let n_bytes = n_elements
                .checked_mul(width)
                .and_then(|n| n.checked_add(start + 4))
                .ok_or("a block of an index is too long")?;
            let bytes = self.checked(address, n_bytes)?;
            return self.push_elements(&array.order, first, &bytes[start as usize..], array.entry);
        }
        let per_page = array.geometry.dblk_page_nelmts;
        for (nth, page) in pages.enumerate() {
            let nth = nth as u64;
            let first = first + nth * per_page;
            if first >= array.order.n_chunks || !is_set(bitmaps, page) {
                continue;
            }
            let at = address + start + 4 + nth * (per_page * width + 4);
            let bytes = self.checked(at, per_page * width + 4)?;
            self.push_elements(&array.order, first, &bytes, array.entry)?;
        }
        Ok(())
    }

    /// A structure without the checksum that ends it.
    fn checked(&self, address: u64, n_bytes: u64) -> Problem<Vec<u8>> {
        let mut bytes = self.file.read(address, n_bytes)?;
        let Some((inner, sum)) = bytes.split_last_chunk::<4>() else {
            return Err("a block of an index is too short".to_owned());
        };
        if checksum_metadata(inner) != u32::from_le_bytes(*sum) {
            return Err("the checksum of an index of blocks is wrong".to_owned());
        }
        bytes.truncate(bytes.len() - 4);
        Ok(bytes)
    }
}

/// In which order an array counts blocks.
struct ArrayOrder {
    /// Axes, slowest first.
    axes: Vec<usize>,
    /// Blocks along each.
    lens: Vec<u64>,
    n_chunks: u64,
}

/// What all parts of an extensible array share.
struct Extensible {
    order: ArrayOrder,
    /// Bytes of an entry, and whether it has length and mask.
    entry: (usize, bool),
    /// Bytes of the number of a block's first entry.
    offset_bytes: usize,
    geometry: EaGeometry,
}

/// Bit of a bitmap whose bytes begin with the highest bit.
fn is_set(bitmap: &[u8], bit: u64) -> bool {
    let byte = bitmap.get((bit / 8) as usize).copied().unwrap_or(0);
    byte & 0x80 >> (bit % 8) != 0
}
