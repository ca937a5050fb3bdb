"""Whatever is exchanged, every slot keeps its tokens."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_server.backends.onnx_manifest import Manifest
from llm_server.backends.onnx_memory import DeviceMemory, HostMemory
from llm_server.backends.onnx_rows import KvRows

SLOTS, CONTEXT = 7, 9
MANIFEST = Manifest("x", "", "fp32", "float32", 1, 2, 1, 2, 10, CONTEXT, (), 8)


def arrays(rows: KvRows) -> "list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]":
    """The tensors, as a run sees them."""
    memory = rows.memory
    if isinstance(memory, HostMemory):
        return [array.astype(np.float32, copy=False) for array in memory.arrays.values()]
    assert isinstance(memory, DeviceMemory)
    return [
        np.ctypeslib.as_array(
            (ctypes.c_float * int(np.prod(memory.shape))).from_address(memory.pointer(name, 0))
        ).reshape(memory.shape)
        for name in memory.names
    ]


def write(rows: KvRows, slot: int, start: int, values: list[int]) -> None:
    """What a run does: the row of the slot gets keys and values from `start` on."""
    for array in arrays(rows):
        for offset, value in enumerate(values):
            array[rows.row(slot), :, start + offset] = value
    rows.hold(slot, start + len(values))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("gather"), st.sets(st.integers(0, SLOTS - 1), min_size=1), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, SLOTS - 1), st.integers(1, 100)),
        st.tuples(st.just("trim"), st.integers(0, SLOTS - 1), st.integers(0, CONTEXT)),
        st.tuples(st.just("save"), st.integers(0, SLOTS - 1), st.integers(0, SLOTS - 1)),
        st.tuples(st.just("share"), st.integers(0, SLOTS - 1), st.integers(0, SLOTS - 1)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("device", [False, True])
@settings(max_examples=40, deadline=None)
@given(operations=steps)
def test_slots_keep_their_tokens(device: bool, operations: "list[tuple[str, set[int] | int, int]]") -> None:
    """A device's memory is copied by ONNX Runtime; here the device is the processor."""
    memory = (
        DeviceMemory(MANIFEST, SLOTS + 1, CONTEXT, "cpu")
        if device
        else HostMemory(MANIFEST, SLOTS + 1, CONTEXT)
    )
    rows = KvRows(memory)
    held: list[list[int]] = [[] for _ in range(SLOTS)]
    for name, what, value in operations:
        if isinstance(what, set):
            first = rows.gather(sorted(what))
            assert sorted(rows.row(slot) for slot in what) == list(range(first, first + len(what)))
        elif name == "write" and len(held[what]) < CONTEXT:
            write(rows, what, len(held[what]), [value])
            held[what].append(value)
        elif name == "trim":
            held[what] = held[what][:value]
            rows.hold(what, len(held[what]))
        elif name == "share" and what != value:
            held[value] = held[what][: len(held[what]) // 2]
            rows.share(what, value, len(held[value]))
        elif name == "save":
            rows.write(value, rows.read(what))
            held[value] = list(held[what])
        for slot, tokens in enumerate(held):
            for array in arrays(rows):
                assert (array[rows.row(slot), :, : len(tokens)] == np.array(tokens)[None, :, None]).all()


def test_neighbours_stay_where_they_are() -> None:
    rows = KvRows(HostMemory(MANIFEST, SLOTS + 1, CONTEXT))
    assert rows.gather([4, 2, 3]) == 2
    assert [rows.row(slot) for slot in range(SLOTS)] == list(range(SLOTS))
    first = rows.gather([2, 3, 6])
    assert sum(rows.row(slot) != slot for slot in range(SLOTS)) == 2
    assert rows.gather([6, 3, 2]) == first
