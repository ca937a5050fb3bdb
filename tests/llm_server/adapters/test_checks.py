"""Broken adapters are refused with the right reason, and good ones are not."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from llm_server.adapters.base import vocabulary_hash
from llm_server.adapters.check_peft import check_config
from llm_server.adapters.source import read_source
from llm_server.adapters.versions import State
from llm_server.errors import AdapterRefused
from tests.llm_server.adapters.conftest import Rig
from tests.llm_server.adapters.making import (
    ALL,
    CONFIG,
    STARTER,
    WEIGHTS,
    Tensors,
    edit_bytes,
    edit_config,
    edit_tensors,
    make_adapter,
    module,
)

A, B = f"{module(0, 'q_proj')}.lora_A.weight", f"{module(0, 'q_proj')}.lora_B.weight"
Break = Callable[[Path], object]


def tensors(change: Callable[[Tensors], Tensors]) -> Break:
    return lambda folder: edit_tensors(folder, change)


def fields(**values: Any) -> Break:
    return lambda folder: edit_config(folder, **values)


def weights(change: Callable[[bytes], bytes]) -> Break:
    return lambda folder: edit_bytes(folder / WEIGHTS, change)


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda t: {k: v for k, v in t.items() if k not in names}


def replaced(name: str, value: Any) -> Callable[[Tensors], Tensors]:
    return lambda t: {**t, name: value}


def moved(t: Tensors) -> Tensors:
    """A layer that the base does not have."""
    return {name.replace("layers.1.", "layers.7."): value for name, value in t.items()}


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def other_tokenizer(folder: Path) -> None:
    content = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(content))


BROKEN: dict[str, tuple[Break, str]] = {
    "nothing there": (lambda folder: (folder / WEIGHTS).unlink(), "not_found"),
    "pickled weights": (pickled, "unsafe_format"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "unknown_format"),
    "configuration is no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "bad_config"),
    "configuration is a list": (lambda folder: (folder / CONFIG).write_text("[]"), "bad_config"),
    "another method": (fields(peft_type="LOHA"), "unsupported_type"),
    "another task": (fields(task_type="SEQ_CLS"), "unsupported_type"),
    "trained tokens": (fields(trainable_token_indices=[1]), "unsupported_type"),
    "rank is text": (fields(r="4"), "bad_config"),
    "rank is true": (fields(r=True), "bad_config"),
    "rank is zero": (fields(r=0), "rank_unsupported"),
    "rank is enormous": (fields(r=100_000), "rank_unsupported"),
    "another rank than said": (fields(r=8), "rank_unsupported"),
    "alpha is missing": (fields(lora_alpha=None), "bad_config"),
    "alpha is not finite": (fields(lora_alpha=float("nan")), "bad_config"),
    "DoRA": (fields(use_dora=True), "dora"),
    "whole modules": (fields(modules_to_save=["lm_head"]), "modules_to_save"),
    "biases": (fields(bias="all"), "bias"),
    "alphas of their own": (fields(alpha_pattern={"q_proj": 2}), "alpha_pattern"),
    "biases of its own": (fields(lora_bias=True), "bias"),
    "activated in the prompt": (fields(alora_invocation_tokens=[5, 6]), "alora"),
    "activated by a text": (fields(invocation_string="<|assistant|>"), "alora"),
    "the base was changed too": (fields(init_lora_weights="pissa_niter_4"), "base_changed"),
    "layers twice": (fields(layer_replication=[[0, 2], [0, 2]]), "unsupported_field"),
    "blocks on a diagonal": (fields(use_bdlora={"nblocks": 4}), "unsupported_field"),
    "a field of the future": (fields(use_tomorrow=True), "unsupported_field"),
    "trained on another base": (fields(base_sha256="0" * 64), "base_mismatch"),
    "other tokens": (other_tokenizer, "tokenizer_mismatch"),
    "one half missing": (tensors(without(B)), "missing_tensors"),
    "other half missing": (tensors(without(A)), "missing_tensors"),
    "no tensors": (tensors(lambda t: {}), "missing_tensors"),
    "a target that is not there": (fields(target_modules=[*ALL, "z_proj"]), "missing_tensors"),
    "a tensor of no kind": (tensors(replaced("head", np.ones((2, 2), np.float32))), "extra_tensors"),
    "a layer too many": (tensors(moved), "base_mismatch"),
    "another width": (tensors(replaced(A, np.ones((4, 99), np.float32))), "shape_mismatch"),
    "halves that do not fit": (tensors(replaced(B, np.ones((128, 3), np.float32))), "shape_mismatch"),
    "a vector": (tensors(replaced(A, np.ones(4, np.float32))), "shape_mismatch"),
    "double precision": (tensors(replaced(A, np.ones((4, 256), np.float64))), "unsupported_dtype"),
    "whole numbers": (tensors(replaced(A, np.ones((4, 256), np.int8))), "unsupported_dtype"),
    "not a number": (tensors(replaced(A, np.full((4, 256), np.nan, np.float32))), "not_finite"),
    "infinite": (tensors(replaced(B, np.full((128, 4), np.inf, np.float32))), "not_finite"),
    "cut off": (weights(lambda data: data[:-100]), "truncated"),
    "cut in the header": (weights(lambda data: data[:40]), "truncated"),
    "empty": (weights(lambda data: b""), "truncated"),
    "noise": (weights(lambda data: b"\xff" * 4096), "truncated"),
    "it changes nothing": (tensors(lambda t: {k: v * (".lora_A" in k) for k, v in t.items()}), "no_effect"),
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    **{f"rank {rank}": {"rank": rank} for rank in (1, 2, 3, 8, 16, 64)},
    **{f"{target} alone": {"targets": (target,)} for target in ALL},
    "attention": {"targets": ALL[:4]},
    "half precision": {"kind": np.float16},
    "a large alpha": {"alpha": 64, "size": 0.01},
    "a small alpha": {"alpha": 0.5},
    "rank-stabilised": {"use_rslora": True},
    "no task": {"task_type": None},
    "for inference": {"inference_mode": True},
    "strong": {"size": 0.1},
    "a pattern of ranks": {"rank_pattern": {"q_proj": 4}},
    "fields of newer versions that are not set": {"use_tomorrow": None, "tomorrow_config": {}},
}


def test_there_are_enough_of_both() -> None:
    assert len(BROKEN) >= 30
    assert len(GOOD) >= 20


def test_broken_adapters_are_refused_and_say_why(rig: Rig) -> None:
    wrong = {}
    for number, (what, (damage, code)) in enumerate(BROKEN.items()):
        folder = make_adapter(rig.folder / f"broken-{number}", number)
        damage(folder)
        try:
            rig.load(f"broken-{number}", folder)
            wrong[what] = "accepted"
        except AdapterRefused as refused:
            if refused.code != code:
                wrong[what] = f"{refused.code}: {refused.message}"
    assert not wrong
    assert rig.manager.store.names() == []
    assert all(v.state is State.FAILED for a in rig.manager.store.adapters() for v in a.versions.values())
    assert rig.run("still there?").wait().reason in ("length", "stop")


def test_good_adapters_are_accepted(rig: Rig) -> None:
    for number, given in enumerate(GOOD.values()):
        folder = make_adapter(rig.folder / f"good-{number}", 100 + number, **given)
        assert rig.load(f"good-{number}", folder).state is State.READY
    assert len(rig.manager.store.names()) == len(GOOD)


def test_an_adapter_that_destroys_the_output_is_refused(starter_rig: Rig) -> None:
    folder = make_adapter(starter_rig.folder / "ruin", 1, sizes=STARTER, size=5.0)
    with pytest.raises(AdapterRefused) as refused:
        starter_rig.load("ruin", folder)
    assert refused.value.code == "destroys_output"
    mild = make_adapter(starter_rig.folder / "mild", 1, sizes=STARTER, size=0.01)
    assert starter_rig.load("mild", mild).state is State.READY


def test_a_field_that_is_not_known_is_named(rig: Rig) -> None:
    folder = make_adapter(rig.folder / "a", 1, use_tomorrow={"depth": 3})
    with pytest.raises(AdapterRefused, match=r"`use_tomorrow` \(\{'depth': 3\}\)"):
        rig.load("a", folder)


def test_every_field_of_peft_as_it_is_by_default_is_taken() -> None:
    with warnings.catch_warnings():
        # Deprecations inside the library are not ours.
        warnings.simplefilter("ignore")
        from peft import LoraConfig

        given: Any = LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj"])
        config = given.to_dict()
    check_config({**config, "peft_type": "LORA"})


def test_a_wrong_checksum_is_refused(rig: Rig) -> None:
    folder = make_adapter(rig.folder / "a", 1)
    with pytest.raises(AdapterRefused) as refused:
        rig.manager.load("a", folder, sha256="0" * 64)
    assert refused.value.code == "checksum_mismatch"


def gguf(
    path: Path, architecture: str = "qwen3", kind: str = "adapter", alora: Sequence[int] = (), **tensors: Any
) -> Path:
    writer = GGUFWriter(path, architecture)
    if alora:
        writer.add_array("adapter.alora.invocation_tokens", alora)
    writer.add_string("general.type", kind)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, value in tensors.items():
        writer.add_tensor(name.replace("__", "."), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def ones(*shape: int) -> Any:
    return np.full(shape, 0.05, np.float32)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"architecture": "llama"}, "base_mismatch"),
        ({"kind": "model"}, "unknown_format"),
        ({"alora": [5, 6]}, "alora"),
        ({"blk__9__attn_q__weight__lora_a": ones(2, 256)}, "base_mismatch"),
        ({"blk__0__attn_q__weight__lora_a": ones(2, 256)}, "missing_tensors"),
        ({"blk__0__attn_q__weight": ones(2, 256)}, "extra_tensors"),
        (
            {"blk__0__attn_q__weight__lora_a": ones(2, 99), "blk__0__attn_q__weight__lora_b": ones(128, 2)},
            "shape_mismatch",
        ),
        (
            {
                "blk__0__attn_q__weight__lora_a": ones(2, 256) * np.nan,
                "blk__0__attn_q__weight__lora_b": ones(128, 2),
            },
            "not_finite",
        ),
        ({}, "missing_tensors"),
    ],
)
def test_broken_gguf_adapters_are_refused(rig: Rig, given: dict[str, Any], code: str) -> None:
    with pytest.raises(AdapterRefused) as refused:
        rig.load("a", gguf(rig.folder / "a.gguf", **given))
    assert refused.value.code == code


def test_a_gguf_adapter_is_served_as_it_is(rig: Rig) -> None:
    path = gguf(
        rig.folder / "a.gguf",
        blk__0__attn_q__weight__lora_a=ones(2, 256),
        blk__0__attn_q__weight__lora_b=ones(128, 2),
    )
    assert rig.load("a", path).state is State.READY
    path.unlink()
    assert rig.run("hello", "a").wait().reason in ("length", "stop")


def test_a_truncated_gguf_adapter_is_refused(rig: Rig) -> None:
    path = gguf(
        rig.folder / "a.gguf",
        blk__0__attn_q__weight__lora_a=ones(2, 256),
        blk__0__attn_q__weight__lora_b=ones(128, 2),
    )
    edit_bytes(path, lambda data: data[: len(data) // 2])
    with pytest.raises(AdapterRefused) as refused:
        rig.load("a", path)
    assert refused.value.code == "truncated"


def test_a_vocabulary_has_the_same_hash_in_every_process(tmp_path: Path) -> None:
    """Python's own hash of text is another one in each."""
    program = "import sys; from pathlib import Path; from llm_server.adapters.base import vocabulary_hash\n"
    command = [sys.executable, "-c", f"{program}print(vocabulary_hash(Path(sys.argv[1])))", str(tmp_path)]
    other_tokenizer(tmp_path)
    told = {subprocess.check_output(command, text=True).strip() for _ in range(2)}
    assert told == {vocabulary_hash(tmp_path)}


@pytest.mark.parametrize("vocabulary", ["null", "[[]]", "[1]", '[["a"], [["b"]]]', '{"a": 1}, "added": 0'])
def test_a_vocabulary_that_cannot_be_read_is_no_crash(vocabulary: str, tmp_path: Path) -> None:
    text = f'{{"model": {{"vocab": {vocabulary}}}, "added_tokens": [{{"content": 5, "id": 1}}]}}'
    (tmp_path / "tokenizer.json").write_text(text)
    assert vocabulary_hash(tmp_path) == "unreadable"


@pytest.mark.parametrize("path", ["/nowhere", "x" * 5000, "~nobody-of-this-name/x", "a\0b", ""])
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(AdapterRefused) as refused:
        read_source(Path(path))
    assert refused.value.code in ("not_found", "unknown_format")
