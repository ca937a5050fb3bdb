"""`python -m llm_server.convert.quantise SOURCE TARGET KIND`: llama.cpp's quantiser in a process of its
own.
"""

import ctypes
import os
import sys

import llama_cpp.llama_cpp as llama

from llm_server.backends.llama_cpp import start_llama

KINDS = {
    "f16": llama.LLAMA_FTYPE_MOSTLY_F16,
    "q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_k_m": llama.LLAMA_FTYPE_MOSTLY_Q4_K_M,
}


def main() -> int:
    """Quantise; the exit status is llama.cpp's."""
    source, target, kind = sys.argv[1:]
    start_llama()
    params = llama.llama_model_quantize_default_params()
    params.ftype = KINDS[kind]
    params.nthread = os.cpu_count() or 1
    return int(llama.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)))


if __name__ == "__main__":
    sys.exit(main())
