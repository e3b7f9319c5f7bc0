//! What the tests of this crate share.

use alloy_primitives::{Address, B256, U256};
use touchstone_protocol::model::Profile;

use crate::record::Terms;

pub(crate) fn terms() -> Terms {
    Terms {
        request: U256::from(7),
        attempt: 1,
        model: B256::repeat_byte(1),
        publisher: Address::repeat_byte(2),
        file_digest: B256::repeat_byte(3),
        profile: Profile::FAST.encode(),
        input: vec![1, 2, 3, 4].into(),
        inputs: B256::repeat_byte(4),
        poster: Address::repeat_byte(5),
        lease_expires: 4_000_000_000,
        deadline: 4_000_000_100,
        valid_until: 4_000_000_100,
    }
}
