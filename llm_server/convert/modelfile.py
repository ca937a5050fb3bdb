"""A Modelfile of Ollama beside a GGUF file: `ollama create NAME -f out.Modelfile`.

Its chat template is Go's, a checkpoint's is Jinja. What stands around the messages is read off a chat that is
rendered with marks for contents; where that is no plain sequence of turns, the template is left out, and
Ollama takes what it recognises in the GGUF file. Tools are not in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from llm_server.backends.onnx_vocabulary import OnnxVocabulary
from llm_server.chat_template import environment
from llm_server.convert.files import publish
from llm_server.errors import BadRequest

SYSTEM, USER, ANSWER, NEXT = "\ue0a1", "\ue0a2", "\ue0a3", "\ue0a4"
ROLES = {SYSTEM: "system", USER: "user", ANSWER: "assistant", NEXT: "user"}
BRACES = '{{ "{{" }}'
"""How Go's templates write two opening braces."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands before and after the content of each role, and at the end of a prompt."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    prompt: str
    said: str = ""
    """What the template tells the model where there is no system message."""

    def go(self) -> str:
        """As Ollama reads it. No `{{-`, which would take the line break before it away."""
        parts = []
        for word, (before, after) in (("system", self.system), ("user", self.user)):
            head = "if" if word == "system" else "else if"
            parts.append(f'{{{{ {head} eq .Role "{word}" }}}}{_go(before)}{{{{ .Content }}}}{_go(after)}')
        before, after = self.assistant
        parts.append(f'{{{{ else if eq .Role "assistant" }}}}{_go(before)}{{{{ .Content }}}}{_go(after)}')
        body = "".join(parts)
        return f"{{{{ range .Messages }}}}{body}{{{{ end }}}}{{{{ end }}}}{_go(self.prompt)}"


def write_modelfile(folder: Path, gguf: Path, adapter: Path | None = None) -> Path:
    """Write it for a GGUF file that was made from a transformers folder, and for a GGUF LoRA of it.
    PreparationFailed.
    """
    target = (adapter or gguf).with_suffix(".Modelfile")
    text = modelfile(folder, gguf.name, adapter.name if adapter else None)
    return publish(target, lambda part: _write(part, text))


def _write(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8")


def modelfile(folder: Path, gguf: str, adapter: str | None = None) -> str:
    """Its text, with the names of the files beside it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    vocabulary = OnnxVocabulary(folder, int(config.get("vocab_size") or 0), _ends(folder, config))
    lines = [f"FROM ./{gguf}"] + ([f"ADAPTER ./{adapter}"] if adapter else [])
    turns = read_turns(vocabulary.chat_template or "", vocabulary.bos, vocabulary.eos)
    written = turns.go() if turns else ""
    if turns and '"""' not in written + turns.said:
        lines.append(f'TEMPLATE """{written}"""')
        lines += [f'SYSTEM """{turns.said}"""'] if turns.said else []
    else:
        lines.append("# No TEMPLATE: this model's is no plain sequence of turns. Ollama takes what it knows.")
    stops = sorted(vocabulary.piece(token).decode(errors="replace") for token in vocabulary.ends)
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops if stop]
    context = config.get("max_position_embeddings")
    lines += [f"PARAMETER num_ctx {context}"] if context else []
    return "\n".join(lines) + "\n"


def read_turns(source: str, bos: str = "", eos: str = "") -> Turns | None:
    """What a Jinja template puts around messages; None where that is no plain sequence of turns.

    Ollama puts the first token of a text before it, where the GGUF file says so: it is left out.
    """

    def render(*contents: str, prompt: bool = False) -> str:
        messages = [{"role": ROLES[content], "content": content} for content in contents]
        more = {"tools": None, "bos_token": bos, "eos_token": eos}
        text: str = template.render(messages=messages, add_generation_prompt=prompt, **more)
        return text.removeprefix(bos)

    try:
        template = environment().from_string(source)
        whole, ended = render(SYSTEM, USER, ANSWER, NEXT), render(SYSTEM, USER, ANSWER)
        asked, bare = render(SYSTEM, USER, ANSWER, NEXT, prompt=True), render(USER, ANSWER, NEXT)
    except (TemplateError, BadRequest):
        return None
    found = _turns(whole, ended, asked)
    return None if found is None else _checked(found, bare)


def _turns(whole: str, ended: str, asked: str) -> Turns | None:
    pieces = _cut(whole, (SYSTEM, USER, ANSWER, NEXT))
    end = _cut(ended, (SYSTEM, USER, ANSWER))
    if pieces is None or end is None or not asked.startswith(whole):
        return None
    first, second, third, fourth, last = pieces
    after = end[-1]
    user = fourth.removeprefix(after)
    plain = third.startswith(last) and fourth.startswith(after) and second.endswith(user)
    if not plain or not user:
        return None
    system = first, second.removesuffix(user)
    return Turns(system, (user, last), (third.removeprefix(last), after), asked.removeprefix(whole))


def _checked(found: Turns, bare: str) -> Turns | None:
    """The same with what the template says by itself; None where a chat without a system message is not made
    of the same turns.
    """
    body = "".join(
        before + content + after
        for content, (before, after) in ((USER, found.user), (ANSWER, found.assistant), (NEXT, found.user))
    )
    if not bare.endswith(body):
        return None
    head = bare.removesuffix(body)
    before, after = found.system
    if not head:
        return found
    if not (head.startswith(before) and head.endswith(after) and len(head) >= len(before) + len(after)):
        return None
    said = head[len(before) : len(head) - len(after)]
    return Turns(found.system, found.user, found.assistant, found.prompt, said)


def _cut(text: str, marks: Sequence[str]) -> list[str] | None:
    """What is between marks; None where one is not there exactly once, or out of order."""
    out, rest = [], text
    for mark in marks:
        if text.count(mark) != 1 or mark not in rest:
            return None
        before, _, rest = rest.partition(mark)
        out.append(before)
    return [*out, rest]


def _go(text: str) -> str:
    return text.replace("{{", BRACES)


def _ends(folder: Path, config: dict[str, Any]) -> frozenset[int]:
    """Tokens that end a generation, as the checkpoint names them."""
    file = folder / "generation_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    value = said.get("eos_token_id", config.get("eos_token_id"))
    return frozenset(value if isinstance(value, list) else [] if value is None else [int(value)])
