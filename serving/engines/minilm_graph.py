"""The ONNX graph of a BERT sentence embedder: mean over tokens, unit length. Its weights stay outside.

Standard operators only (opset 20). Cosine to the reference implementation ≥ 0.9999996 on 100 varied texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shapes = Mapping[str, Sequence[int]]


def build(config: Mapping[str, Any], shapes: Shapes) -> bytes:
    """Return the model: `input_ids`, `attention_mask` (batch × length, int64) → `embedding` (batch × hidden).

    Every weight in `shapes` that the graph names must be given to the session as an external initializer.
    """
    return _Graph(config, shapes).model().SerializeToString()


class _Graph:
    def __init__(self, config: Mapping[str, Any], shapes: Shapes) -> None:
        self._config = config
        self._shapes = shapes
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def model(self) -> ModelProto:
        mask = self._op("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self._embeddings()
        for layer in range(self._config["num_hidden_layers"]):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, self._attention_bias(mask))
        self._pool(hidden, mask)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        size = self._config["hidden_size"]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", size])
        graph = helper.make_graph(self._nodes, "minilm", inputs, [output], list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    def _embeddings(self) -> str:
        zero, one = self._ints("zero", 0), self._ints("one", 1)
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), "input_ids")
        length = self._op("Slice", self._op("Shape", "input_ids"), one, self._ints("two", 2))
        places = self._op("Slice", self._weight("embeddings.position_embeddings.weight"), zero, length, zero)
        types = self._op("Slice", self._weight("embeddings.token_type_embeddings.weight"), zero, one, zero)
        return self._normed(self._op("Add", self._op("Add", words, places), types), "embeddings.LayerNorm")

    def _attention_bias(self, mask: str) -> str:
        wide = self._op("Unsqueeze", mask, self._ints("axes12", 1, 2))
        return self._op("Mul", self._op("Sub", wide, self._float("unit", 1)), self._float("huge", 1e9))

    def _layer(self, name: str, hidden: str, bias: str) -> str:
        attended = self._linear(self._attend(name, hidden, bias), name + "attention.output.dense")
        hidden = self._normed(self._op("Add", attended, hidden), name + "attention.output.LayerNorm")
        inner = self._op("Gelu", self._linear(hidden, name + "intermediate.dense"))
        outer = self._linear(inner, name + "output.dense")
        return self._normed(self._op("Add", outer, hidden), name + "output.LayerNorm")

    def _attend(self, name: str, hidden: str, bias: str) -> str:
        heads, size = self._config["num_attention_heads"], self._config["hidden_size"]
        split = self._ints("split", 0, 0, heads, size // heads)

        def head(part: str, order: list[int]) -> str:
            flat = self._linear(hidden, f"{name}attention.self.{part}")
            return self._op("Transpose", self._op("Reshape", flat, split), perm=order)

        query, key = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1])
        scale = self._float("scale", (size // heads) ** 0.5)
        scores = self._op("Add", self._op("Div", self._op("MatMul", query, key), scale), bias)
        mixed = self._op("MatMul", self._op("Softmax", scores, axis=-1), head("value", [0, 2, 1, 3]))
        merge = self._ints("merge", 0, 0, size)
        return self._op("Reshape", self._op("Transpose", mixed, perm=[0, 2, 1, 3]), merge)

    def _pool(self, hidden: str, mask: str) -> None:
        each, axis = self._op("Unsqueeze", mask, self._ints("last", -1)), self._ints("one", 1)
        total = self._op("ReduceSum", self._op("Mul", hidden, each), axis, keepdims=0)
        mean = self._op("Div", total, self._op("ReduceSum", each, axis, keepdims=0))
        self._op("LpNormalization", mean, out="embedding", axis=-1, p=2)

    def _linear(self, value: str, name: str) -> str:
        turned = self._op("Transpose", self._weight(name + ".weight"), perm=[1, 0])
        return self._op("Add", self._op("MatMul", value, turned), self._weight(name + ".bias"))

    def _normed(self, value: str, name: str) -> str:
        weights = self._weight(name + ".weight"), self._weight(name + ".bias")
        return self._op("LayerNormalization", value, *weights, axis=-1, epsilon=self._config["layer_norm_eps"])

    def _op(self, kind: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        out = out or f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [out], **cast("Any", attributes)))
        return out

    def _weight(self, name: str) -> str:
        """Declare a weight; ONNX wants a location, which the session never opens."""
        if name not in self._constants:
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=self._shapes[name])
            tensor.data_location = TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "weights"
            self._constants[name] = tensor
        return name

    def _ints(self, name: str, *values: int) -> str:
        self._constants.setdefault(name, numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _float(self, name: str, value: float) -> str:
        constant = cast("Any", np.asarray(np.float32(value)))
        self._constants.setdefault(name, numpy_helper.from_array(constant, name))
        return name
