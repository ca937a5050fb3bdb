"""Files that must be refused, each with the line and the reason that a refusal has to name. `#!` marks the
line where that can be written into the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
MARK = "#!"
NUMBERS = ("context", "slots", "queue", "threads", "cache_tokens", "prefix_mb", "adapter_mb")
MISSPELT: dict[str, str | None] = {
    "ids": "id",
    "modle": "model",
    "engin": "engine",
    "base_folders": "base_folder",
    "quantization": "quantisation",
    "presicion": "precision",
    "contxt": "context",
    "slot": "slots",
    "queues": "queue",
    "thread": "threads",
    "temprature": "temperature",
    "cache_token": "cache_tokens",
    "prefix_gb": "prefix_mb",
    "adapters_mb": "adapter_mb",
    "adapter": "adapters",
    "alias": "aliases",
    "upstreams": "upstream",
    "backend": None,
    "port": None,
    "api_key": None,
}
WRECKS = {"bracket": "  [", "tab": "\tid: x", "quote": "    'open", "percent": "%bad", "at": "    @: 1"}
"""Lines that no parser reads, wherever they are."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that is refused."""

    text: str
    said: str
    """Part of the reason."""
    at: int | None = None
    """Line, where no mark says it."""

    @property
    def line(self) -> int:
        """That a refusal names, from one."""
        marked = [number for number, line in enumerate(self.text.splitlines(), 1) if MARK in line]
        return self.at or marked[0]


Cases = Iterator[tuple[str, Broken]]


def all_broken(folder: Path) -> dict[str, Broken]:
    """By the name of the mistake."""
    found: dict[str, Broken] = {}
    for part in (syntax(), keys(), numbers(), words(), shapes(), names(), places(folder)):
        found.update(part)
    for part in (adapters(folder), upstreams()):
        found.update(part)
    return found


def syntax() -> Cases:
    """What is no YAML, or not all of it."""
    for name, text, said, line in (
        ("empty", "", "The file is empty", 1),
        ("only a comment", "# nothing\n", "The file is empty", 1),
        ("two documents", GOOD + "---\n" + GOOD, "found another document", 10),
        ("an object of Python", "models: !!python/object:os.system x", "python/object:os.system", 1),
        ("a tag of its own", "models: !mine []", "could not determine a constructor for the tag '!mine'", 1),
        ("an anchor that is not there", "models: *nowhere", "undefined alias 'nowhere'", 1),
        ("brackets without end", "models: " + "[" * 20000, "recursion", 1),
        ("a day that does not exist", "models: 2026-99-99", "month must be in 1..12", 1),
        ("a number without end", f"{ENTRY}    slots: {'9' * 5000}", "Exceeds the limit", 1),
        ("a bell", "models:\n  - id: a\a", "The character 7 is not allowed", 2),
        ("a version to come", "%YAML 3.0\n---\nmodels: []", "incompatible YAML document", 1),
        ("a list that is not closed", "models: [{id: x}\n", "expected ',' or ']'", 2),
        ("a comma too many", "models: [{id: x, , }]", "found ','", 1),
        ("a quote that is not closed", "models:\n  - id: 'x\n", "unexpected end of stream", 3),
        ("an escape that is none", 'models:\n  - id: "\\q"\n', "unknown escape character 'q'", 2),
        ("a tab before a key", "models:\n\t- id: x\n", "cannot start any token", 2),
        ("a key that is not aligned", "models:\n  - id: a\n   engine: echo\n", "expected <block end>", 3),
        ("a value twice", "models:\n  - id: a: b\n", "mapping values are not allowed here", 2),
        ("a list as a key", f"{ENTRY}    ? [a]\n    : x\n", "found unhashable key", 4),
        ("a merge of nothing", "models:\n  - <<: 3\n    id: x\n", "for merging", 2),
        ("a word", "models\n", "A mapping belongs here: models, embeddings", 1),
    ):
        yield name, Broken(text, said, line)


