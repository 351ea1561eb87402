//! Which objects does an HDF5 file hold, and where do its links lead?
//!
//! ```text
//! superblock ─▶ root group ─▶ links ─▶ object headers ─▶ messages: shape, type, layout, filters, attributes
//! ```
//!
//! The structures are decoded by the crate `rust-hdf5`; the walk is our own for three reasons: blocks are read
//! at positions, so that all threads read at once; attributes of groups can be numbers; and no link is followed
//! before its target was looked at. What a damaged file can make this code do is bounded by a budget of bytes
//! that is a multiple of the file's length.
//!
//! Reference: HDF5 File Format Specification, version 3.0.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rust_hdf5::format::btree_v1::BTreeV1Node;
use rust_hdf5::format::dense_attr::read_dense_attributes;
use rust_hdf5::format::dense_link::read_dense_links;
use rust_hdf5::format::global_heap::{GlobalHeapCollection, decode_vlen_reference};
use rust_hdf5::format::local_heap::{LocalHeapHeader, local_heap_get_string};
use rust_hdf5::format::messages;
use rust_hdf5::format::messages::attr_info::AttributeInfoMessage;
use rust_hdf5::format::messages::attribute::{AttributeEntry, AttributeMessage};
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::object_header::{OHDR_SIGNATURE, ObjectHeader, ObjectHeaderMessage};
use rust_hdf5::format::superblock::{
    SuperblockV0V1, SuperblockV2V3, SymbolTableCache, symbol_table_entry_size,
};
use rust_hdf5::format::symbol_table::SymbolTableNode;
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, FormatResult};

use crate::error::{Error, Result};
use crate::positioned::PositionedFile;

/// The first bytes of an HDF5 file, or of its part after a user block.
const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// Attempts to find the signature behind a user block, at 512 bytes and each doubling of it.
const USER_BLOCK_STEPS: u32 = 12;

/// Bytes of an object header that are read at first; few are longer.
const HEADER_BYTES: usize = 512;

/// Objects that are listed. Records of microscopes reach some ten thousand.
const MOST_OBJECTS: usize = 100_000;

/// Groups inside groups.
const DEEPEST: usize = 64;

/// Links that may lead to links, as in the HDF5 library.
const MOST_HOPS: usize = 16;

/// Bytes of structure that may be read, for each byte of the file and in addition: a small header is read with
/// what follows it, but no structure is read often.
const BUDGET: (u64, u64) = (64, 4 << 20);

/// What is wrong inside a file, in words.
pub(super) type Problem<T> = std::result::Result<T, String>;

/// An open file and the list of its objects.
#[derive(Debug)]
pub(crate) struct Hdf5File {
    file: PositionedFile,
    /// Where the superblock starts; addresses count from there.
    base: u64,
    pub(super) context: FormatContext,
    root: u64,
    budget: AtomicU64,
    /// Every link of every group, by its path.
    links: BTreeMap<String, Link>,
    /// The objects that links lead to, by address.
    objects: HashMap<u64, Object>,
    heap: Mutex<Option<(u64, Arc<GlobalHeapCollection>)>>,
}

/// A group or a dataset.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) messages: Vec<ObjectHeaderMessage>,
    /// The path of a group at which its links are listed.
    group: Option<String>,
}

