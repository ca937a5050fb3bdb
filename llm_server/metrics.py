"""Prometheus metrics, in a registry of their own."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric

from llm_server.engine.observer import Observer
from llm_server.engine.sequence import Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics(Observer):
    """What /metrics shows. The engine's thread writes, any thread reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.http = Counter(
            "llm_http_requests", "Requests by route and status.", ["route", "status"], registry=r
        )
        self.sequences = Counter("llm_sequences", "Sequences that ended, by reason.", ["reason"], registry=r)
        self.prompt_tokens = Counter("llm_prompt_tokens", "Prompt tokens.", registry=r)
        self.tokens = Counter("llm_generated_tokens", "Generated tokens.", registry=r)
        self.cached_tokens = Counter(
            "llm_prefix_cache_tokens", "Prompt tokens out of the prefix cache.", registry=r
        )
        self.cache_hits = Counter("llm_prefix_cache_hits", "Sequences that reused a prefix.", registry=r)
        self.tried = Counter("llm_drafted_tokens", "Tokens that were tried ahead.", registry=r)
        self.right = Counter("llm_drafted_tokens_accepted", "Of these, the right ones.", registry=r)
        self.first = Histogram(
            "llm_time_to_first_token_seconds", "From arrival.", ["model"], buckets=SECONDS, registry=r
        )
        self.between = Histogram(
            "llm_inter_token_seconds", "Between two tokens.", ["model"], buckets=GAPS, registry=r
        )
        self.embeddings = Counter("llm_embedding_tokens", "Tokens that were embedded.", registry=r)

    def of(self, model: str) -> Observer:
        """Latencies by model, totals of all."""
        return _ModelMetrics(self, model)

    def token(self, sequence: Sequence, now: float) -> None:
        """One more."""
        self.tokens.inc()

    def drafted(self, offered: int, taken: int) -> None:
        """Totals of speculation."""
        self.tried.inc(offered)
        self.right.inc(taken)

    def finished(self, sequence: Sequence, reason: str) -> None:
        """Totals of a sequence."""
        self.sequences.labels(reason).inc()
        self.prompt_tokens.inc(sequence.prompt_length)
        self.cached_tokens.inc(sequence.reused)
        if sequence.reused:
            self.cache_hits.inc()

    def text(self, may_see: Callable[[str], bool]) -> bytes:
        """The exposition format. `may_see` is asked about every model, and about adapters as `base:adapter`:
        the series of others are left out.
        """
        return generate_latest(_Seen(self.registry, may_see))


class _ModelMetrics(Observer):
    """What one model's engine tells. Its series are looked up once: `token` is called for every token."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._first, self._between = metrics.first.labels(model), metrics.between.labels(model)

    def token(self, sequence: Sequence, now: float) -> None:
        """Latencies."""
        self._metrics.token(sequence, now)
        if sequence.last_token_at is None:
            self._first.observe(now - sequence.created)
        else:
            self._between.observe(now - sequence.last_token_at)

    def drafted(self, offered: int, taken: int) -> None:
        """Totals of speculation."""
        self._metrics.drafted(offered, taken)

    def finished(self, sequence: Sequence, reason: str) -> None:
        """Totals of a sequence."""
        self._metrics.finished(sequence, reason)


class _Seen(CollectorRegistry):
    """What one reader may see of a registry."""

    def __init__(self, whole: CollectorRegistry, may_see: Callable[[str], bool]) -> None:
        super().__init__()
        self._whole, self._may_see = whole, may_see

    def collect(self) -> Iterator[Metric]:
        """Families as they are, without the samples of models and adapters that are not to be seen."""
        for family in self._whole.collect():
            family.samples = [sample for sample in family.samples if self._visible(sample.labels)]
            yield family

    def _visible(self, labels: dict[str, str]) -> bool:
        if "model" not in labels:
            return True
        adapter = labels.get("adapter")
        return self._may_see(labels["model"] if adapter is None else f"{labels['model']}:{adapter}")
