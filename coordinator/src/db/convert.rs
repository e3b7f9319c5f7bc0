//! Conversions between columns and domain types.

use touchstone_chain::{Address, B256, U256};

use super::DbError;

pub(crate) fn hash(column: &'static str, bytes: &[u8]) -> Result<B256, DbError> {
    B256::try_from(bytes).map_err(|_| DbError::Corrupt { column })
}

pub(crate) fn address(column: &'static str, bytes: &[u8]) -> Result<Address, DbError> {
    Address::try_from(bytes).map_err(|_| DbError::Corrupt { column })
}

/// `numeric` travels as decimal text.
pub(crate) fn uint(column: &'static str, text: &str) -> Result<U256, DbError> {
    U256::from_str_radix(text, 10).map_err(|_| DbError::Corrupt { column })
}

pub(crate) fn big<T: std::str::FromStr>(column: &'static str, text: &str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Corrupt { column })
}

/// Unsigned numbers that fit a `bigint`.
pub(crate) fn int<T: TryInto<i64>>(column: &'static str, value: T) -> Result<i64, DbError> {
    value.try_into().map_err(|_| DbError::TooLarge { column })
}

pub(crate) fn from_int<T: TryFrom<i64>>(column: &'static str, value: i64) -> Result<T, DbError> {
    value.try_into().map_err(|_| DbError::Corrupt { column })
}

/// An enum stored as text: `as_str`, and `parse` for reading it back.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident, $column:literal, { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vmeta])* $variant),+
        }

        impl $name {
            /// The word in the database.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// Reads the word back.
            pub fn parse(text: &str) -> Result<Self, crate::db::DbError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(crate::db::DbError::Corrupt { column: $column }),
                }
            }
        }
    };
}
pub(crate) use text_enum;
