"""A dataset in the format of other programs, one file a side.

trl: JSON lines with the columns of TRL's conversational formats, of every kind of rows. trlx: JSON lines of
plain text, turns marked "Human:" and "Assistant:". csv: what `rlhf.data.table` reads. The last two are for
preferences of text only: pairs with tools or tool calls do not fit, and csv has only prompts of one user
message. A cell that a spreadsheet would run as a formula gets an apostrophe, which `rlhf.data.table` takes
off again.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rlhf.data.check import CONTENT
from rlhf.data.folder import read_dataset
from rlhf.data.table import MORE, NEEDED, guarded
from rlhf.errors import DatasetError
from rlhf.records import Message, PreferenceRow, write_atomically
from rlhf.shapes import AnyRow

Target = Literal["trl", "trlx", "csv"]
MARKS = {"user": "Human", "assistant": "Assistant", "system": "System", "developer": "System"}


def export(folder: Path, target: Target, out: Path) -> dict[str, tuple[int, int]]:
    """Write `out`/train and `out`/held_out; gives (pairs written, pairs that do not fit) of each file.

    Raises:
        DatasetError: the dataset is not whole, or a file cannot be written.
    """
    dataset = read_dataset(folder)
    if (kind := dataset.manifest["kind"]) != "preference" and target != "trl":
        raise DatasetError(f"{folder} holds {kind} rows, for which {target} has no place; use trl")
    suffix = "csv" if target == "csv" else "jsonl"
    written = {}
    for name, rows in (("train", dataset.train), ("held_out", dataset.held_out)):
        fitting = [row for row in rows if FITS[target](row)]
        path = out / f"{name}.{suffix}"
        try:
            write_atomically(path, WRITERS[target](fitting))
        except OSError as error:
            raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error
        written[str(path)] = (len(fitting), len(rows) - len(fitting))
    return written


def _trl(rows: Sequence[AnyRow]) -> Iterator[bytes]:
    for row in rows:
        plain = row.plain()
        columns = {name: plain[name] for name in CONTENT if name in plain}
        yield json.dumps(columns, ensure_ascii=False).encode() + b"\n"


def _trlx(rows: Sequence[PreferenceRow]) -> Iterator[bytes]:
    for row in rows:
        said = [f"{MARKS[message.role]}: {message.content}" for message in row.prompt]
        text = {"prompt": "\n\n".join([*said, "Assistant:"])}
        text |= {"chosen": f" {row.chosen[0].content}", "rejected": f" {row.rejected[0].content}"}
        yield json.dumps(text, ensure_ascii=False).encode() + b"\n"


def _csv(rows: Sequence[PreferenceRow]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(NEEDED + MORE)
    for row in rows:
        plain = row.plain()
        said = [plain[name][0]["content"] for name in NEEDED]
        more = ["" if plain[name] is None else plain[name] for name in MORE]
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in said + more])
    yield text.getvalue().encode()


def _is_text(row: PreferenceRow) -> bool:
    def text(message: Message) -> bool:
        return message.role != "tool" and not message.tool_calls

    return row.tools is None and len(row.chosen) == len(row.rejected) == 1 and all(map(text, _messages(row)))


def _messages(row: PreferenceRow) -> Iterator[Message]:
    yield from row.prompt
    yield from row.chosen
    yield from row.rejected


def _is_one_question(row: PreferenceRow) -> bool:
    return _is_text(row) and [message.role for message in row.prompt] == ["user"]


FITS: dict[Target, Callable[[PreferenceRow], bool]] = {
    "trl": lambda _: True,
    "trlx": _is_text,
    "csv": _is_one_question,
}
WRITERS: dict[Target, Callable[[Sequence[PreferenceRow]], Iterator[bytes]]] = {
    "trl": _trl,
    "trlx": _trlx,
    "csv": _csv,
}
