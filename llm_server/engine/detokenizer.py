"""Bytes of tokens to text, a token at a time: no half characters, no half stop strings."""

import codecs
from collections.abc import Sequence


class Detokenizer:
    """Incremental UTF-8 decoding that holds back what may become a stop string."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Text that is safe to show after these bytes; sets `stopped` when a stop string is complete."""
        self._held += self._decoder.decode(piece)
        return self._release()

    def flush(self) -> str:
        """The rest at the end, a broken character as U+FFFD."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(b"", final=True)
        text = self._release()
        rest, self._held = self._held, ""
        return text if self.stopped else text + rest

    def _release(self) -> str:
        if self.stopped:
            return ""
        if not self._stops:
            text, self._held = self._held, ""
            return text
        ends = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if ends:
            self.stopped = True
            text, self._held = self._held[: min(ends)], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
