"""Files that must be refused, made from a good one. `#!` marks the line that a refusal has to name."""

from collections.abc import Iterator
from pathlib import Path

GOOD = """\
models:
  - id: first
    engine: echo
    aliases: [one, uno]
    slots: 2
  - id: second
    engine: echo
    context: 2048
embeddings: false
"""
LINES = GOOD.splitlines()
ENTRY = "models:\n  - id: first\n    engine: echo\n"
NUMBERS = ("context", "slots", "queue", "threads", "cache_tokens", "prefix_mb", "adapter_mb")
MISSPELT = (
    *("ids", "modle", "engin", "quantization", "presicion", "contxt", "slot", "queues", "thread"),
    *("temprature", "adapter", "alias", "backend", "port", "api_key"),
)


def all_broken(folder: Path) -> dict[str, str]:
    """Name of the mistake to text."""
    found = dict(syntax())
    for part in (unknown(), types(), names(), places(folder), adapters(folder)):
        found.update(part)
    return found


def syntax() -> Iterator[tuple[str, str]]:
    """What no parser reads, in every line of the file."""
    wrecks = {"bracket": "  [", "tab": "\tid: x", "quote": "    'open", "percent": "%bad", "at": "    @: 1"}
    for name, wreck in wrecks.items():
        for number in range(1, len(LINES)):
            yield f"{name} in line {number}", "\n".join([*LINES[:number], wreck, *LINES[number:]])
    yield "empty", ""
    yield "only a comment", "# nothing\n"
    yield "two documents", GOOD + "---\n" + GOOD
    yield "an object of Python", "models: !!python/object:os.system x #!\n"
    yield "an anchor that is not there", "models: *nowhere #!\n"
    yield "brackets without end", "models: " + "[" * 20000
    yield "a day that does not exist", "models: 2026-99-99 #!\n"
    yield "a bell", "models:\n  - id: a\a #!\n"
    for key in ("models", "embeddings"):
        yield f"{key} twice", f"{GOOD}{key}: [] #!\n"
    yield "id twice", f"{ENTRY}    id: again #!\n"


def unknown() -> Iterator[tuple[str, str]]:
    """Keys that mean nothing."""
    for key in MISSPELT:
        yield f"{key} in a model", f"{ENTRY}    {key}: 1 #!\n"
        yield f"{key} in the file", f"{GOOD}{key}: 1 #!\n"


def types() -> Iterator[tuple[str, str]]:
    """Values of the wrong kind, or out of bounds."""
    for key in NUMBERS:
        for value in ("many", "-1", "1.5", "[]", '"8"', "true", "{}"):
            yield f"{key} {value}", f"{ENTRY}    {key}: {value} #!\n"
    for key in ("quantisation", "precision", "engine"):
        for value in ("best", "3", "[]"):
            text = f"models:\n  - id: first\n    {key}: {value} #!\n"
            yield f"{key} {value}", text
    for value in ("hot", "-0.1", ".nan", "[1]", "99"):
        yield f"temperature {value}", f"{ENTRY}    temperature: {value} #!\n"
    for value in ("one", "{}", "3"):
        yield f"aliases {value}", f"{ENTRY}    aliases: {value} #!\n"
    for value in ("3", "a:b", "''", "'with space'", "[x]"):
        yield f"id {value}", f"models:\n  - id: {value} #!\n    engine: echo\n"
    for value in ("maybe", "1", "[]"):
        yield f"embeddings {value}", f"{ENTRY}embeddings: {value} #!\n"
    for value in ("[]", "{}", "text", "3", "[3]", "[text]", "null"):
        yield f"models {value}", f"models: {value} #!\n"
    yield "no models", "embeddings: true #!\n"
    yield "a list at the top", "- id: first #!\n"


def names() -> Iterator[tuple[str, str]]:
    """Names that two models claim."""
    yield "an id twice", f"{GOOD}  ".replace("second", "First #!")
    yield "an id as an alias", GOOD.replace("[one, uno]", "[second]").replace("id: second", "id: second #!")
    yield "an alias twice", f"{ENTRY}    aliases: [one, one] #!\n"
    yield "its own id as an alias", f"{ENTRY}    aliases: [first] #!\n"
    yield "no ids", "models:\n  - engine: echo\n  - engine: echo #!\n"
    yield (
        "the name of the embedding model",
        "models:\n  - id: all-minilm-l6-v2 #!\n    engine: echo\nembeddings: true\n",
    )


def places(folder: Path) -> Iterator[tuple[str, str]]:
    """Models that are not there."""
    (folder / "empty").mkdir()
    (folder / "text.gguf").write_text("this is no model")
    wrong = ("/nowhere/x.gguf", "./gone", "gone.gguf", "/nowhere", "no-slash", "a b/c", "a/b/c", "x" * 300)
    for place in (*wrong, str(folder / "empty"), str(folder / "text.gguf")):
        text = f"models:\n  - id: first\n    engine: llama_cpp\n    model: {place} #!\n"
        yield f"model {place}", text
    text = f"models:\n  - id: first\n    engine: onnx\n    model: {folder / 'text.gguf'} #!\n"
    yield "a GGUF file for ONNX", text


def adapters(folder: Path) -> Iterator[tuple[str, str]]:
    """Adapters that cannot be."""
    start = "models:\n  - id: first\n    model: starter\n    engine: llama_cpp\n    adapters:\n"
    there = folder / "empty"
    lines = {
        "missing": "{name: a, path: /nowhere/a}",
        "unknown": f"{{name: a, path: {there}, scal: 1}}",
        "nameless": f"{{path: {there}}}",
        "pathless": "{name: a}",
        "name": f"{{name: 'a:b', path: {there}}}",
        "scale": f"{{name: a, path: {there}, scale: 100}}",
        "pin": f"{{name: a, path: {there}, pin: 1}}",
        "text": "polite",
    }
    for name, line in lines.items():
        yield f"adapter {name}", f"{start}      - {line} #!\n"
    again = f"      - {{name: a, path: {there}}}"
    yield "adapter twice", f"{start}{again}\n{again} #!\n"
    yield "adapter of the echo", f"{ENTRY}    adapters: [{{name: a, path: {there}}}] #!\n"
