// SPDX-License-Identifier: MIT
//! `stockade exec`: any command inside the walls.

mod start;
