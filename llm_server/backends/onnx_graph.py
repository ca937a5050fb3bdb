"""An ONNX graph in a session, its inputs and outputs bound to memory that stays where it is."""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from llm_server.backends.onnx_manifest import SCALES
from llm_server.backends.onnx_memory import Memory
from llm_server.backends.onnx_stack import Lora, Matrices
from llm_server.errors import EngineFailure, Interrupted, PreparationFailed

Provider = Literal["cpu", "cuda"]
PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
BINDINGS = 64
"""Bindings that are kept: binding hundreds of tensors anew costs as much as a small step."""
Array = NDArray[Any]
Session = Any
"""An `onnxruntime.InferenceSession`; the library has no types."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run computes: the same number of tokens in each of some neighbouring rows."""

    first: int
    """First of the rows."""
    tokens: NDArray[np.int64]
    """[rows, tokens]."""
    lengths: NDArray[np.int64]
    """[rows]: tokens that each holds afterwards."""
    picked: NDArray[np.int64]
    """Positions that logits are wanted of, flat over [rows, tokens]."""


class _Bound:
    """A binding for some rows, and the LoRA matrices that it points to."""

    def __init__(self, session: Session) -> None:
        self.io = session.io_binding()
        self.matrices: Matrices | None = None


def open_session(path: Path, threads: int | None, provider: Provider = "cpu") -> Session:
    """PreparationFailed when ONNX Runtime does not take the file or has no such provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.log_severity_level = 3
    # Threads that spin at a barrier starve the machine's other work (see OMP_WAIT_POLICY in this room).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = PROVIDERS[provider]
    if wanted[0] not in onnxruntime.get_available_providers():
        raise PreparationFailed(f"This ONNX Runtime has no {wanted[0]}: install onnxruntime-gpu.")
    try:
        return onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:  # the library has no base class of its own
        raise PreparationFailed(f"ONNX Runtime cannot load {path}: {error}.") from error


class Graph:
    """A session over a memory of its own. One thread; several of them may share a session and run at once."""

    def __init__(self, session: Session, memory: Memory) -> None:
        self._session, self._memory = session, memory
        self._options = onnxruntime.RunOptions()
        self._positions = "position_ids" in {given.name for given in self._session.get_inputs()}
        self._bindings: OrderedDict[tuple[int, int], _Bound] = OrderedDict()

    @property
    def scores_dtype(self) -> np.dtype[np.generic]:
        """Of the logits."""
        kind = next(o.type for o in self._session.get_outputs() if o.name == "logits")
        return np.dtype(np.float16 if "float16" in kind else np.float32)

    def run(self, batch: Batch, out: NDArray[np.generic], lora: Lora | None = None) -> None:
        """Compute; logits of the picked positions go to `out`, [picked, vocabulary]."""
        bound = self._bound(batch.first, len(batch.tokens))
        io = bound.io
        total = int(batch.lengths.max())
        mask = (np.arange(total)[None, :] < batch.lengths[:, None]).astype(np.int64)
        inputs: dict[str, Array] = {"input_ids": batch.tokens, "attention_mask": mask, "rows": batch.picked}
        if self._positions:
            count = batch.tokens.shape[1]
            inputs["position_ids"] = batch.lengths[:, None] - count + np.arange(count)[None, :]
        if lora is not None:
            inputs[SCALES] = lora.scales
            self._bind_lora(bound, lora)
        for name, array in inputs.items():
            io.bind_cpu_input(name, np.ascontiguousarray(array))
        io.bind_output("logits", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
        try:
            self._session.run_with_iobinding(io, self._options)
        except Exception as error:  # the library has no base class of its own
            if self._options.terminate:
                raise Interrupted("The step was ended.") from error
            raise EngineFailure(f"ONNX Runtime failed: {error}") from error

    def interrupt(self, on: bool) -> None:
        """End the run between two nodes, or the next one; or let runs go on as before. Any thread."""
        self._options.terminate = on

    def forget_adapter(self, digest: bytes) -> None:
        """Let go of bindings that point into an adapter's memory."""
        self._drop(lambda matrices: digest in matrices.parts)

    def _bind_lora(self, bound: _Bound, lora: Lora) -> None:
        """Bind LoRA tensors where others are bound, and let go of what was put together before."""
        own = lora.matrices
        if bound.matrices is own:
            return
        for name, tensor in lora.tensors.items():
            bound.io.bind_input(name, "cpu", 0, tensor.dtype.type, tensor.shape, tensor.ctypes.data)
        bound.matrices = own
        if own.joint:
            self._drop(lambda other: other.joint and other is not own)

    def _drop(self, stale: Callable[[Matrices], bool]) -> None:
        for key, bound in list(self._bindings.items()):
            if bound.matrices is not None and stale(bound.matrices):
                del self._bindings[key]

    def _bound(self, first: int, count: int) -> _Bound:
        """The binding of some rows: past and present are the same memory."""
        bound = self._bindings.get((first, count))
        if bound is None:
            bound = self._bindings[first, count] = _Bound(self._session)
            memory = self._memory
            shape, kind = (count, *memory.shape[1:]), memory.dtype.type
            for name in memory.names:
                at = memory.pointer(name, first)
                bound.io.bind_input(f"past_key_values.{name}", memory.device, 0, kind, shape, at)
                bound.io.bind_output(f"present.{name}", memory.device, 0, kind, shape, at)
            if len(self._bindings) > BINDINGS:
                self._bindings.popitem(last=False)
        self._bindings.move_to_end((first, count))
        return bound
