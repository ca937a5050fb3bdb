"""ONNX graphs of encoders: padded token ids in, a vector or scores of labels for each text out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from llm_server.backends.onnx_encoder import IDS, MASK, OUTPUT, TYPES
from llm_server.convert.encoder_weights import Encoder, Layer, Linear

OPSET = 20
"""The first with Gelu; ONNX Runtime computes it in one pass."""
FAR = np.float32(-1e9)
"""Added to the scores of padding."""


class _Builder:
    """Nodes and weights, in the order in which they are computed."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[TensorProto] = []

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """One node; returns the name of its output."""
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"/{name}", **attributes))
        return name

    def split(self, given: str, parts: int) -> list[str]:
        """Equal parts of the last axis."""
        names = [f"Split_{len(self.nodes)}_{i}" for i in range(parts)]
        self.nodes.append(helper.make_node("Split", [given], names, axis=-1, num_outputs=parts))
        return names

    def constant(self, value: NDArray[Any]) -> str:
        """A weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def ints(self, *values: int) -> str:
        """A shape, or axes."""
        return self.constant(np.array(values, np.int64))

    def linear(self, given: str, by: Linear) -> str:
        """`given W + b`."""
        return self.op("Add", self.op("MatMul", given, self.constant(by.weight)), self.constant(by.bias))


def encoder_graph(encoder: Encoder, head: str = "mean") -> ModelProto:
    """A graph with the encoder's classifier; where there is none, with one vector of the tokens: their `mean`
    or `max`, the first (`cls`) or the `last` (Reimers and Gurevych, 2019); at length 1 without `-raw`.
    """
    build = _Builder()
    hidden = _embed(build, encoder)
    # [batch, 1, 1, tokens]: 0 for a token, far below for padding.
    mask = build.op("Cast", MASK, to=TensorProto.FLOAT)
    padding = build.op("Sub", build.constant(np.array(1, np.float32)), mask)
    far = build.op("Mul", padding, build.constant(np.array(FAR)))
    bias = build.op("Unsqueeze", far, build.ints(1, 2))
    for layer in encoder.layers:
        hidden = _layer(build, encoder, layer, hidden, bias)
    if encoder.classifier is None:
        _pool(build, head, hidden, mask)
    else:
        _classify(build, encoder.classifier, hidden)
    return _model(build, encoder)


def _embed(build: _Builder, encoder: Encoder) -> str:
    hidden = build.op("Gather", build.constant(encoder.words), IDS)
    tokens = build.op("Shape", IDS, start=1, end=2)
    positions = build.op(
        "Slice", build.constant(encoder.positions), build.ints(0), tokens, build.ints(0), build.ints(1)
    )
    hidden = build.op("Add", hidden, positions)
    if encoder.types is not None:
        hidden = build.op("Add", hidden, build.op("Gather", build.constant(encoder.types), TYPES))
    return _norm(build, encoder, hidden, encoder.norm)


def _layer(build: _Builder, encoder: Encoder, layer: Layer, hidden: str, bias: str) -> str:
    # To [batch, heads, tokens, size], keys to [batch, heads, size, tokens].
    apart = build.ints(0, 0, encoder.heads, -1)
    parts = build.split(build.linear(hidden, layer.attention), 3)
    heads = [build.op("Reshape", part, apart) for part in parts]
    query, key, value = (
        build.op("Transpose", part, perm=perm)
        for part, perm in zip(heads, ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=True)
    )
    scores = build.op("Add", build.op("MatMul", query, key), bias)
    mixed = build.op("MatMul", build.op("Softmax", scores, axis=-1), value)
    flat = build.op("Reshape", build.op("Transpose", mixed, perm=(0, 2, 1, 3)), build.ints(0, 0, -1))
    attended = build.op("Add", build.linear(flat, layer.mixed), hidden)
    attended = _norm(build, encoder, attended, layer.attention_norm)
    inner = _activate(build, encoder.activation, build.linear(attended, layer.up))
    outer = build.op("Add", build.linear(inner, layer.down), attended)
    return _norm(build, encoder, outer, layer.output_norm)


def _activate(build: _Builder, kind: str, given: str) -> str:
    if kind == "relu":
        return build.op("Relu", given)
    return build.op("Gelu", given, approximate="none" if kind == "gelu" else "tanh")


def _norm(build: _Builder, encoder: Encoder, given: str, by: Linear) -> str:
    scale, shift = build.constant(by.weight), build.constant(by.bias)
    return build.op("LayerNormalization", given, scale, shift, axis=-1, epsilon=encoder.epsilon)


def _pool(build: _Builder, head: str, hidden: str, mask: str) -> None:
    """One vector a text, [batch, width]; padding counts for nothing."""
    pooling, _, raw = head.partition("-")
    makers = {"mean": _mean, "max": _max, "last": _last, "cls": _first}
    vector = makers[pooling](build, hidden, mask)
    if raw:
        build.op("Identity", vector, output=OUTPUT)
        return
    length = build.op("ReduceL2", vector, build.ints(-1), keepdims=1)
    least = build.constant(np.array(1e-12, np.float32))
    build.op("Div", vector, build.op("Max", length, least), output=OUTPUT)


def _mean(build: _Builder, hidden: str, mask: str) -> str:
    # [batch, 1, tokens] times [batch, tokens, width].
    row = build.op("Unsqueeze", mask, build.ints(1))
    total = build.op("Squeeze", build.op("MatMul", row, hidden), build.ints(1))
    return build.op("Div", total, build.op("ReduceSum", mask, build.ints(-1), keepdims=1))


def _max(build: _Builder, hidden: str, mask: str) -> str:
    padding = build.op(
        "Sub", build.constant(np.array(1, np.float32)), build.op("Unsqueeze", mask, build.ints(2))
    )
    far = build.op("Mul", padding, build.constant(np.array(FAR)))
    return build.op("ReduceMax", build.op("Add", hidden, far), build.ints(1), keepdims=0)


def _last(build: _Builder, hidden: str, mask: str) -> str:
    # Texts are padded at their end: the last token is at the count of tokens, less one.
    count = build.op("ReduceSum", mask, build.ints(-1), keepdims=1)
    place = build.op(
        "Cast", build.op("Sub", count, build.constant(np.array(1, np.float32))), to=TensorProto.INT64
    )
    return build.op("GatherND", hidden, place, batch_dims=1)


def _first(build: _Builder, hidden: str, mask: str) -> str:
    return build.op("Gather", hidden, build.constant(np.array(0, np.int64)), axis=1)


def _classify(build: _Builder, classifier: tuple[Linear, str, Linear], hidden: str) -> None:
    first, activation, last = classifier
    beginning = build.op("Gather", hidden, build.constant(np.array(0, np.int64)), axis=1)
    inner = build.linear(beginning, first)
    inner = build.op("Tanh" if activation == "tanh" else "Relu", inner)
    build.op("Identity", build.linear(inner, last), output=OUTPUT)


def _model(build: _Builder, encoder: Encoder) -> ModelProto:
    names = [IDS, MASK] if encoder.types is None else [IDS, MASK, TYPES]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", "size"])
    graph = helper.make_graph(build.nodes, "encoder", inputs, [output], build.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
