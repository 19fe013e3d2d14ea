// SPDX-License-Identifier: MIT
//! The DNS filter: granted names get addresses, everything else gets nothing, and nothing else
//! leaves.
//!
//! Invariant: upstream sees A and AAAA questions for granted names, and for those that denials write
//! out, spelled by us; no byte of the target's message is forwarded.

mod denied;
pub mod filter;
pub mod message;
pub mod stream;
pub mod upstream;

pub use filter::{Asker, Filter, Limits, Transport};
pub use stream::serve_stream;
pub use upstream::{Found, Hickory, Upstream};
