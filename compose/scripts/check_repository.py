"""Checks that no linter does: file sizes that only shrink, and documents whose commands and links are real.

.venv/bin/python compose/scripts/check_repository.py
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 400
RATCHET = ROOT / "compose" / "scripts" / "size_ratchet.json"
SOURCES = {".py", ".ts", ".svelte"}
SHELLS = {"sh", "bash", "console"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
OWN = re.compile(r"(\.venv/bin/)?(loopyard|python -m|make)\s")
UNSAID = re.compile(r"^[|&;<>]+$|[<\[{…]|\.\.\.")
"""The end of a command, or where its words stand for others."""


def tracked() -> list[Path]:
    """Every file of the project that git knows or would take."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, text=True).splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def oversized(files: list[Path]) -> Iterator[str]:
    """Sources past the limit, unless the ratchet holds them, and ratchet entries that can be lowered."""
    allowed: dict[str, int] = json.loads(RATCHET.read_text())
    for path in files:
        name = str(path.relative_to(ROOT))
        if path.suffix not in SOURCES:
            continue
        lines = len(path.read_text().splitlines())
        if lines > allowed.get(name, LIMIT):
            yield f"{name}: {lines} lines, {allowed.get(name, LIMIT)} allowed; look for the second idea in it"
        if name in allowed and lines < allowed[name]:
            yield f"{name}: now {lines} lines; lower its entry in {RATCHET.name} (remove it at {LIMIT})"


def commands(text: str) -> Iterator[str]:
    """The commands of a document: every line of a block for the shell; elsewhere (a block without a language,
    an indented one, inline code) what begins as the project's own, up to the columns that explain it.
    """
    for language, block in FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if language in SHELLS:
            yield from (re.sub(r"\s+#.*$", "", line.removeprefix("$ ").strip()) for line in lines)
        elif not language:
            yield from _own(lines)
    prose = FENCE.sub("", text)
    yield from _own(line for line in prose.splitlines() if line.startswith("    "))
    yield from _own(" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def _own(lines: Iterable[str]) -> Iterator[str]:
    stripped = (line.strip().removeprefix("$ ") for line in lines)
    return (re.split(r"\s{2,}", line)[0] for line in stripped if OWN.match(line))


def broken_commands(text: str, targets: set[str]) -> Iterator[str]:
    """Commands of the project's own that a document names and that do not exist, each with what is wrong."""
    for line in commands(text):
        words = list(takewhile(lambda word: not UNSAID.search(word), shlex.split(line, comments=True)))
        while words and "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
        problem = None
        if words[:1] == ["make"]:
            unknown = [w for w in words[1:] if not w.startswith("-") and "=" not in w and w not in targets]
            problem = f"no such target: {unknown}" if unknown else None
        elif len(words) > 1 and words[0].removeprefix(".venv/bin/") in {"loopyard", "python"}:
            problem = unknown_word(words)
        if problem:
            yield f"`{line}`: {problem}"


def unknown_word(words: list[str]) -> str | None:
    """Ask the command's own help whether its verbs and options exist; None when all is well."""
    base: tuple[str, ...]
    if words[0].endswith("loopyard"):
        base, rest = ("-m", "gateway.cli"), words[1:]
    elif words[1] == "-m":
        base, rest = ("-m", *words[2:3]), words[3:]
    else:
        script = words[1]
        return None if (ROOT / script).is_file() else f"no such script: {script}"
    if base[-1] in {"-m", "pytest", "pip", "venv", "ruff", "mypy"}:
        return None
    verbs = tuple(takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, rest))
    shown = help_of(base, verbs)
    if shown is None:
        known = next((n for n in range(len(verbs) - 1, -1, -1) if help_of(base, verbs[:n]) is not None), None)
        return f"no such command: {base[-1]}" if known is None else f"no such verb: {verbs[known]}"
    missing = [option for w in rest if w.startswith("--") and (option := w.split("=")[0]) not in shown]
    return f"unknown: {missing}" if missing else None


@cache
def help_of(base: tuple[str, ...], verbs: tuple[str, ...]) -> str | None:
    """What `--help` of a command's verb prints; None where the command refuses the verb."""
    done = subprocess.run(
        [sys.executable, *base, *verbs, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "TERM": "dumb", "NO_COLOR": "1"},
    )
    return done.stdout if done.returncode == 0 else None


def broken_links(document: Path) -> Iterator[str]:
    """Relative links and pictures of a document that lead nowhere."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists():
            yield f"{document.relative_to(ROOT)}: link to {target} leads nowhere"


def main() -> int:
    """Print every finding; the exit status is 1 where there is one."""
    files = tracked()
    documents = [p for p in files if p.suffix == ".md" and "demo" not in p.parts and "tests" not in p.parts]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    findings = list(oversized(files))
    for document in documents:
        findings += broken_links(document)
        where = document.relative_to(ROOT)
        findings += [f"{where}: {found}" for found in broken_commands(document.read_text(), targets)]
    sys.stdout.write("".join(f"{finding}\n" for finding in findings))
    sys.stdout.write(f"{len(files)} files, {len(documents)} documents, {len(findings)} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
