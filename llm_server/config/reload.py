"""Follows the file LLM_CONFIG: check all of it, load beside what runs, swap in one step, retire the rest."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from llm_server.adapters.manager import AdapterManager
from llm_server.catalog import Catalog, ChatModel, Entry, UpstreamModel
from llm_server.config.encoders import EncoderSpec
from llm_server.config.resolve import AdapterSpec, ModelSpec, Resolved, UpstreamSpec, read_config, read_file
from llm_server.config.retire import Retirement
from llm_server.engine.observer import Observer
from llm_server.errors import ConfigRefused, LlmServerError, PreparationFailed
from llm_server.load import (
    Progress,
    default_temperature,
    load_adapters,
    load_encoder,
    load_model,
)
from llm_server.settings import STARTER, Settings
from llm_server.upstreams.pool import Pool

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Change:
    """Ids of models, by what an edit did to them."""

    loaded: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    """Other aliases, adapters or temperature: nothing was loaded anew but adapters."""
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def card(self) -> dict[str, list[str]]:
        """For people."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last edit that was not followed."""

    error: LlmServerError
    at: float
    """Seconds since 1970."""

    def card(self) -> dict[str, Any]:
        """For people."""
        place = (
            (self.error.line, self.error.column) if isinstance(self.error, ConfigRefused) else (None, None)
        )
        return {"message": self.error.message, "line": place[0], "column": place[1], "at": self.at}


Live = tuple[ModelSpec, ChatModel]


