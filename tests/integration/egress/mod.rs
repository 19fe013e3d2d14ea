// SPDX-License-Identifier: MIT
//! Granted names on a network of the tests' own: real clients, ways around, races, and what the
//! supervisor leaves as it was.
//!
//! Invariant: every denial is seen by the server that must not be reached (its count stays zero), not
//! only by the client.

mod changing;
mod clients;
mod denied_names;
pub(crate) mod dns_server;
mod events;
mod fidelity;
mod fronting;
mod idle;
mod lifetime;
mod listeners;
mod names;
mod outer;
mod proxy;
mod races;
mod resolvers;
mod reviews;
mod routes;
pub(crate) mod servers;
mod unix;
pub(crate) mod world;
