"""Questions about passages: by rules and by a model, with the sentence that stands there and its source."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from rlhf.data import questions
from rlhf.data.asking import Request, ServedModel, from_settings, is_embedded
from rlhf.data.build import Plan, build
from rlhf.data.folder import verify_split
from rlhf.data.questions import Chunk, by_model, by_rules, drawn, poor, sft_row, triplet_row, unlike
from rlhf.data.steps import steps_of
from rlhf.errors import DeployError
from rlhf.records import write_atomically
from rlhf.serving import Server
from rlhf.shapes import SftRow, TripletRow
from tests.graphs.model_server import Reply, model_server, serving
from tests.rlhf.data.writing import Scripted
from tests.tools.serving import free_port

ACCRUE = "Employees accrue 4 hours of sick leave every pay period."
LEAVE = f"Sick leave\n{ACCRUE} Ask your supervisor first."


def chunk(
    document: str = "d1", at: int = 0, text: str = LEAVE, section: str | None = "Leave > Sick leave"
) -> Chunk:
    return Chunk(
        document=document,
        name=f"{document}.md",
        title="Handbook",
        page=3,
        section=section,
        chunk=at,
        text=text,
    )


def quiet(done: float, text: str) -> None:
    """Nobody looks."""


def test_a_heading_is_asked_about_and_the_first_sentence_answers() -> None:
    [found] = by_rules([chunk()], "sft", 0, Counter())
    assert "Sick leave" in found.text
    row = sft_row(found)
    said = row.completion[0].content
    assert said == 'The documents say: "Employees accrue 4 hours of sick leave every pay period." [1]'
    assert row.prompt[0].content == f"{found.text}\n\n[1] Handbook, page 3\n{LEAVE}"
    assert row.passage is not None
    assert (row.passage.document, row.passage.page, row.passage.chunk) == ("d1", 3, 0)
    assert row.passage.section == "Leave > Sick leave"
    assert (row.source, row.session) == ("documents", "document-d1")


def test_without_a_heading_the_first_sentence_is_the_query_of_the_rest() -> None:
    text = "The office opens at eight in the morning. Bring your badge and a coat with you."
    [found] = by_rules([chunk(text=text, section=None)], "triplet", 0, Counter())
    row = triplet_row(found)
    assert row.query == "The office opens at eight in the morning."
    assert row.positive == "Bring your badge and a coat with you."
    [asked] = by_rules([chunk(text=text, section=None)], "sft", 0, Counter())
    assert asked.text == "What is said about “The office opens at eight in the”?"


def test_passages_are_drawn_from_all_documents_in_turn_and_by_the_seed() -> None:
    chunks = [chunk("long", at) for at in range(50)] + [chunk("short", at) for at in range(2)]
    some = drawn(chunks, 6, 1)
    assert Counter(one.document for one in some) == {"long": 4, "short": 2}
    assert some == drawn(list(reversed(chunks)), 6, 1)
    assert some != drawn(chunks, 6, 2)


@pytest.mark.parametrize(
    ("question", "is_poor"),
    [
        ("How many hours of sick leave do I earn?", False),
        ("How many hours of sick leave", True),
        ("Sick?", True),
        ("What does this passage say about sick leave?", True),
        ("Who painted the ceiling of the chapel?", True),
        ("Employees accrue 4 hours of sick leave every pay period?", True),
        ("How many hours " + "of leave " * 40 + "?", True),
    ],
)
def test_questions_that_no_reader_would_ask_are_poor(question: str, is_poor: bool) -> None:
    assert poor(question, LEAVE) is is_poor


def test_a_model_asks_and_what_it_quotes_has_to_stand_there() -> None:
    written = [
        {"question": "How many hours of sick leave do I earn?", "sentence": f'"{ACCRUE}"'},
        {"question": "How much sick leave is there?", "sentence": "Employees get 90 hours of leave at once."},
        {"question": "Hm?", "sentence": "Ask your supervisor first."},
        None,
        {"question": "How many hours of sick leave do I earn", "sentence": "Employees accrue"},
    ]
    answers = iter(written)
    model = Scripted(lambda request: next(answers))
    counts: Counter[str] = Counter()
    found = by_model(model, [chunk(at=at) for at in range(5)], 1, 0, counts, quiet)
    assert [one.sentence for one in found] == [ACCRUE]
    assert counts["sentence not in the passage"] == 1
    assert counts["poor question"] == 2
    assert counts["not understood"] == 1
    assert "From <text>\nHandbook\n</text>" in model.asked[0].text
    again = unlike([*found, *found], counts)
    assert (len(again), counts["near another question"]) == (1, 1)


def documents(tmp_path: Path, kind: questions.Kind, count: int = 8) -> Path:
    """A file of rows about several documents of several passages each."""
    chunks = [
        chunk(
            f"d{document}",
            at,
            f"Rule {document} {at}: guests of house{document} leave room{at} before noon{document}. "
            f"They give key{document}x{at} back to desk{at} of wing{document}.",
            f"Rules > room{at} in house{document} on floor{document}{at}",
        )
        for document in range(count)
        for at in range(3)
    ]
    rows = [questions.ROWS[kind](one) for one in by_rules(chunks, kind, 0, Counter())]
    file = tmp_path / f"{kind}.jsonl"
    write_atomically(file, (row.line().encode() + b"\n" for row in rows))
    return file


def test_a_dataset_holds_out_whole_documents_and_says_who_asked(tmp_path: Path) -> None:
    file = documents(tmp_path, "triplet")
    origin = {"by": questions.RULES, "settings": {"seed": 0}, "counts": {"rows": 24}}
    plan = Plan(kind="triplet", steps=steps_of(["negatives"]), origin=origin)
    manifest, _ = build([file], tmp_path / "set", plan)
    made = verify_split(tmp_path / "set")
    sides = [{row.passage.document for row in side if row.passage} for side in (made.train, made.held_out)]
    assert sides[1]
    assert not sides[0] & sides[1]
    texts = [
        {row.positive for row in side if isinstance(row, TripletRow)} for side in (made.train, made.held_out)
    ]
    for side, own in zip((made.train, made.held_out), texts, strict=True):
        negatives = {row.negative for row in side if isinstance(row, TripletRow)}
        assert None not in negatives
        assert negatives <= own
    assert manifest["origin"] == origin
    assert (
        "Questions of documents by rules: headings and first sentences"
        in (tmp_path / "set/README.md").read_text()
    )
    other = build([file], tmp_path / "other", Plan(kind="triplet", steps=steps_of(["negatives"])))[0]
    assert other["digest"] != manifest["digest"]


def test_answers_with_citations_are_read_as_rows(tmp_path: Path) -> None:
    build([documents(tmp_path, "sft")], tmp_path / "set", Plan())
    for row in verify_split(tmp_path / "set").train:
        assert isinstance(row, SftRow)
        said, asked = row.completion[0].content or "", row.prompt[0].content or ""
        assert said.split('"')[1] in asked
        assert said.endswith("[1]")


async def test_a_served_model_is_asked_over_http_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(['Sure: {"text": "one"}', '{"text": 2}', "nothing"])
    requests = [Request("Write.", "about <text>", ("text",), seed) for seed in (5, 6, 7)]
    seen: list[float] = []
    async with model_server(lambda body: Reply(next(texts))) as model:
        monkeypatch.setenv("RLHF_SERVER_URL", model.url)
        opened = from_settings()
        served = await asyncio.to_thread(opened.__enter__)
        found = await asyncio.to_thread(served.write, requests, lambda done, text: seen.append(done))
        assert served.name == "loopyard-starter"
        assert sorted(map(str, found)) == ["None", "None", "{'text': 'one'}"]
        assert sorted(body["seed"] for body in model.requests) == [5, 6, 7]
        assert all(body["max_tokens"] == 400 for body in model.requests)
        assert sorted(seen) == pytest.approx([1 / 3, 2 / 3, 1.0])
        model.script = lambda body: Reply(status=500, error={"message": "broken"})
        with pytest.raises(DeployError, match="broken"):
            await asyncio.to_thread(served.write, requests, quiet)
        with pytest.raises(
            Exception, match="5,001 requests to loopyard-starter are asked for, 5,000 are made"
        ):
            await asyncio.to_thread(served.write, requests[:1] * 5001, quiet)
        opened.__exit__(None, None, None)


async def test_the_embedded_model_is_known_by_what_the_server_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    served = [
        {"id": "starter", "model": "starter", "engine": "llama.cpp", "quantisation": "f16"},
        {"id": "other", "upstream": "http://elsewhere"},
    ]

    async def models(_: Any) -> JSONResponse:
        return JSONResponse({"data": [{"id": "starter"}, {"id": "starter:citing", "parent": "starter"}]})

    async def config(_: Any) -> JSONResponse:
        return JSONResponse({"models": served})

    app = Starlette(routes=[Route("/v1/models", models), Route("/admin/config", config)])
    async with serving(app) as url:
        monkeypatch.setenv("RLHF_SERVER_URL", f"{url}/v1")
        for name, embedded in (("", True), ("starter", True), ("starter:citing", True), ("other", False)):
            assert await asyncio.to_thread(is_embedded, name) is embedded, name
        served[0]["model"] = "/models/larger"
        assert not await asyncio.to_thread(is_embedded, "")


def test_a_server_that_is_away_is_told() -> None:
    server = Server(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(DeployError, match="no answer from"):
        ServedModel(server, "m").write([Request("a", "b", ("text",), 1)], quiet)
    server.close()
