//! An operator that is judged by parts, with its values at hand: what there is to say of its sums.

use touchstone_protocol::{
    descriptor::Descriptor,
    judge::JudgeError,
    parts::{self, Header, Words},
    witness::{Source, WitnessError},
};

/// One element of a long operator.
#[derive(Clone, Debug)]
pub struct Long<'a> {
    /// The operator.
    pub descriptor: &'a Descriptor,
    /// The profile's word.
    pub profile: u64,
    /// The element of its output.
    pub element: u64,
    /// Whole operands in order.
    pub operands: Vec<&'a [u8]>,
    /// The whole output.
    pub output: &'a [u8],
}

impl<'a> Long<'a> {
    /// The values that a source has.
    ///
    /// # Errors
    /// One of them is not at hand.
    pub fn of(
        source: &'a impl Source,
        descriptor: &'a Descriptor,
        profile: u64,
        element: u64,
    ) -> Result<Self, WitnessError> {
        let bytes = |place| {
            let tensor = source.tensor(place).ok_or(WitnessError::Missing(place))?;
            Ok::<_, WitnessError>(&**tensor.bytes())
        };
        let operands = descriptor.operands.iter().map(|operand| bytes(operand.place));
        Ok(Self {
            descriptor,
            profile,
            element,
            operands: operands.collect::<Result<_, _>>()?,
            output: bytes(descriptor.place)?,
        })
    }

    /// The header that an honest worker gives.
    ///
    /// # Errors
    /// The judge refuses the values.
    pub fn header(&self) -> Result<Header, JudgeError> {
        parts::header(self.descriptor, self.profile, &self.operands, self.output, self.element)
    }

    /// The sums of a node.
    ///
    /// # Errors
    /// The judge refuses the values or the header.
    pub fn sums(&self, header: &Header, depth: u32, index: u32) -> Result<Words, JudgeError> {
        let terms = parts::terms(self.descriptor, depth, index);
        parts::sums(
            self.descriptor,
            self.profile,
            &self.operands,
            self.element,
            header,
            &terms,
        )
    }

    /// The sums of a node's parts, one after the other.
    ///
    /// # Errors
    /// As [`Long::sums`].
    pub fn parts(&self, header: &Header, depth: u32, index: u32) -> Result<Words, JudgeError> {
        let parts = parts::parts(
            self.descriptor,
            self.profile,
            &self.operands,
            self.element,
            header,
            depth,
            index,
        )?;
        Ok(parts.concat())
    }

    /// The sums that parts add up to.
    pub fn add_up(&self, parts: &Words) -> Words {
        parts::add_up(parts, parts::word_count(self.descriptor, self.profile))
    }
}