class Reloader:
    """Keeps the catalog as the configuration says. Any thread may call it; one edit is followed at a time."""

    def __init__(self, settings: Settings, catalog: Catalog, observer: Observer, progress: Progress) -> None:
        self._settings, self._catalog = settings, catalog
        self._stale = False
        """Whether the settings wait to be followed."""
        self._observer, self._progress = observer, progress
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._upstreams: dict[str, tuple[UpstreamSpec, UpstreamModel]] = {}
        self._encoders: dict[str, tuple[EncoderSpec, Entry]] = {}
        self._seen: bytes | None = None
        self._loaded_at: float | None = None
        self._refusal: Refusal | None = None
        self._retirement = Retirement(settings.retire_seconds)
        self._closed = False

    def use(self, settings: Settings) -> None:
        """Follow these at the next `load`; where that is refused, at the one after."""
        with self._lock:
            self._settings, self._stale = settings, True

    def load(self, *, unless_seen: bool = False) -> Change:
        """Serve what the configuration says now, whatever it said before. Slow where models are loaded.

        `unless_seen` leaves a file alone whose text was read before, under the same settings. ConfigRefused
        or another LlmServerError: everything is as it was.
        """
        with self._lock:
            try:
                raw = None if self._settings.config is None else read_file(self._settings.config)
                if self._closed or (unless_seen and not self._stale and raw == self._seen):
                    return Change(unchanged=[*self._live, *self._upstreams])
                self._seen = raw
                change = self._follow(read_config(self._settings, raw))
            except LlmServerError as error:
                self._refusal = Refusal(error, time.time())
                raise
            self._stale, self._refusal, self._loaded_at = False, None, time.time()
            return change

    def card(self) -> dict[str, Any]:
        """What is in force, since when, and the last refusal after that."""
        cards = [spec.card() for spec, _ in self._live.values()]
        cards += [spec.card() for spec, _ in self._upstreams.values()]
        return {
            "file": None if self._settings.config is None else str(self._settings.config),
            "loaded_at": self._loaded_at,
            "models": cards,
            "embeddings": any(spec.task == "embed" for spec, _ in self._encoders.values()),
            "encoders": [spec.card() for spec, _ in self._encoders.values()],
            "draining": len(self.retiring),
            "refused": self._refusal.card() if self._refusal else None,
        }

    @property
    def retiring(self) -> list[Entry]:
        """Models that were replaced and are still in use."""
        return self._retirement.entries

    def settings_of(self, name: str) -> Settings | None:
        """What a model of this server was loaded with; None for another one."""
        found = self._live.get(name)
        return found[0].settings if found else None

    def adapter_paths(self) -> list[Path]:
        """Where the adapters lie that the configuration names."""
        return [adapter.path for spec, _ in self._live.values() for adapter in spec.adapters]

    def close(self) -> None:
        """Follow nothing more; models that were replaced are closed now."""
        with self._lock:
            self._closed = True
        self._retirement.close()

    def _follow(self, wanted: Resolved) -> Change:
        change, fresh = Change(), _Fresh()
        live: dict[str, Live] = {}
        try:
            for spec in wanted.models:
                live[spec.id] = spec, self._model(wanted, spec, change, fresh)
            for spec in wanted.models:
                if spec.id not in change.loaded:
                    self._adapt(wanted, spec, live[spec.id][1], fresh)
            upstreams = {spec.id: (spec, self._upstream(spec, change, fresh)) for spec in wanted.upstreams}
            encoders = self._encoding(wanted, change, fresh)
        except BaseException:
            fresh.undo()
            self._write_adapters()
            raise
        for spec in wanted.models:
            if spec.id in change.loaded:
                self._take_over(spec, live[spec.id][1])
        entries: list[Entry] = [model for _, model in live.values()]
        entries += [model for _, model in upstreams.values()]
        gone = self._catalog.replace([*entries, *(entry for _, entry in encoders.values())])
        before, self._live = self._live, live
        for entry in gone:
            self._retirement.retire(entry)
        _forget_adapters(before, live, change.loaded)
        had = (*before, *self._upstreams, *self._encoders)
        change.removed = [name for name in had if name not in {**live, **upstreams, **encoders}]
        self._upstreams, self._encoders = upstreams, encoders
        log.info("configuration followed", extra={"loaded": change.loaded, "removed": change.removed})
        return change

    def _model(self, wanted: Resolved, spec: ModelSpec, change: Change, fresh: "_Fresh") -> ChatModel:
        """The running model with its new names, or a new one beside it."""
        before = self._live.get(spec.id)
        if before is not None and before[0].weights == spec.weights:
            (change.unchanged if before[0] == spec else change.updated).append(spec.id)
            small = spec.settings.model == STARTER or spec.settings.backend == "echo"
            temperature = default_temperature(spec.settings, small=small)
            return replace(before[1], aliases=spec.aliases, temperature=temperature)
        try:
            model = load_model(spec, self._observer, self._progress)
        except LlmServerError as error:
            raise wanted.refusal(spec, error) from error
        except Exception as error:
            # What a library says about a broken file, in whatever type.
            log.exception("a model cannot be loaded", extra={"model": spec.id})
            failed = PreparationFailed(f"The model {spec.id} cannot be loaded: {error}")
            raise wanted.refusal(spec, failed) from error
        change.loaded.append(spec.id)
        fresh.entries.append(model)
        if before is not None and _same_base(before[0], spec):
            self._make_adapters(wanted, before, spec, model)
        return model

    def _make_adapters(self, wanted: Resolved, before: Live, spec: ModelSpec, model: ChatModel) -> None:
        """For another engine, of the adapters of the one that runs. Refused where one would be lost."""
        old, new = before[1].adapters, model.adapters
        if old is None or new is None:
            return
        settled = {adapter.name for adapter in spec.adapters}
        try:
            new.make_missing(old, settled, _dropped(before[0], spec))
        except LlmServerError as error:
            raise wanted.refusal(spec, error) from error

    def _take_over(self, spec: ModelSpec, model: ChatModel) -> None:
        """A model that was loaded anew goes on with the adapters of the one that it replaces."""
        before = self._live.get(spec.id)
        if before is None or before[1].adapters is None or model.adapters is None:
            return
        settled = [adapter.name for adapter in spec.adapters]
        dropped, same = _dropped(before[0], spec), _same_base(before[0], spec)
        model.adapters.take_over(before[1].adapters, settled, dropped, same=same)

    def _write_adapters(self) -> None:
        """After a refusal: a new model of the same folder may have written its adapters down."""
        for _, model in self._live.values():
            if model.adapters is not None:
                model.adapters.store.save()

    def _adapt(self, wanted: Resolved, spec: ModelSpec, model: ChatModel, fresh: "_Fresh") -> None:
        """Load the adapters that the running model does not have yet."""
        before, manager = self._live[spec.id][0].adapters, model.adapters
        if manager is None:
            return
        for adapter in spec.adapters:
            if adapter in before:
                continue
            adapter = _unset(adapter, before)
            fresh.remember(manager, adapter)
            try:
                load_adapters(manager, [adapter], self._progress)
            except LlmServerError as error:
                raise wanted.refusal(spec, error) from error

    def _upstream(self, spec: UpstreamSpec, change: Change, fresh: "_Fresh") -> UpstreamModel:
        before = self._upstreams.get(spec.id)
        if before is not None and before[0] == spec:
            change.unchanged.append(spec.id)
            return before[1]
        pool = Pool(spec.servers, spec.retries, spec.timeout_s, spec.probe_s)
        model = UpstreamModel(spec.id, pool, spec.aliases, spec.fallbacks)
        change.loaded.append(spec.id)
        fresh.entries.append(model)
        return model

    def _encoding(
        self, wanted: Resolved, change: Change, fresh: "_Fresh"
    ) -> dict[str, tuple[EncoderSpec, Entry]]:
        """Embedders, rerankers and classifiers: those that run as they are wanted, and new ones."""
        out: dict[str, tuple[EncoderSpec, Entry]] = {}
        for spec in wanted.encoders:
            before = self._encoders.get(spec.id)
            if before is not None and before[0] == spec:
                out[spec.id] = before
                change.unchanged.append(spec.id)
                continue
            try:
                entry = load_encoder(spec, self._settings, self._progress)
            except LlmServerError as error:
                raise wanted.refusal(spec, error) from error
            except Exception as error:
                # As of a model: a tokenizer's file that was cut off raises a bare Exception.
                log.exception("an encoder cannot be loaded", extra={"model": spec.id})
                failed = PreparationFailed(f"The model {spec.id} cannot be loaded: {error}")
                raise wanted.refusal(spec, failed) from error
            out[spec.id] = spec, entry
            fresh.entries.append(entry)
            change.loaded.append(spec.id)
        return out


