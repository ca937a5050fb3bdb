"""`loopyard convert`: the model server's command, from the same place as the others."""

import typer

PASSED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def convert(context: typer.Context) -> None:
    """Write a model as GGUF or for ONNX Runtime, with a LoRA merged or without, or a LoRA for either.

    `loopyard convert --help` lists the kinds and options.

    Examples: [bold]loopyard convert starter out --to onnx-int4[/], [bold]loopyard convert MODEL out.gguf
    --merge LORA --to q4_k_m --modelfile[/]
    """
    import os
    import subprocess
    import sys

    from gateway.datasets.child import ROOT

    # The room is found wherever the command is called; paths are the caller's.
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "llm_server", "convert", *context.args]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False)
    raise typer.Exit(done.returncode)
