"""How the live version of each adapter answers, beside what answered before it went live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.errors import NotFound
from gateway.models.shelf import Shelf
from gateway.quality.measures import Answer, compared, overall, shares, slowness
from gateway.quality.reading import answers_since
from gateway.quality.schemas import MeasureOut, QualityOut
from gateway.quality.store import Baseline, Kept, load, save
from gateway.trace_view.source import TraceSource
from rlhf.registry import LIVE

EXACT = len("sha256:") + 12
"""Characters of a digest in the name that an answer's model has."""


class Quality:
    """Args:
    folder: where baselines are kept.
    days: of the window now, and of that before a version went live.
    minimum: answers, thumbs, judgements or calls on either side below which nothing is said.
    """

    def __init__(self, source: TraceSource, shelf: Shelf, folder: Path, days: int, minimum: int) -> None:
        self._source, self._shelf, self._folder = source, shelf, folder
        self._days, self._minimum = days, minimum
        self._writing = asyncio.Lock()
        self.latest: dict[str, QualityOut] = {}
        """By name, as it was seen last."""

    async def of(self, name: str) -> QualityOut:
        """Raises NotFound where nothing of this name is live or there is no trace store, UpstreamFailed."""
        live = (await asyncio.to_thread(self._shelf.registry.aliases, name)).get(LIVE)
        if live is None:
            raise NotFound(f"Nothing is live under the name {name!r}.")
        return await self._look(name, live, *await self._read())

    async def all(self) -> list[QualityOut]:
        """Of every name with a live version. Raises as `of`."""
        live = await asyncio.to_thread(self._live)
        for gone in self.latest.keys() - live.keys():
            del self.latest[gone]
        if not live:
            return []
        read = await self._read()
        return [await self._look(name, digest, *read) for name, digest in live.items()]

    async def _read(self) -> tuple[list[Answer], bool]:
        return await answers_since(self._source, _iso(datetime.now(UTC) - 2 * timedelta(days=self._days)))

    async def _look(self, name: str, live: str, answers: Sequence[Answer], cut: bool) -> QualityOut:
        now, window = datetime.now(UTC), timedelta(days=self._days)
        mine = [one for one in answers if one.model.endswith(f":{name}@{live[:EXACT]}")]
        async with self._writing:
            kept = await asyncio.to_thread(load, self._folder, name)
            baseline = self._baseline(kept, live, mine, answers, window)
            if baseline:
                kept.baselines[live] = baseline
                await asyncio.to_thread(save, self._folder, name, kept)
        recent = [one for one in mine if one.at >= _iso(now - window)]
        before = baseline.shares if baseline else {}
        found = compared(before, shares(recent, baseline.slow_from if baseline else None), self._minimum)
        state, reason = overall(found)
        seen = QualityOut(
            name=name,
            version=live,
            state=state,
            reason=reason,
            began=baseline.began if baseline else None,
            days=self._days,
            cut=cut,
            measures=[MeasureOut.model_validate({"name": key, **asdict(one)}) for key, one in found.items()],
            at=_iso(now),
        )
        self.latest[name] = seen
        return seen

    async def take_back(self, name: str, version: str) -> bool:
        """Note that a version is rolled back by itself; False where it, or what it would go back to, was
        already: two that are worse than each other must not change places for ever.
        """
        async with self._writing:
            kept = await asyncio.to_thread(load, self._folder, name)
            previous = (await asyncio.to_thread(self._shelf.registry.aliases, name)).get("previous")
            if previous is None or {version, previous} & set(kept.rolled_back):
                return False
            kept.rolled_back.append(version)
            await asyncio.to_thread(save, self._folder, name, kept)
        return True

    async def leave(self, name: str, version: str) -> None:
        """Note that a version was not rolled back after all."""
        async with self._writing:
            kept = await asyncio.to_thread(load, self._folder, name)
            kept.rolled_back.remove(version)
            await asyncio.to_thread(save, self._folder, name, kept)

    def _live(self) -> dict[str, str]:
        """Digests by name."""
        found = {name: self._shelf.registry.aliases(name) for name in self._shelf.registry.names()}
        return {name: aliases[LIVE] for name, aliases in found.items() if LIVE in aliases}

    def _baseline(
        self, kept: Kept, live: str, mine: Sequence[Answer], answers: Sequence[Answer], window: timedelta
    ) -> Baseline | None:
        """What answered in the days before the version did, on the same base; what is kept where those days
        are no longer read.
        """
        known = kept.baselines.get(live)
        if not mine:
            return known
        began = min(one.at for one in mine)
        if known and known.began <= began:
            return known
        base = mine[0].model.partition(":")[0]
        start = _iso(datetime.fromisoformat(began) - window)
        before = [one for one in answers if start <= one.at < began and one.model.partition(":")[0] == base]
        slow_from = slowness(before)
        return Baseline(began, slow_from, shares(before, slow_from))


def _iso(moment: datetime) -> str:
    """As traces have it, so that texts compare as times do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
