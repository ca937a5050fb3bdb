"""Checks that no linter does: file sizes that only shrink, and documents whose commands and links are real.

.venv/bin/python compose/scripts/check_repository.py
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 400
RATCHET = ROOT / "compose" / "scripts" / "size_ratchet.json"
SOURCES = {".py", ".ts", ".svelte"}


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


def shell_lines(document: Path) -> Iterator[str]:
    """Commands in a document's sh and console blocks, continued lines joined, comments and prompts cut."""
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", document.read_text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\s+#.*$", "", line.removeprefix("$ ").strip())


def broken_commands(document: Path, targets: set[str]) -> Iterator[str]:
    """Commands of the project's own that a document names and that do not exist."""
    where = document.relative_to(ROOT)
    for line in shell_lines(document):
        words = shlex.split(line, comments=True)
        while words and "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
        if not words:
            continue
        problem = None
        if words[0] == "make":
            unknown = [w for w in words[1:] if not w.startswith("-") and "=" not in w and w not in targets]
            problem = f"no such target: {unknown}" if unknown else None
        elif words[0].removeprefix(".venv/bin/") in {"loopyard", "python"}:
            problem = unknown_option(words)
        if problem:
            yield f"{where}: `{line}`: {problem}"


def unknown_option(words: list[str]) -> str | None:
    """Ask the command's own help whether its verbs and options exist; None when all is well."""
    if words[0].endswith("loopyard"):
        base, rest = ["-m", "gateway.cli"], words[1:]
    elif words[1:2] == ["-m"]:
        base, rest = words[1:3], words[3:]
    else:
        script = words[1]
        return None if (ROOT / script).is_file() else f"no such script: {script}"
    return ask_help(base, rest)


def ask_help(base: list[str], rest: list[str]) -> str | None:
    """Run `--help` of a command and its verbs, and look the options up in what it prints."""
    if base[-1] in {"pytest", "pip", "venv", "ruff", "mypy"}:
        return None
    verbs: list[str] = []
    for word in rest:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        verbs.append(word)
    for depth in range(len(verbs), -1, -1):
        done = subprocess.run(
            [sys.executable, *base, *verbs[:depth], "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "TERM": "dumb", "NO_COLOR": "1"},
        )
        if done.returncode == 0:
            break
    else:
        return f"`{' '.join(base)} --help` fails: {done.stderr[-300:]}"
    options = [w.split("=")[0] for w in rest if w.startswith("--")]
    missing = [option for option in options if option not in done.stdout]
    return f"unknown: {missing}" if missing else None


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
        findings += broken_commands(document, targets)
    sys.stdout.write("".join(f"{finding}\n" for finding in findings))
    sys.stdout.write(f"{len(files)} files, {len(documents)} documents, {len(findings)} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
