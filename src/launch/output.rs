// SPDX-License-Identifier: MIT
//! Where standard output and standard error of the target lead: to the caller's own, through
//! Stockade that counts, or into its memory.
//!
//! Invariant: what has a limit never exceeds it, in memory or on the caller's streams.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::carry::Carrier;
use super::waiter::wait_error;
use super::{Ending, LaunchError};
use crate::sys::files;
use crate::sys::signal::SignalQueue;

/// Standard output and standard error of a captured program.
pub(super) type Collected = [Vec<u8>; 2];

/// Standard input, output and error of the child.
pub(super) type Streams = [OwnedFd; 3];

/// Whether more may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// More may be written.
    Left,
    /// Too much was written.
    Over,
}

/// Where the output leads.
#[derive(Debug)]
pub(super) enum Output {
    /// The target has the caller's own streams.
    Own,
    /// It is passed on and counted.
    Carried(Carrier),
    /// It is collected.
    Collected(Collector),
}

impl Output {
    /// Pipes whose content is collected, and the streams of the child.
    pub(super) fn collect(limit: usize) -> io::Result<(Self, Streams)> {
        let (collector, streams) = Collector::new(limit)?;
        Ok((Self::Collected(collector), streams))
    }

    /// Pipes whose content is passed on, and the streams of the child.
    pub(super) fn carry(limit: u64) -> io::Result<(Self, Streams)> {
        let (carrier, streams) = Carrier::new(limit)?;
        Ok((Self::Carried(carrier), streams))
    }

    /// Begins to pass on, once the target is there.
    ///
    /// # Errors
    /// [`LaunchError::Wait`]: the caller ends the target.
    pub(super) fn begin(&mut self, signals: &SignalQueue) -> Result<(), LaunchError> {
        match self {
            Self::Carried(carrier) => carrier.begin(signals),
            Self::Own | Self::Collected(_) => Ok(()),
        }
    }

    /// What is readable when there is a signal, or something to tell of the output.
    pub(super) fn news<'a>(&'a self, signals: &'a SignalQueue) -> BorrowedFd<'a> {
        match self {
            Self::Carried(carrier) => carrier.news().unwrap_or_else(|| signals.as_fd()),
            Self::Own | Self::Collected(_) => signals.as_fd(),
        }
    }

    /// What else to wait for.
    pub(super) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let collector = match self {
            Self::Collected(collector) => Some(collector),
            Self::Own | Self::Carried(_) => None,
        };
        let pipes = collector.into_iter().flat_map(|one| one.pipes.iter());
        pipes.flatten().map(AsFd::as_fd)
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// [`LaunchError::OutputTooLong`] of collected output, [`LaunchError::Output`] of what cannot be
    /// passed on.
    pub(super) fn read(&mut self) -> Result<Room, LaunchError> {
        match self {
            Self::Own => Ok(Room::Left),
            Self::Carried(carrier) => carrier.look(),
            Self::Collected(collector) => collector.read().map(|()| Room::Left),
        }
    }

    /// Takes the rest, when the target and its descendants have ended; how the run ended then.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn finish(
        &mut self,
        ending: Ending,
        signals: &SignalQueue,
        deadline: Option<Instant>,
    ) -> Result<Ending, LaunchError> {
        match self {
            Self::Own => Ok(ending),
            Self::Carried(carrier) => carrier.finish(ending, signals, deadline),
            Self::Collected(collector) => collector.read().map(|()| ending),
        }
    }

    /// What was collected.
    pub(super) fn into_collected(self) -> Collected {
        match self {
            Self::Collected(collector) => collector.collected,
            Self::Own | Self::Carried(_) => Collected::default(),
        }
    }
}

/// Collects what a captured program writes.
#[derive(Debug)]
pub(super) struct Collector {
    pipes: [Option<File>; 2],
    collected: Collected,
    limit: usize,
}

impl Collector {
    fn new(limit: usize) -> io::Result<(Self, Streams)> {
        let (stdout, stdout_writer) = files::pipe()?;
        let (stderr, stderr_writer) = files::pipe()?;
        let collector = Self {
            pipes: [Some(stdout), Some(stderr)],
            collected: Collected::default(),
            limit,
        };
        Ok((
            collector,
            [files::null_input()?, stdout_writer, stderr_writer],
        ))
    }

    fn read(&mut self) -> Result<(), LaunchError> {
        for (pipe, bytes) in self.pipes.iter_mut().zip(&mut self.collected) {
            let Some(file) = pipe else { continue };
            // One byte more than the limit is enough to know; the rest is never read.
            let room = u64::try_from(self.limit)
                .unwrap_or(u64::MAX)
                .saturating_add(1);
            let room = room.saturating_sub(bytes.len() as u64);
            match file.take(room).read_to_end(bytes) {
                Ok(_) if bytes.len() <= self.limit => *pipe = None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(wait_error("read")(error)),
            }
        }
        let written: usize = self.collected.iter().map(Vec::len).sum();
        if written > self.limit {
            return Err(LaunchError::OutputTooLong { limit: self.limit });
        }
        Ok(())
    }
}
