"""Run one of llama.cpp's converter scripts: `python run_converter.py FOLDER PRE SCRIPT ARGUMENTS...`.

A program of its own because the scripts bring their own `gguf` package and speak through the root logger.
PRE names the pre-tokenizer of a tokenizer that llama.cpp does not know by hash (`qwen2` for our own),
`auto` leaves it to the script.
"""

import runpy
import sys


def main() -> None:
    """Put the scripts first on the path, pin the pre-tokenizer, run."""
    folder, pre, script, *rest = sys.argv[1:]
    sys.path[:0] = [folder, f"{folder}/gguf-py"]
    if pre != "auto":
        import conversion.base as base  # type: ignore[import-not-found]  # on the path since the line above

        known = base.TextModel.get_vocab_base_pre

        def named(self: object, tokenizer: object) -> str:
            try:
                return str(known(self, tokenizer))
            except NotImplementedError:
                return pre

        base.TextModel.get_vocab_base_pre = named
    sys.argv = [script, *rest]
    runpy.run_path(f"{folder}/{script}", run_name="__main__")


if __name__ == "__main__":
    main()