#[derive(Debug, Clone)]
enum Link {
    Object(u64),
    Soft(String),
    External { file: String, path: String },
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// To an object of the file, and its path without links.
    Here(&'a Object, String),
    /// To an object of another file.
    Elsewhere { file: String, path: String },
}

impl Hdf5File {
    /// Opens a file and lists its objects.
    ///
    /// # Errors
    ///
    /// [`Error::BadContainer`] where its structure makes no sense or its end is missing.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>> {
        let file = PositionedFile::open(path)?;
        let bad = |problem: String| Error::BadContainer {
            path: path.to_owned(),
            format: "HDF5 file",
            problem,
        };
        let Some(base) = signature_offset(&file)? else {
            return Err(bad("there is no HDF5 signature".to_owned()));
        };
        let len = file.len();
        let budget = len.saturating_mul(BUDGET.0).saturating_add(BUDGET.1);
        let mut hdf5 = Self {
            file,
            base,
            context: FormatContext::default_v3(),
            root: 0,
            budget: AtomicU64::new(budget),
            links: BTreeMap::new(),
            objects: HashMap::new(),
            heap: Mutex::new(None),
        };
        hdf5.read_superblock().map_err(bad)?;
        hdf5.walk().map_err(bad)?;
        Ok(Arc::new(hdf5))
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes in the file.
    pub(super) fn n_bytes(&self) -> u64 {
        self.file.len()
    }

    /// Whether the user block is that of MATLAB.
    pub(super) fn is_matlab(&self) -> bool {
        let mut start = [0; 10];
        let found = self.file.read_exact_at(&mut start, 0);
        self.base > 0 && found.is_ok() && &start == b"MATLAB 7.3"
    }

    fn read_superblock(&mut self) -> Problem<()> {
        let bytes = self.read_most(0, 256)?;
        let (sizes, base, end) = match bytes.get(8) {
            Some(0 | 1) => {
                let block = SuperblockV0V1::decode(&bytes).map_err(say)?;
                self.root = block.root_symbol_table_entry.obj_header_addr;
                (
                    (block.sizeof_offsets, block.sizeof_lengths),
                    block.base_address,
                    block.end_of_file_address,
                )
            }
            Some(2 | 3) => {
                let block = SuperblockV2V3::decode(&bytes).map_err(say)?;
                self.root = block.root_group_object_header_address;
                (
                    (block.sizeof_offsets, block.sizeof_lengths),
                    block.base_address,
                    block.end_of_file_address,
                )
            }
            Some(version) => return Err(format!("superblock version {version} is not known")),
            None => return Err("it ends inside the superblock".to_owned()),
        };
        if ![2, 4, 8].contains(&sizes.0) || ![2, 4, 8].contains(&sizes.1) {
            return Err(format!(
                "addresses of {} and lengths of {} bytes",
                sizes.0, sizes.1
            ));
        }
        self.context = FormatContext {
            sizeof_addr: sizes.0,
            sizeof_size: sizes.1,
        };
        // A user block that was put in front later moves the end, too.
        let end = end.saturating_sub(base).saturating_add(self.base);
        if end > self.n_bytes() {
            return Err(format!(
                "the file was cut short or is still being written: it should have {end} bytes and has {}",
                self.n_bytes()
            ));
        }
        Ok(())
    }