@dataclass(slots=True)
class _Fresh:
    """What an edit has made so far, so that a failure leaves nothing behind."""

    entries: list[Entry] = field(default_factory=list)
    adapters: list[tuple[AdapterManager, AdapterSpec, str | None]] = field(default_factory=list)
    """With the version that the name meant before."""

    def remember(self, manager: AdapterManager, spec: AdapterSpec) -> None:
        """Before an adapter is loaded into a model that is served."""
        known = spec.name in manager.store.names()
        self.adapters.append((manager, spec, manager.store.find(spec.name).id if known else None))

    def undo(self) -> None:
        """Close new models; names of adapters mean what they meant."""
        for manager, spec, before in reversed(self.adapters):
            if before is not None:
                manager.store.promote(spec.name, before, "stable", None)
            elif spec.name in manager.store.names():
                manager.unload(spec.name)
        for entry in self.entries:
            entry.close()


def _same_base(before: ModelSpec, after: ModelSpec) -> bool:
    return before.settings.model == after.settings.model


def _dropped(before: ModelSpec, after: ModelSpec) -> set[str]:
    """Names of adapters that the file had and has no longer."""
    return {adapter.name for adapter in before.adapters} - {adapter.name for adapter in after.adapters}


def _unset(adapter: AdapterSpec, before: Sequence[AdapterSpec]) -> AdapterSpec:
    """With the defaults of what the file said before and says no longer."""
    old = next((each for each in before if each.name == adapter.name), adapter)
    scale = 1.0 if adapter.scale is None and old.scale is not None else adapter.scale
    pin = False if adapter.pin is None and old.pin is not None else adapter.pin
    return replace(adapter, scale=scale, pin=pin)


def _forget_adapters(before: dict[str, Live], after: dict[str, Live], loaded: Sequence[str]) -> None:
    """Unload the adapters that the file names no longer, of models that stay."""
    for name, (spec, model) in after.items():
        if name in loaded or model.adapters is None:
            continue
        kept = {adapter.name for adapter in spec.adapters}
        for adapter in before[name][0].adapters:
            if adapter.name not in kept and adapter.name in model.adapters.store.names():
                model.adapters.unload(adapter.name)
