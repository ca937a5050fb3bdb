"""Making adapters for llama.cpp: GGUF LoRA files, PEFT folders and banks converted to them."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from llm_server.adapters.bank import check_bank, write_peft
from llm_server.adapters.base import Base, read_base
from llm_server.adapters.base_config import CONFIG, check_folder, told_config
from llm_server.adapters.check_gguf import check_gguf
from llm_server.adapters.check_peft import Facts, check_peft
from llm_server.adapters.convert import Converter
from llm_server.adapters.probe import TEXT, TOKENS, Effect, measure
from llm_server.adapters.source import Source
from llm_server.backends.llama_cpp import load_model
from llm_server.backends.llama_probe import LlamaProbe
from llm_server.convert.onnx_folder import folder_digest
from llm_server.errors import AdapterRefused, PreparationFailed


class LlamaMaker:
    """For one base model."""

    def __init__(self, path: Path, folder: Path | None) -> None:
        """`path`: the GGUF file; `folder`: the transformers folder that it was made from."""
        self._path, self._folder = path, folder
        self._converter = Converter()
        self._base: Base | None = None
        self._told: str | None = None
        """The base's configuration, where its file tells it: reading a large vocabulary takes a second."""
        self._probe: LlamaProbe | None = None

    @property
    def base(self) -> Base:
        """Read at the first adapter: hashing the weights takes a while."""
        if self._base is None:
            if self._folder is not None:
                check_folder(self._path, self._folder)
            self._base = read_base(self._path, self._folder)
        return self._base

    def make(self, source: Source, target: Path) -> Facts:
        """Check, convert or copy, and check what came out: what is loaded is what was read."""
        if source.kind == "gguf":
            facts = check_gguf(source.path, self.base)
            shutil.copyfile(source.path, target)
            return facts
        if source.kind == "bank":
            facts = check_bank(source.path, self._served())
            with TemporaryDirectory(prefix="bank-") as scratch:
                self._convert(write_peft(source.path, Path(scratch)), target)
        else:
            facts = check_peft(source.path, self.base)
            self._convert(source.path, target)
        made = self._check_made(target)
        if made.tensors != facts.tensors:
            raise AdapterRefused(
                f"The adapter is refused: of its {facts.tensors} matrices {made.tensors} fit the base.",
                code="extra_tensors",
            )
        return facts

    def _served(self) -> str | None:
        """Hash of the base as banks name it; a folder without weights does not tell."""
        folder = self.base.folder
        return folder_digest(folder) if folder and any(folder.glob("*.safetensors")) else None

    def _convert(self, folder: Path, target: Path) -> None:
        """With the base's configuration: its folder's, or what the .gguf file tells of it."""
        if self.base.folder is not None:
            self._converter.convert(folder, self.base.folder, target)
            return
        if self._told is None:
            self._told = told_config(self._path)
        with TemporaryDirectory(prefix="base-") as scratch:
            (Path(scratch) / CONFIG).write_text(self._told)
            self._converter.convert(folder, Path(scratch), target)

    def _check_made(self, target: Path) -> Facts:
        try:
            return check_gguf(target, self.base)
        except AdapterRefused as error:
            if error.code != "truncated":
                raise
            # Not every writer tells that the disk has taken less than it was given.
            raise PreparationFailed(f"Cannot write {target}: it is not whole. Is the disk full?") from error

    def probe(self, file: Path) -> Effect:
        """Compare what the model says with an adapter and without. Its weights are mapped here too; the
        system has them in the memory once.
        """
        if self._probe is None:
            self._probe = LlamaProbe(load_model(self._path), TEXT, TOKENS)
        return measure(self._probe.base(), self._probe.adapted(file))

    def close(self) -> None:
        """End the converter, free the model."""
        self._converter.close()
        if self._probe is not None:
            self._probe.close()
