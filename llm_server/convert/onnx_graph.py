"""Changes to a graph of onnxruntime-genai's model builder: logits of wanted rows, half embeddings, fewer
bits, LoRA inputs.

LoRA (Hu et al., 2021) adds `x A B` to what a linear layer makes of `x`. Here A and B hold the ranks of all
adapters of a batch side by side, and a row of the batch takes its own through its scales:
`y + ((x A) * scales) B`. Ranks of other rows are multiplied by zero. Or they hold a matrix for each row: the
same nodes multiply either, so that the inputs are without a shape.
"""

import re
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from llm_server.backends.onnx_manifest import SCALES, input_names

HEAD = "/lm_head/MatMul"
ROWS = "rows"
PROJECTION = re.compile(r"/model/layers\.(\d+)/(attn|mlp)/(\w+)/MatMul(?:_Q\d)?")
BLOCK = 32
"""Weights that share one scale."""


class UnknownGraph(Exception):
    """The graph is not built as these changes expect."""


def pick_rows(model: ModelProto) -> None:
    """Compute logits for the positions in the new input `rows` only (flat over batch and sequence):
    `logits` becomes [rows, vocabulary].
    """
    nodes = list(model.graph.node)
    at = next((i for i, node in enumerate(nodes) if node.name == HEAD), None)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    if at is None or nodes[at].input[1] not in weights:
        raise UnknownGraph(f"it has no {HEAD} with constant weights")
    head = nodes[at]
    width = weights[head.input[1]].dims[0]
    shape = numpy_helper.from_array(np.array([-1, width], np.int64), "rows.shape")
    model.graph.initializer.append(shape)
    flat = helper.make_node("Reshape", [head.input[0], shape.name], ["rows.flat"], name="/rows/Reshape")
    picked = helper.make_node("Gather", ["rows.flat", ROWS], ["rows.picked"], name="/rows/Gather", axis=0)
    head.input[0] = "rows.picked"
    _replace_nodes(model, [*nodes[:at], flat, picked, *nodes[at:]])
    model.graph.input.append(helper.make_tensor_value_info(ROWS, TensorProto.INT64, ["picked_rows"]))
    for output in model.graph.output:
        if output.name == "logits":
            sizes = output.type.tensor_type.shape.dim
            vocabulary, kind = sizes[2].dim_value, output.type.tensor_type.elem_type
            output.CopyFrom(helper.make_tensor_value_info("logits", kind, ["picked_rows", vocabulary]))
    _forget_shapes(model)


def halve_embedding(model: ModelProto) -> None:
    """Keep the embedding table in 16 bits and widen what is looked up: quantising leaves it alone, and it
    is the largest tensor of a small model.
    """
    nodes = list(model.graph.node)
    at, gather = next((i, node) for i, node in enumerate(nodes) if node.name == "/model/embed_tokens/Gather")
    table = _embedding(model, gather.input[0]).astype(np.float16)
    gather.input[0] = "embedding.half"
    wide = gather.output[0]
    gather.output[0] = f"{wide}/half"
    cast = helper.make_node("Cast", [gather.output[0]], [wide], name="/embedding/Cast", to=TensorProto.FLOAT)
    model.graph.initializer.append(numpy_helper.from_array(table, "embedding.half"))
    _replace_nodes(model, [*nodes[: at + 1], cast, *nodes[at + 1 :]])
    _drop_unused(model)


def quantise(model: ModelProto, bits: int) -> ModelProto:
    """Weights of linear layers in blocks of 4 or 8 bits; the head keeps 8."""
    excluded = [HEAD] if bits < 8 else []
    model = _quantised(model, bits, excluded)
    return _quantised(model, 8, []) if excluded else model


