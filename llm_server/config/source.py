"""Where the settings come from: options, the environment, and the file LLM_ENV_FILE, which may be edited."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from dotenv.parser import parse_stream

from llm_server.settings import Settings, load_settings

VARIABLE = "LLM_ENV_FILE"


class SettingsSource:
    """`NAME=value` lines become variables of the environment, ours and those that hold keys of other servers.
    What stands in the environment that the process was started with wins.
    """

    def __init__(
        self, options: Mapping[str, object], environment: MutableMapping[str, str] = os.environ
    ) -> None:
        """`options` win over everything."""
        self._environment, self._options = environment, options
        self._started_with = frozenset(name for name, value in environment.items() if value)
        self._from_file: dict[str, str] = {}

    def read(self) -> Settings:
        """The settings now. ValueError for a file or a value that is wrong; the environment is as it was."""
        before = self._from_file
        try:
            file = self._environment.get(VARIABLE)
            self.put(_lines(Path(file)) if file else {})
            return load_settings(**self._options)
        except ValueError:
            self.put(before)
            raise

    @property
    def values(self) -> dict[str, str]:
        """What the file has set."""
        return dict(self._from_file)

    def forget(self) -> None:
        """Take out of the environment what the file has put there."""
        self.put({})

    def put(self, values: Mapping[str, str]) -> None:
        """Set what a file says, instead of what it said before."""
        values = {name: value for name, value in values.items() if name not in self._started_with}
        for name in self._from_file.keys() - values.keys():
            self._environment.pop(name, None)
        self._environment.update(values)
        self._from_file = values


def _lines(path: Path) -> dict[str, str]:
    """ValueError with the line that is wrong."""
    try:
        with path.open(encoding="utf-8") as file:
            found = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{VARIABLE} {path} cannot be read: {error}") from error
    for line in found:
        if line.error or (line.key is not None and line.value is None):
            # Not the line itself: it may hold a key.
            raise ValueError(f"{VARIABLE} {path}, line {line.original.line}: it is no NAME=value.")
    return {line.key: line.value for line in found if line.key is not None and line.value is not None}
