//! Chess clocks (PROTOCOL.md section 8): the only place that compares a time with a deadline. Times are Unix seconds.

use crate::dispute::PART_TURNS;

/// Whether a move at `now` is too late. At the deadline itself it is in time.
pub const fn expired(deadline: u64, now: u64) -> bool {
    now > deadline
}

/// A side's turn begins with `left` seconds on its clock: the last moment of the turn.
pub const fn start(left: u32, extension: u32, now: u64) -> u64 {
    now.saturating_add(if left > extension { left } else { extension } as u64)
}

/// A side's turn ends: the seconds its clock shows. A late move leaves nothing.
pub const fn stop(deadline: u64, now: u64) -> u32 {
    if expired(deadline, now) {
        return 0;
    }
    let left = deadline - now;
    if left > u32::MAX as u64 { u32::MAX } else { left as u32 }
}

/// The longest two clocks can run: each begins with `clock` and gains at most `extension` a turn; the challenger, who begins,
/// has one turn more than the worker, who has `max_turns` and the parts' besides.
pub const fn longest(clock: u32, extension: u32, max_turns: u16) -> u64 {
    2 * clock as u64 + (2 * (max_turns as u64 + PART_TURNS as u64) + 1) * extension as u64
}