def keys() -> Cases:
    """Keys that mean nothing, are there twice, or are no text."""
    for key, near in MISSPELT.items():
        said = f"`{key}` is not known here. " + (f"Did you mean `{near}`?" if near else "Known: id, model")
        yield f"{key} in a model", Broken(f"{ENTRY}    {key}: 1 {MARK}\n", said)
    for key, said in (("model", "Did you mean `models`?"), ("embedding", "Did you mean `embeddings`?")):
        yield f"{key} in the file", Broken(f"{GOOD}{key}: 1 {MARK}\n", said)
    yield "port in the file", Broken(f"{GOOD}port: 1 {MARK}\n", "Known: models, embeddings")
    for key in ("models", "embeddings"):
        yield f"{key} twice", Broken(f"{GOOD}{key}: [] {MARK}\n", f"`{key}` is there twice")
    yield "id twice", Broken(f"{ENTRY}    id: again {MARK}\n", "`id` is there twice")
    yield "id twice in braces", Broken(f"models:\n  - {{id: a, id: b}} {MARK}\n", "`id` is there twice")
    for key in ("1", "null", "yes", "2026-01-01", "1.5"):
        yield f"the key {key}", Broken(f"{ENTRY}    {key}: x {MARK}\n", f"The key `{key}` is no text")
    merged = f"models:\n  - <<: {{bogus: 3}} {MARK}\n    engine: echo\n"
    yield "an unknown key that is merged", Broken(merged, "`bogus` is not known here")


def numbers() -> Cases:
    """Of the wrong kind, or out of bounds."""
    kinds = ("many", "1.5", "[]", '"8"', "true", "null 1", "0x", "{}")
    for key in NUMBERS:
        for value in kinds:
            text = f"{ENTRY}    {key}: {value} {MARK}\n"
            yield f"{key} {value}", Broken(text, f"`{key}` should be a valid integer")
        least = {"context": 64, "cache_tokens": 64, "queue": 0, "prefix_mb": 0}.get(key, 1)
        text = f"{ENTRY}    {key}: {least - 1} {MARK}\n"
        yield f"{key} too small", Broken(text, f"`{key}` should be greater than or equal to {least}")
    yield "slots too many", Broken(f"{ENTRY}    slots: 65 {MARK}\n", "less than or equal to 64")
    for value, said in (
        ("hot", "a valid number"),
        ("'1'", "a valid number"),
        ("[1]", "a valid number"),
        ("-0.1", "greater than or equal to 0"),
        ("2.1", "less than or equal to 2"),
        (".nan", "a finite number"),
        (".inf", "a finite number"),
    ):
        text = f"{ENTRY}    temperature: {value} {MARK}\n"
        yield f"temperature {value}", Broken(text, f"`temperature` should be {said}")


def words() -> Cases:
    """That are not on a list, or do not look like a name."""
    choices = {
        "quantisation": "'q8_0' or 'q4_k_m'",
        "precision": "'int4' or 'fp16'",
        "engine": "'onnx' or 'echo'",
    }
    for key, said in choices.items():
        for value in ("best", "3", "[]"):
            text = f"models:\n  - id: first\n    {key}: {value} {MARK}\n"
            yield f"{key} {value}", Broken(text, f"`{key}` should be")
        yield f"{key} in capitals", Broken(f"models:\n  - {key}: ECHO {MARK}\n", said)
    for value in ("a:b", "''", "'with space'", "-x", "../x", "'a\\b'", "x" * 129):
        text = f"models:\n  - id: {value} {MARK}\n    engine: echo\n"
        yield f"id {value}", Broken(text, "`id` string should match pattern")
        text = f"{ENTRY}    aliases: [{value}] {MARK}\n"
        yield f"alias {value}", Broken(text, "string should match pattern")
    for value in ("3", "[x]", "2020-01-01", "!!binary aGk=", "true"):
        text = f"models:\n  - id: {value} {MARK}\n    engine: echo\n"
        yield f"id {value}", Broken(text, "`id` should be a valid string")
    half = 'models:\n  - {engine: echo, id: "\\ud800"} ' + MARK
    yield "half a character", Broken(half, "unable to parse raw data as a unicode string")
    for value in ("1", "[]", "{}", "2.5"):
        text = f"{ENTRY}embeddings: {value} {MARK}\n"
        yield f"embeddings {value}", Broken(text, "`embeddings` should be true, false, a model or a list")
    for value in ("maybe", "'true'", "[no name]"):
        text = f"{ENTRY}embeddings: {value} {MARK}\n"
        yield f"embeddings {value}", Broken(text, "is neither `starter`, nor a file or folder here")


