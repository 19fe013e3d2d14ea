// SPDX-License-Identifier: MIT
//! The ioctl requests that the table names.
//!
//! Invariant: numbers of the kernel's uapi headers (`asm-generic/ioctls.h`, `linux/fs.h`,
//! `linux/sockios.h`), the same on x86_64 and aarch64.

pub(super) const TIOCSCTTY: u32 = 0x540e;
pub(super) const TIOCSPGRP: u32 = 0x5410;
pub(super) const FIOSETOWN: u32 = 0x8901;
pub(super) const SIOCSPGRP: u32 = 0x8902;
pub(super) const FIOASYNC: u32 = 0x5452;

/// Refused always: the first four act on the caller's terminal for whoever uses it next, the
/// others change inodes that may be open only for reading.
pub(super) const REFUSED: [u32; 9] = [
    0x5412,      // TIOCSTI
    0x541c,      // TIOCLINUX
    0x541d,      // TIOCCONS
    0x5423,      // TIOCSETD
    0x4008_6602, // FS_IOC_SETFLAGS
    0x4004_6602, // FS_IOC32_SETFLAGS
    0x4008_7602, // FS_IOC_SETVERSION
    0x4004_7602, // FS_IOC32_SETVERSION
    0x401c_5820, // FS_IOC_FSSETXATTR
];

/// Type bytes of requests that file systems answer for any file or directory: btrfs, the common
/// `FS_IOC_*`, ext4 and fscrypt ('f'), XFS ('X'), versions ('v'), FAT ('r'), Ceph, CIFS, F2FS.
pub(super) const FILE_TYPES: [u32; 8] = [0x94, 0x66, 0x58, 0x76, 0x72, 0x97, 0xcf, 0xf5];

/// What passes without a granted device, and of requests to files always.
pub(super) const COMMON: [u32; 63] = [
    // terminals
    0x5401, // TCGETS
    0x5402, // TCSETS
    0x5403, // TCSETSW
    0x5404, // TCSETSF
    0x5405, // TCGETA
    0x5406, // TCSETA
    0x5407, // TCSETAW
    0x5408, // TCSETAF
    0x5409, // TCSBRK
    0x540a, // TCXONC
    0x540b, // TCFLSH
    0x540c, // TIOCEXCL
    0x540d, // TIOCNXCL
    0x540f, // TIOCGPGRP
    TIOCSPGRP,
    0x5411,      // TIOCOUTQ
    0x5413,      // TIOCGWINSZ
    0x5414,      // TIOCSWINSZ
    0x5415,      // TIOCMGET
    0x5420,      // TIOCPKT
    0x5422,      // TIOCNOTTY
    0x5424,      // TIOCGETD
    0x5425,      // TCSBRKP
    0x5429,      // TIOCGSID
    0x802c_542a, // TCGETS2
    0x402c_542b, // TCSETS2
    0x402c_542c, // TCSETSW2
    0x402c_542d, // TCSETSF2
    // pseudo terminals; TIOCSIG signals only the other side of an own one
    0x8004_5430, // TIOCGPTN
    0x4004_5431, // TIOCSPTLCK
    0x8004_5439, // TIOCGPTLCK
    0x5441,      // TIOCGPTPEER
    0x8004_5440, // TIOCGEXCL
    0x8004_5438, // TIOCGPKT
    0x4004_5436, // TIOCSIG
    // descriptors
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
    FIOASYNC,
    0x5460, // FIOQSIZE
    // files
    0x2,         // FIGETBSZ
    0x8008_6601, // FS_IOC_GETFLAGS
    0x8008_7601, // FS_IOC_GETVERSION
    0x801c_581f, // FS_IOC_FSGETXATTR
    0xc020_660b, // FS_IOC_FIEMAP
    0x4004_9409, // FICLONE
    0x4020_940d, // FICLONERANGE
    0xc018_9436, // FIDEDUPERANGE
    // sockets
    0x8905, // SIOCATMARK
    0x8904, // SIOCGPGRP
    0x8903, // FIOGETOWN
    0x8910, // SIOCGIFNAME
    0x8912, // SIOCGIFCONF
    0x8913, // SIOCGIFFLAGS
    0x8915, // SIOCGIFADDR
    0x8919, // SIOCGIFBRDADDR
    0x891b, // SIOCGIFNETMASK
    0x891d, // SIOCGIFMETRIC
    0x8921, // SIOCGIFMTU
    0x8927, // SIOCGIFHWADDR
    0x8933, // SIOCGIFINDEX
    // the random number device
    0x8004_5200, // RNDGETENTCNT
];
