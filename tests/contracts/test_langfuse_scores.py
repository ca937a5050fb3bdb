"""The unmodified Langfuse SDK, any line of it: scores of every type, of whatever a score can be about."""

from __future__ import annotations

import json
from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import (
    MAJOR,
    call,
    delete_score,
    name,
    observations,
    put_score,
    quiet,
    scores,
    span,
)

pytestmark = quiet
TYPED = [
    ("NUMERIC", 0.75, 0.75),
    ("BOOLEAN", 1, True),
    ("BOOLEAN", 0, False),
    ("CATEGORICAL", "good", "good"),
    ("TEXT", "a better answer", "a better answer"),
]


def about_each(client: Any) -> tuple[Any, dict[str, dict[str, str]]]:
    """An observation; and how a score says that it is about that, its trace or its session."""
    with span(client, name="scored") as made:
        pass
    trace_id = made.trace_id
    return made, {
        made.id: {"trace_id": trace_id, "observation_id": made.id},
        trace_id: {"trace_id": trace_id},
        (session := name("session")): {"session_id": session},
    }


@call("create_score", "create_score(session_id)", "create_score(observation_id)", "api.scores.get_many")
@pytest.mark.parametrize(("kind", "value", "shown"), TYPED)
def test_each_type_about_each_thing(client: Any, kind: str, value: Any, shown: Any) -> None:
    _, targets = about_each(client)
    score = name("score")
    for target in targets.values():
        client.create_score(name=score, value=value, data_type=kind, comment="why", **target)
    found = scores(client, name=score)
    assert {s.about for s in found} == set(targets)
    for s in found:
        assert (s.kind, s.value, s.comment) == (kind, shown, "why")
        assert type(s.value) is type(shown)


@call("create_score(score_id)")
def test_a_score_is_replaced_by_its_id(client: Any) -> None:
    score, trace_id = name("score"), client.create_trace_id()
    for value in (1.0, 2.0):
        client.create_score(score_id=score, name=score, value=value, trace_id=trace_id)
        client.flush()
    (found,) = scores(client, name=score)
    assert (found.id, found.value) == (score, 2.0)


@call("create_score(metadata)")
def test_metadata_of_a_score(client: Any) -> None:
    score = name("score")
    trace_id = client.create_trace_id()
    client.create_score(name=score, value=1.0, trace_id=trace_id, metadata={"judge": "rule-3"})
    (found,) = scores(client, name=score)
    assert found.metadata == {"judge": "rule-3"}


@call("score_current_trace", "score_current_span")
def test_scores_of_what_is_current(client: Any) -> None:
    score = name("score")
    with span(client, name="o") as made:
        client.score_current_trace(name=score, value=1.0)
        client.score_current_span(name=score, value="fine")
    assert {(s.about, s.value) for s in scores(client, name=score)} == {
        (made.trace_id, 1.0),
        (made.id, "fine"),
    }


@call("observation.score", "observation.score_trace")
def test_scores_that_an_observation_gives(client: Any) -> None:
    score = name("score")
    made = client.start_observation(name="o")
    made.score(name=score, value=0.5)
    made.score_trace(name=score, value=1, data_type="BOOLEAN")
    made.end()
    found = {s.about: s.value for s in scores(client, name=score)}
    assert found == {made.id: 0.5, made.trace_id: True}


@call("api.scores.create")
def test_a_score_by_the_api(client: Any) -> None:
    score, trace_id = name("score"), client.create_trace_id()
    put_score(client, name=score, value="great", data_type="CATEGORICAL", trace_id=trace_id)
    (found,) = scores(client, name=score)
    assert (found.value, found.about) == ("great", trace_id)


@call("api.scores.create(wrong)")
def test_a_value_that_is_not_of_its_type_is_refused(client: Any) -> None:
    score, trace_id = name("score"), client.create_trace_id()
    wrong = {"name": score, "value": "much", "data_type": "NUMERIC", "trace_id": trace_id}
    if MAJOR >= 5:  # it is told in the answer to its list
        assert "NUMERIC" in str(put_score(client, **wrong))
    else:
        with pytest.raises(Exception, match="NUMERIC"):
            put_score(client, **wrong)
    assert scores(client, name=score) == []


@call("api.scores.get_many(filters)")
def test_scores_by_what_they_are_about(client: Any) -> None:
    score, first, second = name("score"), client.create_trace_id(), client.create_trace_id()
    for trace_id, value in ((first, 0.1), (second, 0.9)):
        client.create_score(name=score, value=value, trace_id=trace_id)
    client.create_score(name=score, value="x", trace_id=first)
    assert sorted(str(s.value) for s in scores(client, trace_id=first)) == ["0.1", "x"]
    assert [s.value for s in scores(client, name=score, trace_id=second)] == [0.9]
    assert {s.value for s in scores(client, name=score, data_type="NUMERIC")} == {0.1, 0.9}
    assert len(scores(client, name=score, limit=2)) == 2
    assert scores(client, name=score, environment="nowhere") == []


@call("api.scores.delete")
def test_a_score_is_deleted(client: Any) -> None:
    score = name("score")
    client.create_score(score_id=score, name=score, value=1.0, trace_id=client.create_trace_id())
    assert len(scores(client, name=score)) == 1
    delete_score(client, score)
    assert scores(client, name=score) == []
    with pytest.raises(Exception, match=r"404|No score"):
        delete_score(client, score)


@call("run_batched_evaluation")
def test_observations_are_judged_together(client: Any) -> None:
    """Each evaluator's result becomes a score; where a line has traces of its own, it judges those."""
    tag, score = name("tag"), name("score")
    with (
        langfuse.propagate_attributes(tags=[tag], trace_name=tag),
        span(client, name=tag, input="2", output="4") as made,
    ):
        pass
    observations(client, made.trace_id)

    def mapped(*, item: Any, **_: Any) -> Any:
        return langfuse.EvaluatorInputs(
            input=item.input, output=item.output, expected_output=None, metadata={}
        )

    def doubled(*, input: Any, output: Any, **_: Any) -> Any:
        return langfuse.Evaluation(name=score, value=float(int(output) == 2 * int(input)))

    which = [{"type": "string", "column": "name", "operator": "=", "value": tag}]
    scope = {"scope": "observations"} if MAJOR < 5 else {}
    done = client.run_batched_evaluation(
        mapper=mapped, evaluators=[doubled], filter=json.dumps(which), **scope
    )
    assert done.total_items_processed == 1
    (found,) = scores(client, name=score)
    assert (found.value, found.about) == (1.0, made.id)
