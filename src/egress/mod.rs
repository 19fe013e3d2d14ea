// SPDX-License-Identifier: MIT
//! What a granted name means on the network: lookups, addresses, and the check of what is said on
//! a connection.
//!
//! Invariant: nothing here sees flags or files of rules, only the Plan's `NetRules`; and no parser of
//! bytes from outside does anything but parse.
#![forbid(unsafe_code)]

pub mod dns;
pub mod hosts;
pub mod names;
pub mod proxy;
pub mod relay;
pub mod rules;
pub mod sniff;
pub mod special;
pub mod synthetic;
