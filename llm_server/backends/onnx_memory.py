"""Where keys and values lie: in the host's memory, or on the device that computes."""

from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from llm_server.backends.onnx_manifest import Manifest

Shape = tuple[int, int, int, int]
"""Rows, heads, context, width."""


class Memory(Protocol):
    """One tensor for each of `names`, all of the same shape."""

    names: list[str]
    """`layer.key` and `layer.value`."""
    shape: Shape
    dtype: np.dtype[np.generic]
    device: str

    def pointer(self, name: str, row: int) -> int:
        """Address of a row."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy at least the first `length` tokens of a row, in every tensor."""
        ...

    def read(self, row: int, length: int) -> NDArray[np.generic]:
        """The first `length` tokens of a row: [tensors, heads, length, width]."""
        ...

    def write(self, row: int, blob: NDArray[np.generic]) -> None:
        """The inverse."""
        ...


class HostMemory:
    """The system gives pages when they are written first, so that unused context costs no memory."""

    device = "cpu"

    def __init__(self, manifest: Manifest, rows: int, context: int) -> None:
        self.names, self.shape, self.dtype = _layout(manifest, rows, context)
        self.arrays: dict[str, NDArray[np.generic]] = {
            name: np.zeros(self.shape, self.dtype) for name in self.names
        }

    def pointer(self, name: str, row: int) -> int:
        """Address of a row."""
        return self.arrays[name][row:].ctypes.data

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy that many tokens."""
        for array in self.arrays.values():
            array[target, :, :length] = array[source, :, :length]

    def read(self, row: int, length: int) -> NDArray[np.generic]:
        """Stacked in the order of `names`."""
        return np.stack([self.arrays[name][row, :, :length] for name in self.names])

    def write(self, row: int, blob: NDArray[np.generic]) -> None:
        """The inverse."""
        for name, part in zip(self.names, blob, strict=True):
            self.arrays[name][row, :, : part.shape[1]] = part


class DeviceMemory:
    """Tensors of ONNX Runtime; whole rows are copied by a graph of one node, on the device itself."""

    def __init__(self, manifest: Manifest, rows: int, context: int, device: str) -> None:
        self.names, self.shape, self.dtype = _layout(manifest, rows, context)
        self.device = device
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        self.values = {name: make(self.shape, self.dtype.type, device, 0) for name in self.names}
        self._row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._session = _copying_session(self.dtype, device)

    def pointer(self, name: str, row: int) -> int:
        """Address of a row."""
        return int(self.values[name].data_ptr()) + row * self._row_bytes

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy rows as they are, whatever their length."""
        for name in self.names:
            here, there = self.pointer(name, source), self.pointer(name, target)
            self._move(self.device, here, self.device, there)

    def read(self, row: int, length: int) -> NDArray[np.generic]:
        """Whole rows cross the bus; the rest is cut off here."""
        out = np.empty((len(self.names), *self.shape[1:]), self.dtype)
        for name, part in zip(self.names, out, strict=True):
            self._move(self.device, self.pointer(name, row), "cpu", part.ctypes.data)
        return out[:, :, :length].copy()

    def write(self, row: int, blob: NDArray[np.generic]) -> None:
        """The inverse; behind the tokens are zeros."""
        part = np.zeros(self.shape[1:], self.dtype)
        for name, tokens in zip(self.names, blob, strict=True):
            part[:, : tokens.shape[1]] = tokens
            self._move("cpu", part.ctypes.data, self.device, self.pointer(name, row))

    def _move(self, source: str, here: int, target: str, there: int) -> None:
        """One row of one tensor, between devices or on one."""
        shape = (1, *self.shape[1:])
        io = self._session.io_binding()
        io.bind_input("x", source, 0, self.dtype.type, shape, here)
        io.bind_output("y", target, 0, self.dtype.type, shape, there)
        self._session.run_with_iobinding(io)


def _layout(manifest: Manifest, rows: int, context: int) -> tuple[list[str], Shape, np.dtype[np.generic]]:
    names = [f"{layer}.{kind}" for layer in range(manifest.layers) for kind in ("key", "value")]
    return names, (rows, manifest.kv_heads, context, manifest.head_dim), np.dtype(manifest.dtype)


def _copying_session(dtype: np.dtype[np.generic], device: str) -> Any:
    # Imported here: on the host nothing needs it.
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(dtype)
    ends = [helper.make_tensor_value_info(name, kind, ["a", "b", "c", "d"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "copy", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider])
