//! What the `.npz` fixtures need of the zip format; the tests of the command line read them too.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::collections::BTreeMap;

/// The members of a zip file that stores them uncompressed.
pub fn zip(bytes: &[u8]) -> BTreeMap<String, &[u8]> {
    let mut members = BTreeMap::new();
    let mut rest = bytes;
    while let Some(header) = rest.strip_prefix(b"PK\x03\x04") {
        let u16_at = |at: usize| u16::from_le_bytes(header[at..at + 2].try_into().unwrap()) as usize;
        let size = u32::from_le_bytes(header[14..18].try_into().unwrap()) as usize;
        let (name, extra) = (u16_at(22), u16_at(24));
        let start = 26 + name + extra;
        let member = std::str::from_utf8(&header[26..26 + name]).unwrap().to_string();
        members.insert(member, &header[start..start + size]);
        rest = &header[start + size..];
    }
    members
}