def add_lora(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Add the inputs `SCALES` and two for every linear layer; returns the layers by their names in
    transformers, with inputs and outputs. Needs no weights: they may lie in a file beside the graph.
    """
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    kind = _float_type(model)
    targets: dict[str, tuple[int, int]] = {}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        named = PROJECTION.fullmatch(node.name)
        if named and (sizes := _sizes(node, dims)):
            layer, block, name = named.groups()
            target = f"model.layers.{layer}.{'self_attn' if block == 'attn' else block}.{name}"
            targets[target] = sizes
            nodes += _lora_nodes(node, target)
    if not targets:
        raise UnknownGraph("it has no linear layers that adapters could change")
    _replace_nodes(model, nodes)
    scales = helper.make_tensor_value_info(SCALES, kind, ["batch_size", 1, "ranks"])
    model.graph.input.append(scales)
    _forget_shapes(model)
    for target, (_, height) in targets.items():
        for name in input_names(target):
            model.graph.input.append(helper.make_tensor_value_info(name, kind, None))
        # Where nothing is known of the inputs this has to be told, or memory is not planned ahead.
        widths: tuple[str | int, ...] = ("ranks", "ranks", height)
        for name, width in zip(_lora_names(target), widths, strict=True):
            shape = ["batch_size", "sequence_length", width]
            model.graph.value_info.append(helper.make_tensor_value_info(name, kind, shape))
    return targets


def _lora_nodes(node: NodeProto, target: str) -> list[NodeProto]:
    first, second = input_names(target)
    out = node.output[0]
    node.output[0] = f"{out}/alone"
    names = _lora_names(target)
    return [
        helper.make_node("MatMul", [node.input[0], first], [names[0]], name=f"/lora/{names[0]}"),
        helper.make_node("Mul", [names[0], SCALES], [names[1]], name=f"/lora/{names[1]}"),
        helper.make_node("MatMul", [names[1], second], [names[2]], name=f"/lora/{names[2]}"),
        helper.make_node("Add", [node.output[0], names[2]], [out], name=f"/lora/{target}.sum"),
    ]


def _lora_names(target: str) -> list[str]:
    """What the nodes make: by A, by the scales, by B."""
    return [f"{target}.{step}" for step in ("narrow", "scaled", "wide")]


def _sizes(node: NodeProto, dims: dict[str, Iterable[int]]) -> tuple[int, int] | None:
    """Inputs and outputs of a linear layer, None where the second factor is no constant."""
    if node.op_type == "MatMulNBits":
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        return sizes["K"], sizes["N"]
    if node.op_type == "MatMul" and node.input[1] in dims:
        width, height = dims[node.input[1]]
        return width, height
    return None


def _quantised(model: ModelProto, bits: int, excluded: list[str]) -> ModelProto:
    options = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=bits, op_types_to_quantize=("MatMul",)
    )
    quantiser = MatMulNBitsQuantizer(model, nodes_to_exclude=excluded, algo_config=options)
    quantiser.process()
    quantised: ModelProto = quantiser.model.model
    return quantised


def _embedding(model: ModelProto, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """The embedding table [vocabulary, width]; a tied one is the head's matrix, transposed in the graph."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    if name in weights:
        return numpy_helper.to_array(weights[name])
    turned = next(node for node in model.graph.node if name in node.output)
    if turned.op_type != "Transpose" or turned.input[0] not in weights:
        raise UnknownGraph(f"its embedding comes out of {turned.op_type}")
    return np.ascontiguousarray(numpy_helper.to_array(weights[turned.input[0]]).T)


def _float_type(model: ModelProto) -> int:
    """Element type of the cache, which is that of everything between the nodes."""
    cache = next(i for i in model.graph.input if i.name.startswith("past_key_values."))
    return int(cache.type.tensor_type.elem_type)


def _drop_unused(model: ModelProto) -> None:
    """Nodes and tensors that nothing reads any more."""
    outputs = {output.name for output in model.graph.output}
    read = {name for node in model.graph.node for name in node.input}
    _replace_nodes(model, [n for n in model.graph.node if read & {*n.output} or outputs & {*n.output}])
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _forget_shapes(model: ModelProto) -> None:
    """Shapes of inner tensors, as the builder wrote them, are not true any more."""
    del model.graph.value_info[:]
