// SPDX-License-Identifier: MIT
//! The arguments of one execve, laid out at random addresses: a filter that lets only these three
//! pointers pass lets only this execve pass.
//!
//! Invariant: the new program image knows nothing of the addresses, they go with the old one; and
//! [`Image::execute`] is async-signal-safe.

use std::ffi::CString;
use std::ptr::NonNull;

use nix::errno::Errno;

/// Attempts at finding a free random address; one fails only when it hits an existing mapping.
const ATTEMPTS: usize = 32;

/// User address bits to choose from, widest first: x86_64 and most aarch64 kernels have 47 or
/// more, aarch64 kernels with 64 KiB pages 42, small boards 39.
const ADDRESS_BITS: [u32; 3] = [47, 42, 39];

/// The value of a variable that becomes the number of the process that executes: it is not known
/// when the image is laid out.
pub const OWN_PROCESS: &str = "0000000000";

/// The path, the arguments and the environment of one execve.
#[derive(Debug)]
pub struct Image {
    path: Region,
    arguments: Region,
    environment: Region,
    /// Where the number of the process is to be written.
    own_process: Option<NonNull<u8>>,
}

impl Image {
    /// Lays out the three at random page addresses.
    ///
    /// # Errors
    /// ENOMEM, or an error of getrandom(2) and mmap(2).
    pub fn place(
        path: &CString,
        arguments: &[CString],
        environment: &[CString],
    ) -> Result<Self, Errno> {
        let [for_path, for_arguments, for_environment] = random()?;
        let mut path_region = Region::map(path.as_bytes_with_nul().len(), for_path)?;
        path_region
            .bytes_mut()
            .copy_from(0, path.as_bytes_with_nul());
        let environment_region = Region::with_strings(environment, for_environment)?;
        Ok(Self {
            path: path_region,
            arguments: Region::with_strings(arguments, for_arguments)?,
            own_process: environment_region.place_of_own_process(environment),
            environment: environment_region,
        })
    }

    /// Writes the number of the calling process where [`OWN_PROCESS`] stands. Async-signal-safe.
    pub fn name_own_process(&self) {
        let Some(place) = self.own_process else {
            return;
        };
        let mut digits = [0_u8; OWN_PROCESS.len()];
        let mut rest = std::process::id();
        let mut length = 0;
        while rest > 0 || length == 0 {
            digits[length] = b"0123456789"[(rest % 10) as usize];
            length += 1;
            rest /= 10;
        }
        digits[..length].reverse();
        // SAFETY: the place is followed by at least as many bytes of a live, writable mapping that
        // this process owns; the zero bytes behind the digits end the string early.
        unsafe { std::ptr::copy_nonoverlapping(digits.as_ptr(), place.as_ptr(), digits.len()) };
    }

    /// The three addresses, in the order of execve's arguments.
    pub fn addresses(&self) -> [u64; 3] {
        [
            self.path.address(),
            self.arguments.address(),
            self.environment.address(),
        ]
    }

    /// Becomes the program; returns only the error. Async-signal-safe.
    pub fn execute(&self) -> Errno {
        // SAFETY: `place` wrote a terminated string and two arrays of pointers to terminated
        // strings, each ended by a null pointer; the regions live as long as `self`. The raw call
        // passes the pointers as they are, which the filter compares.
        unsafe {
            libc::syscall(
                libc::SYS_execve,
                self.path.start.as_ptr(),
                self.arguments.start.as_ptr(),
                self.environment.start.as_ptr(),
            );
        }
        Errno::last()
    }
}

/// A private mapping at a random address.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    length: usize,
}

/// The bytes of a region that is being filled.
struct Bytes<'a>(&'a mut [u8]);

impl Bytes<'_> {
    fn copy_from(&mut self, offset: usize, source: &[u8]) {
        self.0[offset..offset + source.len()].copy_from_slice(source);
    }
}

impl Region {
    /// An array of pointers ended by a null pointer, and behind it the strings they point to.
    fn with_strings(strings: &[CString], choice: u64) -> Result<Self, Errno> {
        let pointers = (strings.len() + 1) * size_of::<u64>();
        let total: usize = strings
            .iter()
            .map(|string| string.as_bytes_with_nul().len())
            .sum();
        let mut region = Self::map(pointers + total, choice)?;
        let start = region.address();
        let mut bytes = region.bytes_mut();
        let mut at = pointers;
        for (index, string) in strings.iter().enumerate() {
            let pointer = start + u64::try_from(at).map_err(|_| Errno::E2BIG)?;
            bytes.copy_from(index * size_of::<u64>(), &pointer.to_ne_bytes());
            bytes.copy_from(at, string.as_bytes_with_nul());
            at += string.as_bytes_with_nul().len();
        }
        Ok(region)
    }

