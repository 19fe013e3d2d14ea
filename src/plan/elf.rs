// SPDX-License-Identifier: MIT
//! What an executable's ELF headers say: the machine it is for, its loader, its libraries.
//!
//! Invariant: pure over the bytes given, which may be only the start of the file; a header that
//! lies outside of them is [`ElfError::Truncated`], never a guess.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use elf::abi;
use elf::endian::AnyEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};

/// How much of a file its headers, program headers and loader name fit in, in executables made by
/// a usual linker.
pub const HEAD: usize = 4096;

/// Headers farther from the start than this are no honest executable's.
const FARTHEST: u64 = 1 << 20;

/// Why the headers could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The bytes do not start with the ELF magic number.
    #[error("not an ELF executable")]
    NotElf,
    /// More of the file could not be read.
    #[error("the ELF headers cannot be read")]
    Read(#[source] io::Error),
    /// A header lies beyond the bytes that were given.
    #[error("the ELF headers need {needed} bytes of the file and only {given} were read")]
    Truncated {
        /// How many bytes from the start of the file are needed.
        needed: u64,
        /// How many there were.
        given: usize,
    },
    /// The headers contradict themselves.
    #[error("malformed ELF headers")]
    Malformed(#[source] elf::ParseError),
}

/// What the headers of one executable say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElfFacts {
    /// `e_machine` (elf(5)): 62 for x86-64, 183 for AArch64.
    pub machine: u16,
    /// Whether it is a 64-bit file.
    pub is_64_bit: bool,
    /// The program interpreter (PT_INTERP, the dynamic loader); none when linked statically.
    pub interpreter: Option<PathBuf>,
}

impl ElfFacts {
    /// Whether a kernel whose `uname -m` is `machine` runs this file natively; a machine that is
    /// not known here is given the benefit of the doubt.
    pub fn runs_on(&self, machine: &str) -> bool {
        match machine {
            "x86_64" => self.machine == abi::EM_X86_64 && self.is_64_bit,
            "aarch64" => self.machine == abi::EM_AARCH64,
            _ => true,
        }
    }

    /// The name of the machine, for messages.
    pub fn machine_name(&self) -> &'static str {
        match self.machine {
            abi::EM_X86_64 => "x86_64",
            abi::EM_AARCH64 => "aarch64",
            abi::EM_386 => "i386",
            abi::EM_ARM => "arm",
            abi::EM_RISCV => "riscv",
            abi::EM_PPC64 => "ppc64",
            abi::EM_S390 => "s390x",
            _ => "another machine",
        }
    }
}

/// Reads the headers at the start of a file.
///
/// # Errors
/// [`ElfError`]; `Truncated` says how many bytes to read instead.
pub fn parse_elf(bytes: &[u8]) -> Result<ElfFacts, ElfError> {
    let (header, segments) = parse_headers(bytes)?;
    let interpreter = match segments
        .iter()
        .find(|segment| segment.p_type == abi::PT_INTERP)
    {
        Some(segment) => {
            let name = slice(bytes, segment.p_offset, segment.p_filesz)?;
            let name = name.strip_suffix(&[0]).unwrap_or(name);
            Some(PathBuf::from(OsStr::from_bytes(name)))
        }
        None => None,
    };
    Ok(ElfFacts {
        machine: header.e_machine,
        is_64_bit: header.class == Class::ELF64,
        interpreter,
    })
}

/// The dynamic loader an executable names. `head` is its start, at least [`HEAD`] bytes of it;
/// `read` reads more of the file when its headers lie further on.
///
/// # Errors
/// As [`parse_elf`], or what `read` answers.
pub fn elf_interpreter(
    head: &[u8],
    read: impl FnOnce(usize) -> io::Result<Vec<u8>>,
) -> Result<Option<PathBuf>, ElfError> {
    let facts = match parse_elf(head) {
        Err(ElfError::Truncated { needed, .. }) if needed <= FARTHEST => {
            let more = usize::try_from(needed).unwrap_or(HEAD);
            parse_elf(&read(more).map_err(ElfError::Read)?)
        }
        other => other,
    };
    facts.map(|facts| facts.interpreter)
}

type Headers = (FileHeader<AnyEndian>, Vec<ProgramHeader>);

fn parse_headers(bytes: &[u8]) -> Result<Headers, ElfError> {
    if !bytes.starts_with(&[0x7f, b'E', b'L', b'F']) {
        return Err(ElfError::NotElf);
    }
    let ident = slice(bytes, 0, abi::EI_NIDENT as u64)?;
    let ident = parse_ident::<AnyEndian>(ident).map_err(ElfError::Malformed)?;
    // Elf32_Ehdr is 52 bytes, Elf64_Ehdr 64, both with the 16 of e_ident.
    let size = if ident.1 == Class::ELF64 { 64 } else { 52 };
    let tail = slice(bytes, 0, size)?;
    let header =
        FileHeader::parse_tail(ident, &tail[abi::EI_NIDENT..]).map_err(ElfError::Malformed)?;
    let length = u64::from(header.e_phentsize) * u64::from(header.e_phnum);
    let table = slice(bytes, header.e_phoff, length)?;
    let segments = SegmentTable::new(header.endianness, header.class, table)
        .iter()
        .collect();
    Ok((header, segments))
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Result<&[u8], ElfError> {
    let end = offset
        .checked_add(length)
        .ok_or(ElfError::Malformed(elf::ParseError::IntegerOverflow))?;
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or(ElfError::Truncated {
            needed: end,
            given: bytes.len(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit little-endian executable with one program header and what it points to.
    fn executable(machine: u16, segment_kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(3_u16.to_le_bytes());
        bytes.extend(machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(64_u64.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 1, 64, 0, 0] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(segment_kind.to_le_bytes());
        bytes.extend(4_u32.to_le_bytes());
        for word in [120, 0, 0, content.len() as u64, content.len() as u64, 1] {
            bytes.extend(u64::to_le_bytes(word));
        }
        bytes.extend(content);
        bytes
    }

    #[test]
    fn reads_machine_and_loader() {
        let facts = parse_elf(&executable(62, abi::PT_INTERP, b"/lib64/ld.so\0")).unwrap();
        assert_eq!(facts.interpreter, Some(PathBuf::from("/lib64/ld.so")));
        assert!(facts.runs_on("x86_64") && !facts.runs_on("aarch64"));
        let other = parse_elf(&executable(183, abi::PT_LOAD, b"")).unwrap();
        assert_eq!(
            (other.interpreter.clone(), other.machine_name()),
            (None, "aarch64")
        );
        assert!(other.runs_on("aarch64") && !other.runs_on("x86_64"));
    }

    #[test]
    fn says_how_much_more_it_needs() {
        let bytes = executable(62, abi::PT_INTERP, b"/lib64/ld.so\0");
        for length in 4..bytes.len() {
            assert!(
                matches!(parse_elf(&bytes[..length]), Err(ElfError::Truncated { .. })),
                "{length}"
            );
        }
        assert!(matches!(parse_elf(b"#!/bin/sh\n"), Err(ElfError::NotElf)));
        assert!(matches!(parse_elf(b""), Err(ElfError::NotElf)));
    }
}
