"""Files of pairs, as JSON lines. A line is one of these; answers and prompts may be a text or messages:

    {"prompt": "...", "answers": ["...", "..."]}             optional: "better": 0 or 1, for a known answer
    {"prompt": [...], "chosen": [...], "rejected": [...]}    a preference row, to be judged once more
    {"task_id": "...", "prompt": [...], "left": {...}, "right": {...}}    a task, as `annotate` keeps them

Optional everywhere but in tasks: pair_id, tools (OpenAI's list as a JSON string), session, user.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from annotation.errors import BadPairs, RecordError
from annotation.tasks import Answer, Judgement, Task, task_of
from rlhf.records import BadRow, Message, PreferenceRow, decoded_lines, row_of

HELP = (
    'Each line holds one pair, for example {"prompt": "How long is the notice period?", '
    '"answers": ["Four weeks.", "It depends."]}.'
)
KEYS = {"pair_id", "prompt", "answers", "better", "tools", "session", "user"}


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file of pairs; a pair that stands there twice gives one.

    Raises:
        BadPairs: a line is bad; names each, nothing is read.
        RecordError: the file cannot be opened.
    """
    found: dict[str, Task] = {}
    for name, one in _read(path, _task).items():
        found.setdefault(one.task_id, one)
        if found[one.task_id].pair != one.pair:
            raise BadPairs(path, [f"line {name}: pair_id {one.task_id!r} names another pair already"], HELP)
    return list(found.values())


def read_rows(path: Path) -> list[PreferenceRow]:
    """The preference rows of a file.

    Raises:
        BadPairs: a line is bad or does not say which answer is better; names each, nothing is read.
        RecordError: the file cannot be opened.
    """
    return list(_read(path, _row).values())


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements of a file, as `annotate pull` keeps them.

    Raises:
        BadPairs: a line is bad; names each, nothing is read.
        RecordError: the file cannot be opened.
    """
    return list(_read(path, Judgement.model_validate).values())


def _read(path: Path, of: Any) -> dict[int, Any]:
    bad: list[BadRow] = []
    found: dict[int, Any] = {}
    try:
        for number, text in decoded_lines(path, bad):
            if text.strip():
                try:
                    found[number] = of(_columns(text))
                except ValueError as error:
                    bad.append(BadRow(str(path), number, _reason(error)))
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}", "Name a file of JSON lines.") from error
    if bad:
        raise BadPairs(path, [f"line {row.line}: {row.reason}" for row in bad], HELP)
    if not found:
        raise BadPairs(path, ["there is no line"], HELP)
    return found


def _columns(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("is no object with columns")
    return value


def _task(columns: dict[str, Any]) -> Task:
    if "left" in columns:
        return Task.model_validate(columns)
    if "answers" in columns:
        return _of_answers(columns)
    row = _row(columns)
    answers = (
        Answer(messages=row.chosen, trace=row.chosen_trace),
        Answer(messages=row.rejected, trace=row.rejected_trace),
    )
    return task_of(
        row.pair_id, row.prompt, row.tools, *answers, session=row.session, user=row.user, at=row.at
    )


def _of_answers(columns: dict[str, Any]) -> Task:
    if unknown := sorted(columns.keys() - KEYS):
        raise ValueError(f"has an unknown column {unknown[0]!r}; known are {', '.join(sorted(KEYS))}")
    answers = columns["answers"]
    if not isinstance(answers, list) or len(answers) != 2:
        raise ValueError("answers is no list of two")
    better = columns.get("better")
    if better not in (None, 0, 1):
        raise ValueError(f"better is {better!r}, not 0 or 1")
    one, other = (Answer(messages=_messages(answer, "assistant", "answers")) for answer in answers)
    return task_of(
        str(columns.get("pair_id") or ""),
        _messages(columns.get("prompt"), "user", "prompt"),
        columns.get("tools"),
        one,
        other,
        session=columns.get("session"),
        user=columns.get("user"),
        better=None if better is None else (one, other)[better],
    )


def _row(columns: dict[str, Any]) -> PreferenceRow:
    if missing := [name for name in ("prompt", "chosen", "rejected") if name not in columns]:
        raise ValueError(f"has no {missing[0]}")
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    texts = {
        name: [{"role": role, "content": columns[name]}]
        for name, role in roles.items()
        if isinstance(columns[name], str)
    }
    return row_of(columns | texts)


def _messages(value: Any, role: str, name: str) -> list[Message]:
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} is neither a text nor a list of messages")
    return [Message.model_validate(message) for message in value]


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