    /// Where the one string that ends in `=` and [`OWN_PROCESS`] has its value.
    fn place_of_own_process(&self, strings: &[CString]) -> Option<NonNull<u8>> {
        let mut at = (strings.len() + 1) * size_of::<u64>();
        for string in strings {
            let bytes = string.as_bytes();
            if let Some(name) = bytes.strip_suffix(OWN_PROCESS.as_bytes())
                && name.starts_with(b"LISTEN_PID=")
                && name.len() == b"LISTEN_PID=".len()
            {
                let offset = at + name.len();
                // SAFETY: `with_strings` laid this very string out at `at`, inside the mapping.
                return Some(unsafe { self.start.add(offset) });
            }
            at += string.as_bytes_with_nul().len();
        }
        None
    }

    /// At the page of the random number `choice`, or of another one where that page is taken.
    fn map(length: usize, mut choice: u64) -> Result<Self, Errno> {
        let mut failure = Errno::ENOMEM;
        for bits in ADDRESS_BITS {
            for _ in 0..ATTEMPTS {
                match Self::map_at(page_address(choice, bits)?, length) {
                    Ok(region) => return Ok(region),
                    Err(errno) => failure = errno,
                }
                [choice] = random()?;
                // Beyond the end of this machine's user addresses.
                if failure == Errno::ENOMEM {
                    break;
                }
                if failure != Errno::EEXIST {
                    return Err(failure);
                }
            }
        }
        Err(failure)
    }

    fn map_at(address: usize, length: usize) -> Result<Self, Errno> {
        // SAFETY: with MAP_FIXED_NOREPLACE (Linux 4.17) the kernel never replaces a mapping, so
        // no memory that anything refers to changes.
        let start = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(address),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno::EFAULT)?;
        Ok(Self { start, length })
    }

    fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    fn bytes_mut(&mut self) -> Bytes<'_> {
        // SAFETY: the mapping has `length` readable and writable bytes, zeroed by the kernel, and
        // is owned by `self`, which is borrowed mutably here.
        Bytes(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `map_at` mapped; no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Random numbers, drawn together: one call of getrandom(2) costs as much as opening a file.
fn random<const COUNT: usize>() -> Result<[u64; COUNT], Errno> {
    let mut numbers = [0_u64; COUNT];
    let length = size_of_val(&numbers);
    // SAFETY: writes at most the bytes of a live array of integers, which may have any value.
    let written = unsafe { libc::getrandom(numbers.as_mut_ptr().cast(), length, 0) };
    match usize::try_from(written) {
        Ok(written) if written == length => Ok(numbers),
        Ok(_) => Err(Errno::EAGAIN),
        Err(_) => Err(Errno::last()),
    }
}

/// The page address in the lowest `bits` bits of `choice`, not in the lowest 4 GiB, where programs
/// linked to fixed addresses live.
fn page_address(choice: u64, bits: u32) -> Result<usize, Errno> {
    // SAFETY: takes an integer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = u64::try_from(page).map_err(|_| Errno::EINVAL)?;
    let address = choice & ((1 << bits) - 1) & !(page - 1);
    usize::try_from(address.max(1 << 32)).map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::{Image, Region};

    fn strings(texts: &[&str]) -> Vec<CString> {
        texts
            .iter()
            .map(|text| CString::new(*text).unwrap())
            .collect()
    }

    /// Follows the pointers of a region as the kernel does.
    fn read_back(region: &mut Region) -> Vec<String> {
        let start = region.address();
        let bytes = region.bytes_mut().0;
        let pointers = bytes
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap()));
        let offsets = pointers
            .take_while(|pointer| *pointer != 0)
            .map(|one| one - start);
        offsets
            .map(|offset| {
                let text = bytes[usize::try_from(offset).unwrap()..].split(|byte| *byte == 0);
                String::from_utf8(text.into_iter().next().unwrap().to_vec()).unwrap()
            })
            .collect()
    }

    #[test]
    fn arrays_lead_to_their_strings() {
        let long = "x".repeat(100_000);
        for texts in [&[][..], &[""], &["deno", "run", "", long.as_str(), "A=1"]] {
            let [choice] = super::random().unwrap();
            let mut region = Region::with_strings(&strings(texts), choice).unwrap();
            assert_eq!(read_back(&mut region), texts);
        }
    }

    #[test]
    fn addresses_are_pages_and_differ_every_time() {
        let image = || Image::place(&c"/x".to_owned(), &strings(&["x"]), &[]).unwrap();
        let images = [image(), image(), image()];
        let mut addresses: Vec<u64> = images.iter().flat_map(Image::addresses).collect();
        assert!(
            addresses
                .iter()
                .all(|address| address.is_multiple_of(4096) && *address != 0)
        );
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 9);
        // The high half is random too: a filter that compared only the low one would be guessable.
        let high: Vec<u64> = addresses.iter().map(|address| address >> 32).collect();
        assert!(high.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
