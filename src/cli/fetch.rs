// SPDX-License-Identifier: MIT
//! The process of its own that a download runs in (see `runner::fetch`).
//!
//! Invariant: it reads one request from standard input, and ends with the runner's own code.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use super::arguments::Settings;
use super::denials::Denials;
use super::ending;
use super::failure::Failure;
use super::run::{self, Status};
use crate::confine::Confinement;
use crate::host::{Opened, RealHost};
use crate::plan::links::Written;
use crate::runner::fetch::FetchRequest;
use crate::runner::walls;
use crate::sys::process;

/// Reads the request and does what it asks for.
///
/// # Errors
/// [`Failure`]: the runner was not started.
pub(super) fn serve() -> Result<Status, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(Failure::FetchRequest)?;
    let request: FetchRequest = serde_json::from_slice(&bytes).map_err(Failure::Json)?;
    process::die_with_parent(request.parent).map_err(Failure::FetchRequest)?;
    let host = RealHost::new()?;
    let settings = Settings {
        audit: Some(request.denials.clone()),
        quiet_denials: true,
        ..Settings::default()
    };
    let denials = Rc::new(RefCell::new(Denials::open(
        &settings,
        &Written::default(),
        &host,
    )?));
    let (plan, environment) = walls::plan_fetch(&request, &host).map_err(Failure::Fetch)?;
    let confinement = Confinement::prepare(&plan, &environment, Opened::default())?;
    let finished = run::supervised(&plan, confinement, denials, None)?;
    Ok(ending::status(&finished, &plan))
}
