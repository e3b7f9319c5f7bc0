//! What a command prints. Whoever reads it may close the pipe early (`| head`): the command then ends quietly, where `println!`
//! would panic.

use std::{fmt, io};

use anyhow::{Context as _, Result};

/// The reader of standard output has seen enough.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl std::error::Error for Closed {}

/// Prints a result, for people or programs: a line, or several.
///
/// # Errors
/// [`Closed`], or the output cannot be written.
pub(crate) fn line(text: impl fmt::Display) -> Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// Prints a remark beside the results. Nobody who has closed standard error misses it.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = write(&mut io::stderr().lock(), text);
}

fn write(out: &mut impl io::Write, text: impl fmt::Display) -> Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        result => result.context("write the output"),
    }
}
