"""Hold the contracts between the rooms (import-linter; they stand in pyproject.toml)."""

import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(lint_imports(config_filename=str(ROOT / "pyproject.toml"), verbose=False))