def shapes() -> Cases:
    """Lists and mappings in each other's place."""
    for value in ("{}", "text", "3", "null", "|\n  - id: x", "!!set {a, b}", "&a {x: *a}"):
        yield f"models {value}", Broken(f"models: {value}\n", "`models` should be a valid list", 1)
    for value in ("[3]", "[text]", "[[]]", "[null]", "&a [*a]", "!!omap [a: 1]"):
        yield f"models {value}", Broken(f"models: {value}\n", "A mapping belongs here: id, model", 1)
    yield "no model in the list", Broken("models: []\n", "`models` list should have at least 1 item", 1)
    yield "no models", Broken("embeddings: true\n", "`models` is missing here", 1)
    yield "a list at the top", Broken("- id: first\n", "A mapping belongs here: models, embeddings", 1)
    yield "a number at the top", Broken("3\n", "A mapping belongs here: models, embeddings", 1)
    yield "a dash without a colon", Broken("models:\n  - id first\n", "A mapping belongs here: id", 2)
    for value in ("one", "{}", "3", "{one, two}"):
        text = f"{ENTRY}    aliases: {value} {MARK}\n"
        yield f"aliases {value}", Broken(text, "`aliases` should be a valid list")
    for value in ("[3]", "[[one]]", "[null]"):
        yield f"aliases {value}", Broken(f"{ENTRY}    aliases: {value} {MARK}\n", "should be a valid string")
    circle = f"models:\n  - &a {{id: x, engine: echo, aliases: [*a]}} {MARK}\n"
    yield "an alias that is its own model", Broken(circle, "should be a valid string")


def names() -> Cases:
    """Names that two models claim."""
    said = "belongs to models.0 already"
    yield "an id twice", Broken(GOOD.replace("second", f"First {MARK}"), f"`First` {said}")
    second = GOOD.replace("id: second", f"id: second {MARK}")
    yield "an id as an alias", Broken(second.replace("[one, uno]", "[second]"), f"`second` {said}")
    last = f"{GOOD[: GOOD.index('embeddings')]}    aliases: [UNO] {MARK}\n"
    yield "an alias of two models", Broken(last, f"`UNO` {said}")
    yield "an alias twice", Broken(f"{ENTRY}    aliases: [one, one] {MARK}\n", f"`one` {said}")
    yield "its own id as an alias", Broken(f"{ENTRY}    aliases: [first] {MARK}\n", f"`first` {said}")
    crossed = (
        "models:\n  - {id: a, engine: echo, aliases: [b]}\n"
        f"  - {{id: b, engine: echo, aliases: [a]}} {MARK}\n"
    )
    yield "aliases in a circle", Broken(crossed, f"`b` {said}")
    text = f"models:\n  - engine: echo\n  - engine: echo {MARK}\n"
    yield "no ids", Broken(text, f"`echo` {said}")
    embedder = f"models:\n  - id: all-minilm-l6-v2 {MARK}\n    engine: echo\nembeddings: true\n"
    yield "the name of the embedding model", Broken(embedder, "belongs to the embedding model already")


