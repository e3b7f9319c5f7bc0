//! Names of numerics profiles on the command line: `fast`, `blocked:B`, `wide`, `tf32`, `bf16`, `fp16`.

use anyhow::{Context as _, Result, bail};
use touchstone_protocol::model::{Format, Kind, Profile};

/// The profile that a name stands for.
///
/// # Errors
/// No profile has the name, or the block is none that it takes.
pub(crate) fn parse(name: &str) -> Result<Profile> {
    match name.split_once(':') {
        None if name == "fast" => Ok(Profile::FAST),
        None if name == "wide" => Ok(Profile::WIDE),
        None if name == "tf32" => Ok(Profile::TF32),
        None if name == "bf16" => Ok(Profile::BF16),
        None if name == "fp16" => Ok(Profile::FP16),
        Some(("blocked", block)) => {
            let block = block.parse().with_context(|| format!("{block:?} is no block"))?;
            Ok(Profile::blocked(block)?)
        }
        _ => bail!(
            "{name:?} is none of `fast`, `wide`, `tf32`, `bf16`, `fp16`, `blocked:B` with B a power of two from 16 to 32768"
        ),
    }
}

/// The name of a profile's word.
pub(crate) fn name(word: u64) -> String {
    match Profile::decode(word).map(|profile| profile.kind) {
        Ok(Kind::Fast) => "fast".to_owned(),
        Ok(Kind::Wide) => "wide".to_owned(),
        Ok(Kind::Tensor(Format::Tf32)) => "tf32".to_owned(),
        Ok(Kind::Tensor(Format::Bf16)) => "bf16".to_owned(),
        Ok(Kind::Tensor(Format::Fp16)) => "fp16".to_owned(),
        Ok(Kind::Blocked(block)) => format!("blocked:{block}"),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["fast", "wide", "blocked:16", "blocked:32768", "tf32", "bf16", "fp16"] {
            assert_eq!(name(parse(text).unwrap().encode()), text);
        }
        for text in [
            "",
            "Fast",
            "blocked",
            "blocked:",
            "blocked:15",
            "blocked:65536",
            "blocked:-16",
            "wide:1",
            "fp32",
            "bf16:8",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
