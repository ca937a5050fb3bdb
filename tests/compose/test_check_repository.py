"""Commands that a document names: those that do not exist are refused, wherever they stand."""

import pytest
from check_repository import broken_commands, commands

TARGETS = {"run"}
DOCUMENT = """
Say `make run` or `make
 help`, never `.github`.

    loopyard up            everything
    an indented line that make no command

```sh
LLM_PORT=1 python -m llm_server serve  # a remark
ls
```

```
$ loopyard status          what runs
loopyard jobs [list | show]
```

```yaml
run: make nothing
```
"""


def test_commands_are_read_from_blocks_indented_lines_and_inline_code() -> None:
    found = sorted(commands(DOCUMENT))
    assert found == sorted(
        [
            "LLM_PORT=1 python -m llm_server serve",
            "ls",
            "loopyard status",
            "loopyard jobs [list | show]",
            "loopyard up",
            "make run",
            "make help",
        ]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`loopyard frobnicate x`", "no such verb: frobnicate"),
        ("```sh\nloopyard traces frobnicate\n```", "no such verb: frobnicate"),
        ("    python -m rlhf.starter frobnicate", "no such verb: frobnicate"),
        ("```\npython -m gateway frobnicate   serves\n```", "no such verb: frobnicate"),
        ("`python -m nowhere serve`", "no such command: nowhere"),
        ("`loopyard status --frobnicate`", "unknown: ['--frobnicate']"),
        ("`make frobnicate`", "no such target: ['frobnicate']"),
    ],
)
def test_a_command_that_does_not_exist_is_refused(text: str, problem: str) -> None:
    (found,) = broken_commands(text, TARGETS)
    assert found.endswith(f": {problem}")


def test_commands_that_exist_pass() -> None:
    text = "`make run DATA=x`, `loopyard status --json`, `loopyard jobs [list | show]`, `python -m <room> do`"
    assert list(broken_commands(text, TARGETS)) == []