def places(folder: Path) -> Cases:
    """Models that are not there."""
    (folder / "empty").mkdir()
    (folder / "text.gguf").write_text("this is no model")
    for place, said in (
        ("/nowhere/x.gguf", "There is no model at /nowhere/x.gguf"),
        ("./gone", "There is no model at gone"),
        ("gone.gguf", "There is no model at gone.gguf"),
        ("~nobody-of-this-name/x", "home directory"),
        ("no-slash", "nor a hub name"),
        ("a b/c", "nor a hub name"),
        ("a/b/c", "nor a hub name"),
        ('"a\\0b"', "nor a hub name"),
        ("x" * 300, "File name too long"),
        ("''", "`model` string should have at least 1 character"),
        (str(folder / "empty"), "has no config.json"),
        (str(folder / "text.gguf"), "text.gguf is no GGUF file"),
    ):
        text = f"models:\n  - id: first\n    engine: llama_cpp\n    model: {place} {MARK}\n"
        yield f"model {place}", Broken(text, said)
    text = f"models:\n  - id: first\n    engine: onnx\n    model: {folder / 'text.gguf'} {MARK}\n"
    yield "a GGUF file for ONNX", Broken(text, "ONNX Runtime needs a transformers folder")
    (folder / "head.gguf").write_bytes(b"GGUF")
    for place, said in (
        (str(folder / "empty"), "empty has no config.json"),
        ("gone", "gone has no config.json"),
        ("~nobody-of-this-name/x", "home directory"),
        ("''", "`base_folder` string should have at least 1 character"),
    ):
        text = f"models:\n  - model: {folder / 'head.gguf'}\n    engine: llama_cpp\n"
        yield f"base folder {place}", Broken(f"{text}    base_folder: {place} {MARK}\n", said)
    text = f"{ENTRY}    base_folder: {folder / 'empty'} {MARK}\n"
    yield "a base folder of the echo", Broken(text, "A base folder is for a .gguf file")


def adapters(folder: Path) -> Cases:
    """Adapters that cannot be."""
    start = "models:\n  - id: first\n    model: starter\n    engine: llama_cpp\n    adapters:\n"
    there = folder / "empty"
    for name, line, said in (
        ("missing", "{name: a, path: /nowhere/a}", "There is no adapter at /nowhere/a"),
        ("of nobody", "{name: a, path: ~nobody-of-this-name/a}", "There is no adapter at"),
        ("with a long name", f"{{name: a, path: {'x' * 300}}}", "There is no adapter at"),
        ("without a place", "{name: a, path: ''}", "`path` string should have at least 1 character"),
        ("misspelt", f"{{name: a, path: {there}, scal: 1}}", "Did you mean `scale`?"),
        ("unknown", f"{{name: a, path: {there}, rank: 1}}", "Known: name, path, scale, pin"),
        ("nameless", f"{{path: {there}}}", "`name` is missing here"),
        ("pathless", "{name: a}", "`path` is missing here"),
        ("of two names", f"{{name: 'a:b', path: {there}}}", "`name` string should match pattern"),
        ("large", f"{{name: a, path: {there}, scale: 4.1}}", "`scale` should be less than or equal to 4"),
        ("small", f"{{name: a, path: {there}, scale: -5}}", "`scale` should be greater than or equal to -4"),
        ("scaled by a word", f"{{name: a, path: {there}, scale: half}}", "`scale` should be a valid number"),
        ("pinned by a number", f"{{name: a, path: {there}, pin: 1}}", "`pin` should be a valid boolean"),
        ("as text", "polite", "A mapping belongs here: name, path, scale, pin"),
    ):
        yield f"adapter {name}", Broken(f"{start}      - {line} {MARK}\n", said)
    again = f"      - {{name: a, path: {there}}}"
    twice = f"{start}{again}\n{again} {MARK}\n"
    yield "adapter twice", Broken(twice, "The adapter `a` is there twice")
    text = f"{ENTRY}    adapters: [{{name: a, path: {there}}}] {MARK}\n"
    yield "adapter of the echo", Broken(text, "The echo engine takes no adapters")
    text = f"{ENTRY}    adapters: polite {MARK}\n"
    yield "adapters as text", Broken(text, "`adapters` should be a valid list")


