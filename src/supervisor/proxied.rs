// SPDX-License-Identifier: MIT
//! connect(2) where granted connections go through an HTTP proxy.
//!
//! Invariant: the proxy is asked for what was judged, under the name that was judged; its
//! connections are the supervisor's own, and none is the target's before the proxy accepted.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::caller::Caller;
use super::checked::Relay;
use super::connect::{async_stream, hold_socket, settle, unanswered};
use super::waiting::until_done;
use super::{Outcome, Shared};
use crate::egress::proxy::{Proxy, ProxyError};
use crate::egress::sniff::Expect;
use crate::sys::notify::Answer;
use crate::sys::socket::{self, Kind};

/// The way to one peer.
pub(super) struct Route {
    proxy: Rc<Proxy>,
    /// What the proxy is asked for.
    authority: String,
}

/// The way to a granted peer, if it leads through a proxy.
pub(super) fn route(shared: &Shared, address: SocketAddr) -> Option<Route> {
    let proxy = shared.proxy.as_ref()?;
    Some(Route {
        authority: proxy.authority(address)?,
        proxy: Rc::clone(proxy),
    })
}

/// Connects the caller's socket to a relay behind which the proxy's tunnel is.
pub(super) fn connect(
    caller: Rc<Caller>,
    socket: OwnedFd,
    kind: Kind,
    address: SocketAddr,
    expect: Expect,
    Route { proxy, authority }: Route,
) -> Result<Outcome, Errno> {
    let flags = socket::status_flags(socket.as_fd())?;
    let relay = Relay {
        shared: Rc::clone(&caller.shared),
        caller: Rc::clone(&caller),
        address,
        expect,
    };
    if flags & libc::O_NONBLOCK == 0 {
        return Ok(Outcome::later(async move {
            let limit = socket::time_limit(socket.as_fd(), true).unwrap_or(None);
            let tunnel = match until_done(&caller, limit, proxy.tunnel(&authority)).await {
                Ok(Ok(tunnel)) => tunnel,
                Ok(Err(error)) => {
                    tell(&caller, &authority, address, &error);
                    return Answer::Error(error.errno() as i32);
                }
                Err(waited) => return unanswered(waited),
            };
            let holders = &caller.shared.holders;
            let end = hold_socket(holders, &socket, flags, kind.domain, address)
                .and_then(|held| holders.meet(held))
                .and_then(async_stream);
            match end {
                Ok(end) => {
                    tokio::task::spawn_local(relay.run(end, tunnel));
                    super::complete(settle(caller, socket, flags)).await
                }
                Err(errno) => Answer::Error(errno as i32),
            }
        }));
    }
    let held = hold_socket(&caller.shared.holders, &socket, flags, kind.domain, address)?;
    caller.under_way(socket);
    tokio::task::spawn_local(async move {
        match proxy.tunnel(&authority).await {
            Ok(tunnel) => {
                let met = caller.shared.holders.meet(held);
                if let Ok(end) = met.and_then(async_stream) {
                    relay.run(end, tunnel).await;
                }
            }
            Err(error) => {
                // Refused by that.
                drop(held);
                tell(&caller, &authority, address, &error);
            }
        }
    });
    Err(Errno::EINPROGRESS)
}

/// A granted connection that the proxy does not make looks like one the peer refused: here is why.
fn tell(caller: &Caller, authority: &str, address: SocketAddr, error: &ProxyError) {
    let shared = &caller.shared;
    let names = match (&shared.proxy, authority.rsplit_once(':')) {
        (Some(proxy), Some((name, _))) if proxy.is_handed_out(address.ip()) => {
            vec![name.to_owned()]
        }
        _ => Vec::new(),
    };
    caller.refused(names, address, error.to_string(), None);
}