    /// Bytes of a structure.
    pub(super) fn read(&self, address: u64, n_bytes: u64) -> Problem<Vec<u8>> {
        let start = self.base.checked_add(address);
        let end = start.and_then(|start| start.checked_add(n_bytes));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(format!("address {address} is beyond counting"));
        };
        if end > self.n_bytes() {
            return Err(format!(
                "{n_bytes} bytes at address {address} lie behind the end of the file"
            ));
        }
        // Small reads cost as much as a few hundred bytes.
        let cost = n_bytes.max(HEADER_BYTES as u64 / 4);
        let spent = self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(cost)
            });
        if spent.is_err() {
            return Err("its structures refer to each other without end".to_owned());
        }
        let mut bytes = vec![0; n_bytes as usize];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    /// Fewer bytes where the file ends before.
    pub(super) fn read_most(&self, address: u64, n_bytes: usize) -> Problem<Vec<u8>> {
        let left = self.n_bytes().saturating_sub(self.base);
        self.read(address, left.saturating_sub(address).min(n_bytes as u64))
    }

    /// Fills a buffer with samples, outside of the budget for structures.
    pub(super) fn read_samples(&self, address: u64, buffer: &mut [u8]) -> Result<()> {
        let start = self.base.saturating_add(address);
        self.file.read_exact_at(buffer, start)
    }

    /// Has samples fetched that will be read.
    pub(super) fn expect_samples(&self, address: u64, n_bytes: u64) {
        self.file.expect(self.base.saturating_add(address), n_bytes);
    }

    /// Whether so many bytes at an address are in the file.
    pub(super) fn holds(&self, address: u64, n_bytes: u64) -> bool {
        let start = self.base.checked_add(address);
        let end = start.and_then(|start| start.checked_add(n_bytes));
        end.is_some_and(|end| end <= self.n_bytes())
    }

    /// Lists all groups and datasets, each once.
    fn walk(&mut self) -> Problem<()> {
        let mut waiting = vec![(String::new(), self.root, 0)];
        while let Some((path, address, depth)) = waiting.pop() {
            if self.objects.contains_key(&address) {
                continue;
            }
            if self.objects.len() >= MOST_OBJECTS || self.links.len() >= MOST_OBJECTS {
                return Err(format!("it holds more than {MOST_OBJECTS} objects"));
            }
            let messages = match self.messages(address) {
                Ok(messages) => messages,
                // One object that cannot be read leaves the others readable; without the root there is nothing.
                Err(problem) if path.is_empty() => return Err(problem),
                Err(_) => continue,
            };
            let links = match self.links_of(&messages) {
                Ok(links) => links,
                Err(problem) if path.is_empty() => return Err(problem),
                Err(_) => continue,
            };
            let group = links.is_some().then(|| path.clone());
            self.objects.insert(address, Object { messages, group });
            if depth >= DEEPEST {
                continue;
            }
            for (name, link) in links.unwrap_or_default() {
                let path = join(&path, &name);
                if let Link::Object(address) = link {
                    waiting.push((path.clone(), address, depth + 1));
                }
                self.links.insert(path, link);
            }
        }
        Ok(())
    }

    /// The messages of an object header and of the blocks that continue it.
    fn messages(&self, address: u64) -> Problem<Vec<ObjectHeaderMessage>> {
        let mut bytes = self.read_most(address, HEADER_BYTES)?;
        if let Err(FormatError::BufferTooShort { needed, .. }) = ObjectHeader::decode_any(&bytes)
            && needed > bytes.len()
        {
            bytes = self.read(address, needed as u64)?;
        }
        let (header, _) = ObjectHeader::decode_any(&bytes).map_err(say)?;
        let modern = bytes.starts_with(&OHDR_SIGNATURE);
        // Bit 2: the order of the attributes' creation is stored with each message.
        let envelope = if modern && header.flags & 4 != 0 {
            6
        } else {
            4
        };
        let mut messages = header.messages;
        let mut seen = HashSet::new();
        let mut next = 0;
        while next < messages.len() {
            let message = &messages[next];
            next += 1;
            if message.msg_type != messages::MSG_OBJ_HEADER_CONTINUATION {
                continue;
            }
            let (n_addr, n_size) = self.widths();
            let (Some(address), Some(len)) = (
                number(&message.data, 0, n_addr),
                number(&message.data, n_addr, n_size),
            ) else {
                continue;
            };
            if !seen.insert(address) {
                continue;
            }
            let block = self.read(address, len)?;
            let more = if modern {
                let inner = block
                    .strip_prefix(b"OCHK")
                    .and_then(|rest| rest.split_last_chunk::<4>());
                let Some((inner, _)) = inner else {
                    return Err("an object header goes on where there is none".to_owned());
                };
                modern_messages(inner, envelope)
            } else {
                old_messages(&block)
            };
            messages.extend(more);
        }
        for message in &mut messages {
            if message.flags & messages::MSG_FLAG_SHARED != 0
                && message.msg_type != messages::MSG_ATTRIBUTE
            {
                self.resolve_shared(message)?;
            }
        }
        Ok(messages)
    }

    /// Replaces a message that only refers to another object by what it refers to.
    fn resolve_shared(&self, message: &mut ObjectHeaderMessage) -> Problem<()> {
        let (n_addr, _) = self.widths();
        let at = match message.data.get(..2) {
            Some([1, _]) => 8,
            Some([2, _] | [3, 2]) => 2,
            _ => return Err("it keeps messages in a table of shared ones".to_owned()),
        };
        let address = number(&message.data, at, n_addr).ok_or("a shared message is cut")?;
        let bytes = self.read_most(address, 4096)?;
        let (header, _) = ObjectHeader::decode_any(&bytes).map_err(say)?;
        let target = header
            .messages
            .into_iter()
            .find(|m| m.msg_type == message.msg_type && m.flags & messages::MSG_FLAG_SHARED == 0)
            .ok_or("a shared message is not where it should be")?;
        *message = target;
        Ok(())
    }

    /// The links of a group; `None` for what is no group.
    fn links_of(&self, messages: &[ObjectHeaderMessage]) -> Problem<Option<Vec<(String, Link)>>> {
        let mut links = Vec::new();
        let mut is_group = false;
        for message in messages {
            match message.msg_type {
                messages::MSG_LINK => {
                    let (link, _) =
                        LinkMessage::decode(&message.data, &self.context).map_err(say)?;
                    links.extend(named(link));
                }
                messages::MSG_LINK_INFO => {
                    is_group = true;
                    let (info, _) =
                        LinkInfoMessage::decode(&message.data, &self.context).map_err(say)?;
                    let dense = read_dense_links(&info, &self.context, &mut Blocks(self));
                    links.extend(dense.map_err(say)?.into_iter().filter_map(named));
                }
                messages::MSG_SYMBOL_TABLE => {
                    is_group = true;
                    self.symbol_table(&message.data, &mut links)?;
                }
                messages::MSG_GROUP_INFO => is_group = true,
                _ => {}
            }
        }
        Ok((is_group || !links.is_empty()).then_some(links))
    }

    /// Links of a group of the old kind: a tree of nodes, whose names are in a heap.
    fn symbol_table(&self, message: &[u8], links: &mut Vec<(String, Link)>) -> Problem<()> {
        let (n_addr, n_size) = self.widths();
        let (Some(tree), Some(heap)) =
            (number(message, 0, n_addr), number(message, n_addr, n_addr))
        else {
            return Err("a group's table of names is cut".to_owned());
        };
        let header = self.read_most(heap, 8 + 2 * n_size + n_addr)?;
        let header = LocalHeapHeader::decode(&header, n_addr, n_size).map_err(say)?;
        let names = self.read(header.data_addr, header.data_size)?;
        let mut waiting = vec![tree];
        let mut seen = HashSet::new();
        while let Some(address) = waiting.pop() {
            if !seen.insert(address) {
                continue;
            }
            let start = self.read_most(address, 8)?;
            let n_entries = number(&start, 6, 2).ok_or("a group's node is cut")? as usize;
            if start.starts_with(b"TREE") {
                let n_bytes = 8 + 2 * n_addr + n_entries * (n_addr + n_size) + n_size;
                let node = self.read_most(address, n_bytes)?;
                let node = BTreeV1Node::decode(&node, n_addr, n_size, u16::MAX).map_err(say)?;
                // The first comes first.
                waiting.extend(node.children.iter().rev());
                continue;
            }
            let n_bytes = 8 + n_entries * symbol_table_entry_size(n_addr, n_size);
            let node = self.read_most(address, n_bytes)?;
            let node = SymbolTableNode::decode(&node, n_addr, n_size, u16::MAX).map_err(say)?;
            for entry in node.entries {
                let name = local_heap_get_string(&names, entry.name_offset).map_err(say)?;
                let link = match entry.cache {
                    SymbolTableCache::SoftLink { value_offset } => Link::Soft(
                        local_heap_get_string(&names, u64::from(value_offset)).map_err(say)?,
                    ),
                    _ => Link::Object(entry.obj_header_addr),
                };
                links.push((name, link));
            }
        }
        Ok(())
    }

    /// Follows a path from the root, through soft links, up to the first link into another file.
    pub(super) fn find(&self, path: &str) -> Option<Place<'_>> {
        let mut path = path.trim_matches('/').to_owned();
        for _ in 0..MOST_HOPS {
            match self.follow(&path)? {
                Step::Arrived(place) => return Some(place),
                Step::Again(other) => path = other,
            }
        }
        None
    }

    fn follow(&self, path: &str) -> Option<Step<'_>> {
        let mut object = self.objects.get(&self.root)?;
        let mut here = String::new();
        let mut rest = path;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('/').unwrap_or((rest, ""));
            rest = after;
            if name.is_empty() || name == "." {
                continue;
            }
            here = join(object.group.as_ref()?, name);
            let with_rest = |path: &str| join(path.trim_matches('/'), rest);
            match self.links.get(&here)? {
                Link::Object(address) => object = self.objects.get(address)?,
                Link::Soft(target) if target.starts_with('/') => {
                    return Some(Step::Again(with_rest(target)));
                }
                Link::Soft(target) => {
                    let group = object.group.as_ref()?;
                    return Some(Step::Again(with_rest(&join(group, target))));
                }
                Link::External { file, path } => {
                    return Some(Step::Arrived(Place::Elsewhere {
                        file: file.clone(),
                        path: with_rest(path),
                    }));
                }
            }
        }
        Some(Step::Arrived(Place::Here(object, here)))
    }

    /// The object of the file that a path leads to.
    pub(super) fn object(&self, path: &str) -> Option<&Object> {
        match self.find(path)? {
            Place::Here(object, _) => Some(object),
            Place::Elsewhere { .. } => None,
        }
    }

    /// Paths of all links, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }

    /// Names of the links of a group, in order.
    pub(super) fn names_in(&self, group: &str) -> Vec<&str> {
        let Some(group) = self.object(group).and_then(|object| object.group.as_ref()) else {
            return Vec::new();
        };
        let start = if group.is_empty() {
            String::new()
        } else {
            format!("{group}/")
        };
        self.links
            .range(start.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&start))
            .filter(|name| !name.contains('/'))
            .collect()
    }

    /// The attributes of an object that can be decoded.
    pub(super) fn attributes(&self, object: &Object) -> Vec<AttributeMessage> {
        let mut attributes = Vec::new();
        for message in &object.messages {
            let entries = match message.msg_type {
                messages::MSG_ATTRIBUTE if message.flags & messages::MSG_FLAG_SHARED == 0 => {
                    AttributeEntry::parse(&message.data, &self.context).map(|entry| vec![entry])
                }
                messages::MSG_ATTR_INFO => {
                    AttributeInfoMessage::decode(&message.data, &self.context).and_then(
                        |(info, _)| read_dense_attributes(&info, &self.context, &mut Blocks(self)),
                    )
                }
                _ => continue,
            };
            let entries = entries.unwrap_or_default();
            attributes.extend(entries.iter().filter_map(|entry| entry.readable().cloned()));
        }
        attributes
    }

    /// An item of variable length, which data refer to by an address.
    pub(super) fn heap_item(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let (len, address, index) = decode_vlen_reference(reference, &self.context).ok()?;
        if len == 0 || address == 0 || address == u64::MAX {
            return Some(Vec::new());
        }
        let mut cached = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let heap = match &*cached {
            Some((at, heap)) if *at == address => heap.clone(),
            _ => {
                let start = self.read_most(address, 32).ok()?;
                let n_bytes = GlobalHeapCollection::decode_size(&start, &self.context).ok()?;
                let bytes = self.read(address, n_bytes as u64).ok()?;
                let (heap, _) = GlobalHeapCollection::decode(&bytes, &self.context).ok()?;
                let heap = Arc::new(heap);
                *cached = Some((address, heap.clone()));
                heap
            }
        };
        let item = heap.get_object(u16::try_from(index).ok()?)?;
        Some(item.to_vec())
    }

    /// Bytes of an address and of a length.
    pub(super) fn widths(&self) -> (usize, usize) {
        (
            usize::from(self.context.sizeof_addr),
            usize::from(self.context.sizeof_size),
        )
    }
}