def upstreams() -> Cases:
    """Models of other servers."""
    for name, server, said in (
        ("ftp", "{url: 'ftp://x/v1'}", "`url` string should match pattern"),
        ("a space", "{url: 'http://a b/v1'}", "`url` string should match pattern"),
        ("no host", "{url: 'http:///v1'}", "`url` string should match pattern"),
        ("a port too high", "{url: 'http://a:99999/v1'}", "Port out of range"),
        ("a port that is a word", "{url: 'http://a:http/v1'}", "`url` is no address: Port could not be cast"),
        ("half a bracket", "{url: 'http://[::1/v1'}", "`url` is no address: Invalid IPv6 URL"),
        ("a password", "{url: 'http://me:secret@a/v1'}", "name the variable in `key_env`"),
        ("a query", "{url: 'http://a/v1?key=secret'}", "without a query"),
        ("nothing", "{}", "`url` or `preset` is missing here"),
        ("both", "{url: 'http://a/v1', preset: vllm}", "`url` or `preset`, not both"),
        ("a preset that is none", "{preset: nobody}", "'openai', 'anthropic', 'groq'"),
        ("no key", "{preset: vllm, key_env: NOT_SET_ANYWHERE}", "NOT_SET_ANYWHERE is not set"),
        (
            "a key of no name",
            "{preset: vllm, key_env: ''}",
            "`key_env` string should have at least 1 character",
        ),
        ("the key itself", "{preset: vllm, key: sk-1}", "`key` is not known here. Did you mean `key_env`?"),
        ("no weight", "{preset: vllm, weight: 0}", "`weight` should be greater than 0"),
        ("a weight without end", "{preset: vllm, weight: .inf}", "`weight` should be a finite number"),
        ("misspelt", "{preset: vllm, wieght: 1}", "Did you mean `weight`?"),
        ("no model", "{preset: vllm, model: ''}", "`model` string should have at least 1 character"),
        ("as text", "http://a/v1", "A mapping belongs here: url, preset"),
    ):
        yield f"upstream: {name}", Broken(_far(f"upstream: [{server}]"), said)
    good = "upstream: [{preset: vllm}]"
    for name, fields, said in (
        ("of nothing", "upstream: []", "`upstream` list should have at least 1 item"),
        ("of one", "upstream: {preset: vllm}", "`upstream` should be a valid list"),
        ("with an engine", f"{good}, engine: echo", "`engine` is not known here"),
        ("that falls back nowhere", f"{good}, fallbacks: [x]", "There is no other model `x`"),
        ("that falls back on itself", f"{good}, fallbacks: [far]", "There is no other model `far`"),
        ("that falls back on an alias", f"{good}, fallbacks: [uno]", "Name one by its id"),
        ("that falls back twice", f"{good}, fallbacks: [near, near]", "`near` is there twice"),
        ("that falls back on a word", f"{good}, fallbacks: near", "`fallbacks` should be a valid list"),
        ("misspelt", f"{good}, fallback: [near]", "Did you mean `fallbacks`?"),
        ("that tries too often", f"{good}, retries: 11", "`retries` should be less than or equal to 10"),
        ("that tries by half", f"{good}, retries: 0.5", "`retries` should be a valid integer"),
        ("without time", f"{good}, timeout: 0", "`timeout` should be greater than 0"),
        ("with a name of two", f"{good}, aliases: [near]", "`near` belongs to models.0 already"),
    ):
        yield f"a model elsewhere {name}", Broken(_far(fields), said)
    yield "a model elsewhere without id", Broken(f"models:\n  - {{{good}}} {MARK}\n", "`id` is missing here")


def _far(fields: str) -> str:
    return f"models:\n  - {{id: near, engine: echo, aliases: [uno]}}\n  - {{id: far, {fields}}} {MARK}\n"
