"""`python -m tools.rag.parsers.child FILE pdf|docx`: parse one file and write the extract as JSON.

It imports little, because it starts once per document.
"""

import ctypes
import dataclasses
import json
import resource
import signal
import sys
from pathlib import Path

from tools.errors import UnreadableDocument
from tools.rag.text import Extract

MEMORY_BYTES = 2 * 1024**3
REFUSED = 3
"""Exit status when the document is to blame; the reason is on stdout."""
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a child gets when its parent dies."""


def main(path: Path, kind: str) -> int:
    """Parse within limits; gives the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        extract = _parse(path, kind)
    except UnreadableDocument as error:
        sys.stdout.write(str(error))
        return REFUSED
    json.dump(dataclasses.asdict(extract), sys.stdout)
    return 0


def _parse(path: Path, kind: str) -> Extract:
    if kind == "pdf":
        from tools.rag.parsers.pdf import parse_pdf

        return parse_pdf(path)
    from tools.rag.parsers.docx import parse_docx

    return parse_docx(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
