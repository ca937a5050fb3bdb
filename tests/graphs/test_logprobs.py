"""Log-probabilities are kept small, whole, and safe from whatever a server sends."""

from __future__ import annotations

import math
from typing import Any

from graphs.logprobs import MOST_OTHERS, MOST_TOKENS, Logprobs


def scored(*tokens: tuple[bytes, float]) -> dict[str, Any]:
    content = [
        {"token": raw.decode(errors="replace"), "bytes": list(raw), "logprob": logprob, "top_logprobs": []}
        for raw, logprob in tokens
    ]
    return {"content": content, "refusal": None}


def test_tokens_of_chunks_are_put_together() -> None:
    found = Logprobs()
    found.add(scored((b"Four", -0.25)))
    found.add(None)
    found.add(scored((b" hours", -0.123456)))
    content = [{"token": "Four", "logprob": -0.25}, {"token": " hours", "logprob": -0.1235}]
    assert found.plain() == {"tokens": 2, "content": content}


def test_a_character_of_several_tokens_is_one_entry() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    found = Logprobs()
    found.add(scored((first, -1.0), (second, -0.5), (b"!", 0.0)))
    assert found.content == [{"token": "é", "logprob": -1.5}, {"token": "!", "logprob": 0.0}]
    broken = Logprobs()
    broken.add(scored(*[(b"\xff", -1.0)] * 8))
    assert [entry["token"] for entry in broken.content] == ["\ufffd" * 8]


def test_they_are_bounded_and_say_how_many_there_were() -> None:
    others = [{"token": str(n), "logprob": -float(n), "bytes": [1, 2]} for n in range(20)]
    found = Logprobs()
    for _ in range(MOST_TOKENS + 50):
        found.add({"content": [{"token": "a", "logprob": -1, "top_logprobs": others}]})
    kept = found.plain()
    assert kept is not None
    assert (kept["tokens"], len(kept["content"])) == (MOST_TOKENS + 50, MOST_TOKENS)
    assert len(kept["content"][0]["top_logprobs"]) == MOST_OTHERS
    assert set(kept["content"][0]["top_logprobs"][0]) == {"token", "logprob"}


def test_what_is_none_is_passed_over() -> None:
    found = Logprobs()
    for odd in ("text", [1], {"content": "x"}, {"content": [1, {"token": "a"}, {"logprob": "much"}]}, {}):
        found.add(odd)
    assert found.plain() is None
    found.add({"content": [{"token": "a", "logprob": math.log(0.5), "bytes": ["x"], "top_logprobs": 3}]})
    assert found.content == [{"token": "a", "logprob": -0.6931}]
