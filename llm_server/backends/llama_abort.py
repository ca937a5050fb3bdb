"""A switch that ends a running `llama_decode` between two nodes of its graph.

llama.cpp asks a callback before every node. One in Python would take the interpreter's lock hundreds of times
a step, away from who streams. C's `strlen` is a callback without it: given a text it says whether there is
something in it, 0 or 1.
"""

import ctypes

import llama_cpp.llama_cpp as llama

OFF, ON = b"\0", b"\1"


class AbortSwitch:
    """Lives as long as the context that it was put into. Any thread may use it."""

    def __init__(self, context: llama.llama_context_p) -> None:
        self._text = ctypes.create_string_buffer(2)
        length = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value or 0
        self._callback = llama.ggml_abort_callback(length)
        llama.llama_set_abort_callback(context, self._callback, ctypes.addressof(self._text))

    def on(self) -> None:
        """End what runs, or what runs next."""
        self._text[0] = ON

    def off(self) -> None:
        """As before."""
        self._text[0] = OFF
