//! Small ONNX graphs for tests.

use prost::Message;

use crate::{
    CompileError, CompileOptions, Plan, compile,
    proto::{
        AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute,
    },
};

/// A model in the making: operator set 17, f32 unless said otherwise.
#[derive(Clone)]
pub(crate) struct Model(pub(crate) ModelProto);

impl Model {
    pub(crate) fn new() -> Self {
        Self::with_opset(17)
    }

    pub(crate) fn with_opset(version: i64) -> Self {
        Self(ModelProto {
            ir_version: 8,
            graph: Some(GraphProto::default()),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version,
            }],
            functions: Vec::new(),
        })
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.get_or_insert_default()
    }

    pub(crate) fn input(mut self, name: &str, dtype: i32, dims: &[i64]) -> Self {
        self.graph().input.push(info(name, dtype, dims));
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.graph().output.push(ValueInfoProto {
            name: name.into(),
            kind: None,
        });
        self
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.graph().initializer.push(TensorProto {
            name: name.into(),
            data_type: 1,
            dims: dims.into(),
            float_data: values.into(),
            ..Default::default()
        });
        self
    }

    /// A weight of this shape with values that differ.
    /// A constant in a format of two bytes.
    pub(crate) fn halves(mut self, name: &str, data_type: i32, dims: &[i64], bits: &[u16]) -> Self {
        self.graph().initializer.push(TensorProto {
            name: name.into(),
            data_type,
            dims: dims.into(),
            raw_data: Some(bits.iter().flat_map(|bits| bits.to_le_bytes()).collect()),
            ..Default::default()
        });
        self
    }

    pub(crate) fn weight(self, name: &str, dims: &[i64]) -> Self {
        let count = dims.iter().product::<i64>();
        let values: Vec<f32> = (0..count)
            .map(|k| ((k * 37 + name.len() as i64) % 101) as f32 / 50.0 - 1.0)
            .collect();
        self.floats(name, dims, &values)
    }

    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.graph().initializer.push(TensorProto {
            name: name.into(),
            data_type: 7,
            dims: vec![values.len() as i64],
            int64_data: values.into(),
            ..Default::default()
        });
        self
    }

    /// A node; operands and outputs are separated by spaces, `-` is an operand left out.
    pub(crate) fn node(mut self, op_type: &str, inputs: &str, outputs: &str) -> Self {
        let names = |list: &str| {
            list.split_whitespace()
                .map(|n| if n == "-" { String::new() } else { n.into() })
                .collect()
        };
        self.graph().node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            op_type: op_type.into(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn last(&mut self) -> &mut Vec<AttributeProto> {
        &mut self.graph().node.last_mut().expect("a node").attribute
    }

    pub(crate) fn int(mut self, name: &str, i: i64) -> Self {
        self.last().push(AttributeProto {
            name: name.into(),
            kind: attribute::INT,
            i,
            ..Default::default()
        });
        self
    }

    pub(crate) fn list(mut self, name: &str, ints: &[i64]) -> Self {
        self.last().push(AttributeProto {
            name: name.into(),
            kind: attribute::INTS,
            ints: ints.into(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    pub(crate) fn compile(&self) -> Result<Plan, CompileError> {
        compile(&self.bytes(), &CompileOptions::default())
    }

    pub(crate) fn plan(&self) -> Plan {
        self.compile().unwrap_or_else(|error| panic!("{error}"))
    }
}

pub(crate) fn info(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| DimensionProto {
            dim_value: (*dim >= 0).then_some(*dim),
            dim_param: None,
        })
        .collect();
    let tensor = TensorTypeProto {
        elem_type,
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.into(),
        kind: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}

/// Names of a plan's codes, in order.
pub(crate) fn codes(plan: &Plan) -> String {
    plan.operators
        .iter()
        .map(|d| format!("{:?}", d.code))
        .collect::<Vec<_>>()
        .join(" ")
}
