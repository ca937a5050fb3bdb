"""Write `.env.example` from the rooms' settings classes, or check that it is up to date.

.venv/bin/python compose/scripts/env_example.py [--check]
"""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / ".env.example"
ROOMS = ("gateway", "gateway.traces", "llm_server", "tools", "rlhf", "rlhf.objects", "annotation")
HEADER = """\
# Every setting, with its default. `loopyard up` reads those in a file `.env` of the folder where it is
# started, and sets ports, folders and secrets of its services; what stands in the environment wins. A room
# that is started alone reads the environment (llm_server also LLM_ENV_FILE). Written by
# compose/scripts/env_example.py.
"""


def lines(room: str, settings: type[BaseSettings]) -> Iterator[str]:
    """One block a field: its docstring as a comment, then the assignment, commented out."""
    prefix = settings.model_config.get("env_prefix", "")
    yield f"\n# --- {room} ---"
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            continue  # a block of its own
        text = " ".join((field.description or "").split())
        yield from textwrap.wrap(text, 116, initial_indent="# ", subsequent_indent="# ")
        yield f"#{prefix.upper()}{name.upper()}={default(field)}"


def default(field: FieldInfo) -> str:
    """The default as the environment would write it; secrets stay out."""
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is None or isinstance(value, SecretStr) else str(value)


def render() -> str:
    """The whole file."""
    blocks = [HEADER]
    for room in ROOMS:
        settings = importlib.import_module(f"{room}.settings").Settings
        blocks += lines(room, settings)
    return "\n".join(blocks) + "\n"


def main() -> int:
    """Write the file, or say that it is out of date."""
    sys.path.insert(0, str(ROOT))
    text = render()
    if "--check" not in sys.argv:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        sys.stdout.write(".env.example is out of date; run compose/scripts/env_example.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