enum Step<'a> {
    Arrived(Place<'a>),
    Again(String),
}

impl Object {
    /// The data of the first message of a type.
    pub(super) fn message(&self, msg_type: u8) -> Option<&[u8]> {
        self.messages
            .iter()
            .find(|m| m.msg_type == msg_type)
            .map(|m| m.data.as_slice())
    }
}

/// Reads for the decoders of structures that spread over a file.
pub(super) struct Blocks<'a>(pub(super) &'a Hdf5File);

impl BlockReader for Blocks<'_> {
    fn read_block(&mut self, offset: u64, len: usize) -> FormatResult<Vec<u8>> {
        self.0
            .read_most(offset, len)
            .map_err(FormatError::InvalidData)
    }
}

/// Where the HDF5 part of a file starts, or `None` where there is none.
pub(crate) fn signature_offset(file: &PositionedFile) -> Result<Option<u64>> {
    let offsets = std::iter::once(0).chain((0..USER_BLOCK_STEPS).map(|step| 512_u64 << step));
    for offset in offsets.take_while(|offset| offset + 8 <= file.len()) {
        let mut start = [0; 8];
        file.read_exact_at(&mut start, offset)?;
        if &start == SIGNATURE {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// A path and a name, or a path and what follows it.
pub(super) fn join(group: &str, name: &str) -> String {
    match (group, name) {
        ("", name) => name.to_owned(),
        (group, "") => group.to_owned(),
        (group, name) => format!("{group}/{name}"),
    }
}

pub(super) fn say(error: FormatError) -> String {
    error.to_string()
}

/// A little-endian number of a width; `None` where the bytes end before.
pub(super) fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    // "No address" is all ones, whatever its width.
    if width < 8 && bytes.iter().all(|&byte| byte == u8::MAX) && width > 2 {
        return Some(u64::MAX);
    }
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

fn named(link: LinkMessage) -> Option<(String, Link)> {
    let target = match link.target {
        LinkTarget::Hard { address } => Link::Object(address),
        LinkTarget::Soft { target } => Link::Soft(target),
        LinkTarget::External { file, path } => Link::External { file, path },
        // A kind of link that a program made for itself.
        LinkTarget::UserDefined { .. } => return None,
    };
    Some((link.name, target))
}

/// Messages of a header of version 1: u2 type, u2 length, u1 flags, three bytes of nothing, all in eights.
fn old_messages(mut block: &[u8]) -> Vec<ObjectHeaderMessage> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = block.split_first_chunk::<8>() {
        let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let Some(data) = rest.get(..len) else { break };
        messages.push(ObjectHeaderMessage {
            // Types above 255 do not exist.
            msg_type: if head[1] == 0 { head[0] } else { 0 },
            flags: head[4],
            creation_index: 0,
            data: data.to_vec(),
        });
        block = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    messages
}

/// Messages of a header of version 2: u1 type, u2 length, u1 flags, and two bytes of order where it is kept.
fn modern_messages(mut block: &[u8], envelope: usize) -> Vec<ObjectHeaderMessage> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = block.split_at_checked(envelope) {
        let len = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let Some(data) = rest.get(..len) else { break };
        messages.push(ObjectHeaderMessage {
            msg_type: head[0],
            flags: head[3],
            creation_index: 0,
            data: data.to_vec(),
        });
        block = &rest[len..];
    }
    messages
}
