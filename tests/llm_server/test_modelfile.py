"""Modelfiles of Ollama: their template writes the prompts that the checkpoint's own writes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from typer.testing import CliRunner

from llm_server.backends.onnx_vocabulary import OnnxVocabulary
from llm_server.chat_template import CHATML, ChatTemplate
from llm_server.cli import app
from llm_server.convert.modelfile import modelfile, read_turns
from llm_server.convert.prepare import STARTER_FOLDER
from tests.llm_server.adapters.making import make_adapter

LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim }}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ODD = "{% for message in messages %}<{{ loop.index }}>{{ message.content }}{{ '{{' }}{% endfor %}"
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
)
USER = {"role": "user", "content": "How long is the notice period?"}
CHATS: list[list[dict[str, Any]]] = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "A month."}, {"role": "user", "content": "For all?"}],
    [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "A month."},
        {"role": "user", "content": "For all?"},
    ],
]


def as_ollama(text: str, messages: list[dict[str, Any]]) -> str:
    """The prompt that a Modelfile's TEMPLATE and SYSTEM make: the part of Go's language that it uses."""
    said = re.search(r'SYSTEM """(.*?)"""', text, re.S)
    if said and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": said[1]}, *messages]
    found = re.search(r'TEMPLATE """(.*?)"""\n', text, re.S)
    assert found
    source = found[1]
    assert "{{-" not in source
    source = source.replace('{{ "{{" }}', "\ue0b0").replace("{%", "\ue0b1").replace("{#", "\ue0b2")
    for go, jinja in (
        (r"\{\{ range \.Messages \}\}", "{% for message in messages %}"),
        (r'\{\{ if eq \.Role ("\w+") \}\}', r"{% if message.role == \1 %}"),
        (r'\{\{ else if eq \.Role ("\w+") \}\}', r"{% elif message.role == \1 %}"),
        (r"\{\{ \.Content \}\}", "{{ message.content }}"),
        (r"\{\{ end \}\}\{\{ end \}\}", "{% endif %}{% endfor %}"),
    ):
        source, count = re.subn(go, jinja, source)
        assert count, go
    made = Environment(keep_trailing_newline=True, autoescape=False).from_string(source)
    out = made.render(messages=messages)
    return out.replace("\ue0b0", "{{").replace("\ue0b1", "{%").replace("\ue0b2", "{#")


@pytest.mark.parametrize("source", [CHATML, LLAMA3, QWEN2], ids=["chatml", "llama3", "qwen2"])
def test_prompts_are_those_of_the_checkpoint(models: Path, tmp_path: Path, source: str) -> None:
    folder = shutil.copytree(models / "tiny", tmp_path / "model")
    (folder / "chat_template.jinja").write_text(source)
    text = modelfile(folder, "out.gguf")
    vocabulary = OnnxVocabulary(folder, 512)
    for messages in CHATS:
        assert as_ollama(text, messages) == ChatTemplate(vocabulary).render(messages)


def test_the_starters_file_is_whole() -> None:
    text = modelfile(STARTER_FOLDER, "out.gguf", "polite.gguf")
    assert text.startswith("FROM ./out.gguf\nADAPTER ./polite.gguf\nTEMPLATE")
    for messages in CHATS:
        own = ChatTemplate(OnnxVocabulary(STARTER_FOLDER, 4096)).render(messages)
        assert as_ollama(text, messages) == own
    stops = re.findall(r"PARAMETER stop (.+)", text)
    assert "<|im_end|>" in [json.loads(stop) for stop in stops]
    assert "PARAMETER num_ctx 4096" in text


@pytest.mark.parametrize("source", [ODD, GEMMA, "", "{{ broken"])
def test_what_is_no_sequence_of_turns_is_left_to_ollama(models: Path, tmp_path: Path, source: str) -> None:
    assert read_turns(source) is None
    folder = shutil.copytree(models / "tiny", tmp_path / "model")
    (folder / "chat_template.jinja").write_text(source)
    text = modelfile(folder, "out.gguf")
    assert "TEMPLATE " not in text.replace("# No TEMPLATE", "")
    assert "PARAMETER stop" in text


def test_a_lora_brings_its_base_and_both_are_named(models: Path, tmp_path: Path) -> None:
    lora = make_adapter(tmp_path / "polite", 1)
    given = ["convert", str(lora), str(tmp_path / "out" / "polite.gguf"), "--base", str(models / "tiny")]
    done = CliRunner().invoke(app, [*given, "--modelfile"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "polite.Modelfile").read_text()
    named = re.findall(r"^(?:FROM|ADAPTER) \./(.+)$", text, re.M)
    assert named == ["tiny-q8_0.gguf", "polite.gguf"]
    assert all((tmp_path / "out" / name).read_bytes()[:4] == b"GGUF" for name in named)


def test_a_merged_model_needs_no_adapter_line(models: Path, tmp_path: Path) -> None:
    lora = make_adapter(tmp_path / "polite", 1, size=0.1)
    given = ["convert", str(models / "tiny"), str(tmp_path / "out.gguf"), "--merge", str(lora), "--modelfile"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out.Modelfile").read_text()
    assert text.startswith("FROM ./out.gguf\nTEMPLATE")
    assert "ADAPTER" not in text
