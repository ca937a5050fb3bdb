"""A second answer to a prompt, from any OpenAI-compatible server."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx

from annotation.errors import ModelError
from annotation.spans import second_answer
from annotation.tasks import Answer
from annotation.traces import Generation, Traces
from rlhf.records import Message, Trace

TRIES = 3
"""Seeds that are tried until an answer is another one."""


class SecondAnswers:
    """Asks one model, by default the one that answered first, at a temperature.

    Args:
        url: ends in /v1.
        model: of the server, for example a base model with another adapter; empty is the first answer's.
        traces: where each answer that is kept becomes a trace, so that what is learnt from it can be looked
            up; None keeps no trace.
    """

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        temperature: float,
        traces: Traces | None = None,
        max_tokens: int = 512,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if traces is not None:
            # What is traced here is not traced by the model server too.
            headers["x-loopyard-traced"] = traces.public_key
        self._url, self._model, self._traces = url.rstrip("/"), model, traces
        self._options: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        try:
            self._http = httpx.Client(base_url=self._url, headers=headers, timeout=600, trust_env=False)
        except httpx.InvalidURL as error:
            raise ModelError(f"{url!r} is no address: {error}", "Mend ANNOTATION_MODEL_URL.") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def second(self, generation: Generation, earlier: int = 0) -> Answer | None:
        """Another answer to the same messages with the same tools; None if the model keeps repeating itself.

        Tools are shown but not called: what is compared is what a user would read.

        Args:
            earlier: second answers that the generation has had before; this one is drawn anew.

        Raises:
            ModelError: the server does not answer or refuses.
            TracesError: the trace cannot be kept.
        """
        first = (generation.answer[-1].content or "").strip()
        body: dict[str, Any] = {
            **self._options,
            "model": self._model or generation.trace.model,
            "messages": [message.plain() for message in generation.prompt],
        }
        if generation.tools:
            body |= {"tools": json.loads(generation.tools), "tool_choice": "none"}
        for attempt in range(earlier * TRIES, (earlier + 1) * TRIES):
            asked, began = {**body, "seed": _seed(generation, attempt)}, datetime.now(UTC)
            answer = self._ask(asked)
            text = answer["choices"][0]["message"].get("content") or ""
            if text.strip() and text.strip() != first:
                trace = self._traced(generation, asked, answer, began)
                return Answer(messages=[Message(role="assistant", content=text)], trace=trace)
        return None

    def _traced(
        self, generation: Generation, asked: dict[str, Any], answer: dict[str, Any], began: datetime
    ) -> Trace | None:
        """Kept before anybody sees the answer: what names a trace can be followed to it."""
        if self._traces is None:
            return None
        trace, export = second_answer(
            generation.trace,
            asked,
            answer,
            (began, datetime.now(UTC)),
            session=generation.session,
            user=generation.user,
            project=generation.project,
        )
        self._traces.keep(export)
        return trace

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._http.post("/chat/completions", json=body)
        except httpx.HTTPError as error:
            text = f"no model server answers at {self._url}: {error or type(error).__name__}"
            raise ModelError(text, "Start it with `loopyard up`, or name one with --model-url.") from None
        if answer.is_error:
            try:
                reason = str(answer.json()["error"]["message"])
            except (ValueError, KeyError, TypeError):
                reason = answer.reason_phrase
            text = f"{self._url} answers {answer.status_code} for model {body['model']!r}: {reason}"
            raise ModelError(text, "Name a model that it serves with --model.")
        return dict(answer.json())


def _seed(generation: Generation, attempt: int) -> int:
    """The same for the same generation, so that a run that is repeated gives the same answers."""
    name = f"{generation.trace.generation_id} {attempt}"
    return int.from_bytes(sha256(name.encode()).digest()[:4]) >> 1
