//! What one peer, and all of them together, may take of the coordinator.
//!
//! Sizes that both sides must agree on (messages, lists, witnesses) are not here: they are `touchstone_wire::limits`.

use anyhow::ensure;
use serde::Deserialize;

/// One table for what can be set, what holds, and the defaults.
macro_rules! limits {
    ($($(#[$doc:meta])+ $name:ident, $env:literal, $default:literal;)+) => {
        /// What can be set of the limits: flags, environment, or the table `[limits]` of the file.
        #[derive(Clone, Debug, Default, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        pub struct LimitSettings {
            $($(#[$doc])+ #[arg(long, env = $env, value_name = "NUMBER")] pub $name: Option<u32>,)+
        }

        /// The limits that hold. None is zero.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])+ pub $name: u32,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl LimitSettings {
            /// These settings, and `other`'s where these are silent.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }
        }

        impl TryFrom<LimitSettings> for Limits {
            type Error = anyhow::Error;

            fn try_from(settings: LimitSettings) -> anyhow::Result<Self> {
                $(ensure!(settings.$name != Some(0), "{} is 0: nobody could be served", stringify!($name));)+
                Ok(Self { $($name: settings.$name.unwrap_or($default),)+ })
            }
        }
    };
}

limits! {
    /// Connections at once; more are closed at once.
    max_connections, "TOUCHSTONE_MAX_CONNECTIONS", 1_024;
    /// Connections at once of one address (an IPv6 network of 64 bits is one address).
    max_connections_per_address, "TOUCHSTONE_MAX_CONNECTIONS_PER_ADDRESS", 64;
    /// Calls at once on one connection; a client waits with more.
    max_streams, "TOUCHSTONE_MAX_STREAMS", 256;
    /// Worker sessions at once, those that have not proven a key yet included.
    max_sessions, "TOUCHSTONE_MAX_SESSIONS", 512;
    /// Worker sessions at once of one address.
    max_sessions_per_address, "TOUCHSTONE_MAX_SESSIONS_PER_ADDRESS", 32;
    /// Downloads and watches at once; each may hold a MiB.
    max_readers, "TOUCHSTONE_MAX_READERS", 256;
    /// Downloads and watches at once of one address.
    max_readers_per_address, "TOUCHSTONE_MAX_READERS_PER_ADDRESS", 64;
    /// Seconds for a connection to say something (TLS included), and for a session to prove its key.
    hello_seconds, "TOUCHSTONE_HELLO_SECONDS", 10;
    /// Seconds without a byte after which a connection is closed. Healthy ones are pinged every 10 seconds, and answer.
    idle_seconds, "TOUCHSTONE_IDLE_SECONDS", 60;
    /// Seconds that a peer may take to read the next message of a stream, or to send the next part of an upload.
    slow_seconds, "TOUCHSTONE_SLOW_SECONDS", 20;
    /// Bytes a second that an upload has to make on the whole.
    min_upload_rate, "TOUCHSTONE_MIN_UPLOAD_RATE", 131_072;
    /// Messages a second of one session; four seconds' worth may come at once.
    max_message_rate, "TOUCHSTONE_MAX_MESSAGE_RATE", 50;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_sets_limits_by_name_and_nothing_may_be_zero() {
        let set: LimitSettings = toml::from_str("max_sessions = 3").unwrap();
        let limits = Limits::try_from(
            LimitSettings {
                max_streams: Some(5),
                ..LimitSettings::default()
            }
            .or(set),
        )
        .unwrap();
        assert_eq!(
            limits,
            Limits {
                max_sessions: 3,
                max_streams: 5,
                ..Limits::default()
            }
        );
        assert!(toml::from_str::<LimitSettings>("max_sesions = 3").is_err());
        let zero = LimitSettings {
            max_readers: Some(0),
            ..LimitSettings::default()
        };
        let error = Limits::try_from(zero).unwrap_err().to_string();
        assert!(error.contains("max_readers is 0"), "{error}");
    }
}
