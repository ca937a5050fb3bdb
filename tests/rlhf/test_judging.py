"""Judges: people, another model, and a reward model that must not have seen what it judges."""

import json
from pathlib import Path
from typing import Any

import pytest

from annotation.pair_files import read_tasks
from annotation.tasks import Judgement, preferences
from llm_server.settings import Settings
from rlhf.data.build import Plan, build
from rlhf.data.folder import read_dataset
from rlhf.errors import DatasetError, Leak, RecipeError
from rlhf.evaluate import both_orders
from rlhf.judge_model import ModelJudge, conversation
from rlhf.judge_people import PeopleJudge, write_pairs
from rlhf.judging import halved, judge_of, refuse_seen
from rlhf.methods import train
from rlhf.recipe import Evaluate
from rlhf.records import now, read_jsonl
from rlhf.serving import Server
from tests.llm_server.conftest import ADMIN, USER, serving
from tests.rlhf.preferring import base as make_base
from tests.rlhf.preferring import recipe, rows, write
from tests.rlhf.trainings import plan as method_plan
from tests.rlhf.trainings import quiet

NOWHERE = Server("http://127.0.0.1:9/v1")


def asked(judge: str, **changes: Any) -> Evaluate:
    return recipe(evaluate={"judge": judge, **changes}).evaluate


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("judging")
    write(place / "pairs.jsonl", rows(60))
    build([place / "pairs.jsonl"], place / "whole", Plan(0.2, split_by=("prompt", "session")))
    return place / "whole"


@pytest.fixture(scope="module")
def base(dataset: Path) -> Path:
    return make_base(dataset.parent / "tiny")


def test_what_people_prefer_comes_back_through_annotation(tmp_path: Path) -> None:
    held = rows(4)
    answers = [
        {"prompt_id": f"pair-{i}", "current": f"oak {i}", "candidate": f"[1] oak {i}"} for i in range(3)
    ] + [{"prompt_id": "pair-3", "current": "the same", "candidate": "the same"}]
    assert write_pairs(answers, held, tmp_path / "pairs.jsonl") == 3
    tasks = read_tasks(tmp_path / "pairs.jsonl")
    assert not any("candidate" in json.dumps(task.plain()) for task in tasks)
    said: list[Any] = []
    for task, wanted in zip(tasks, ("[1] oak 0", "oak 1", None), strict=True):
        left = task.left.said()[-1]["content"]
        choice: Any = "tie" if wanted is None else "left" if left == wanted else "right"
        judgement = Judgement(task_id=task.task_id, choice=choice, annotator="ada", at=now())
        said += preferences(task, judgement)
    judge = PeopleJudge(said)
    merged = [both_orders(judge, held[i], f"[1] oak {i}", f"oak {i}")["first"] for i in range(3)]
    assert merged == ["candidate", "current", "tie"]
    # What was said of other answers to the same prompt says nothing of these.
    assert judge.compare(held[0], "[1] oak 0", "another answer") == "tie"


def test_another_model_is_asked_in_both_orders(tmp_path: Path, base: Path) -> None:
    settings = Settings(
        model=str(base), data=tmp_path, quantisation="f16", embeddings=False, api_key=USER, admin_key=ADMIN
    )
    with serving(settings) as url:
        server = Server(f"{url}/v1", ADMIN)
        judge = judge_of(asked("model", judge_model="tiny"), server, base, tmp_path)
        assert isinstance(judge, ModelJudge)
        assert judge.name == "model tiny"
        found = both_orders(judge, rows(1)[0], "[1] oak", "oak")
        server.close()
    # Random weights say anything, but only what a verdict may be.
    assert {found["first"], found["second"]} <= {"candidate", "current", "tie"}


class Said(Server):
    """A server that answers with one text."""

    def __init__(self, text: str) -> None:
        super().__init__("http://127.0.0.1:9/v1")
        self.text, self.bodies = text, list[dict[str, Any]]()

    def call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        self.bodies.append(given["json"])
        return {"choices": [{"message": {"content": self.text}}]}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [('{"better": "second"}', "second"), ('{"better": "tie"}', "tie"), ("the first!", "tie"), ("[1]", "tie")],
)
def test_what_is_no_verdict_is_a_tie(text: str, verdict: str) -> None:
    server = Said(text)
    row = {"pair_id": "p", "prompt": [{"role": "user", "content": "x" * 20_000}]}
    assert ModelJudge(server, "big").compare(row, "one answer", "other answer") == verdict
    [body] = server.bodies
    shown = body["messages"][1]["content"]
    assert shown.index("one answer") < shown.index("other answer")
    assert len(shown) < 13_000
    assert len(conversation(row)) == 12_000


def test_a_reward_model_of_its_own_rows(dataset: Path, base: Path, tmp_path: Path) -> None:
    policy, rows_of_judge = halved(dataset, tmp_path, 0.4, 3)
    parts = [{row.pair_id for row in read_dataset(part).train} for part in (policy, rows_of_judge)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {row.pair_id for row in read_dataset(dataset).train}
    assert read_dataset(policy).held_out == read_dataset(dataset).held_out
    run = tmp_path / "judge"
    how = method_plan("reward", lora={"rank": 4, "alpha": 8}, train={"epochs": 6, "learning_rate": 0.003})
    train(how, rows_of_judge, run, base, tell=quiet)
    judge = judge_of(asked("reward", judge_model=str(run)), NOWHERE, base, policy)
    row = rows(61)[-1]
    assert judge.compare(row, row["chosen"][0]["content"], row["rejected"][0]["content"]) == "first"
    # The same judge of an adapter that learnt from all rows has seen some of them.
    with pytest.raises(Leak, match="train it on rows of its own"):
        judge_of(asked("reward", judge_model=str(run)), NOWHERE, base, dataset)
    write(rows_of_judge / "train.jsonl", rows(3))
    with pytest.raises(RecipeError, match="train the judge again"):
        judge_of(asked("reward", judge_model=str(run)), NOWHERE, base, policy)


def test_a_judge_that_knows_a_session_is_refused(dataset: Path) -> None:
    whole = read_dataset(dataset)
    [first, *_] = read_jsonl(dataset / "held_out.jsonl")
    other = first.model_copy(update={"pair_id": "new", "prompt": first.prompt[:1]})
    with pytest.raises(Leak, match="session"):
        refuse_seen([other], whole)


def test_what_a_judge_lacks_is_named(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(RecipeError, match="the judge `model` needs `judge_model`: the id of a model"):
        judge_of(asked("model"), NOWHERE, tmp_path, dataset)
    with pytest.raises(RecipeError, match="is no run of `python -m rlhf train reward`"):
        judge_of(asked("reward", judge_model=str(tmp_path)), NOWHERE, tmp_path, dataset)
    people = judge_of(asked("people"), NOWHERE, tmp_path, dataset)
    assert people.compare(rows(1)[0], "a", "b") == "tie"
    with pytest.raises(DatasetError, match=r"hang together|held-out share"):
        halved(dataset, tmp_path, 1.0, 0)


def test_the_same_halves_are_made_once(dataset: Path, tmp_path: Path) -> None:
    assert halved(dataset, tmp_path, 0.5, 1) == halved(dataset, tmp_path, 0.5, 1)
