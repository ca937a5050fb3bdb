"""The same seed gives the same data, the splits do not meet, and every statement runs."""

import random
from itertools import islice
from pathlib import Path

from rlhf.starter import dialogues, questions
from rlhf.starter.cases import all_cases, handwritten, several_tables
from rlhf.starter.copying import CopyMaker
from rlhf.starter.data import make_data
from rlhf.starter.evaluate import write_report
from rlhf.starter.judge import Reply, judge, plain
from rlhf.starter.mixture import samples, split
from rlhf.starter.own_tools import MAKERS, Asking
from rlhf.starter.passages import PassageMaker
from rlhf.starter.rows import populate
from rlhf.starter.sample import held_out
from rlhf.starter.schemas import bare, grow
from rlhf.starter.shards import BUCKETS, Batches, read_shard
from rlhf.starter.sql_drawing import Skip
from rlhf.starter.sql_generator import SqlGenerator


def test_the_seed_decides_every_byte(corpora: Path, tokens: Path, tmp_path: Path) -> None:
    make_data(corpora, tmp_path, 96, seed=1, vocabulary=600)
    for path in sorted(tokens.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_another_seed_gives_other_samples(corpora: Path) -> None:
    words, kept, _ = split(corpora)
    one, other = (list(islice(samples(random.Random(seed), words, kept), 5)) for seed in (1, 2))
    assert one != other


def test_held_out_services_and_tables_are_not_trained_on(corpora: Path) -> None:
    _, kept, held = split(corpora)
    assert kept.dialogues
    assert held.dialogues
    assert not any(dialogues.is_held_out(record) for record in kept.dialogues)
    trained = {tuple(sorted(r["schema"]["t"])) for r in kept.questions}
    examined = {tuple(sorted(r["schema"]["t"])) for r in held.questions}
    assert trained
    assert examined
    assert not trained & examined


def test_a_held_out_name_is_never_an_argument(corpora: Path) -> None:
    words, _, _ = split(corpora)
    rng = random.Random(3)
    assert not any(held_out(words.pick(rng, pool)) for pool in words.pools for _ in range(20))
    assert all(held_out(words.other_half().pick(rng, "word")) for _ in range(5))


def test_every_tool_is_asked_for_in_many_ways(corpora: Path) -> None:
    words, _, _ = split(corpora)
    ask = Asking(random.Random(4), words)
    for name, make in MAKERS.items():
        made = [make(ask) for _ in range(80)]
        assert len({text for text, _ in made}) >= 40, name
        assert {call[0] for _, call in made} == {name}


def test_arguments_are_words_of_the_request(corpora: Path) -> None:
    words, _, _ = split(corpora)
    ask = Asking(random.Random(5), words)
    free = {"query", "table", "title", "code", "dataset", "job", "adapter", "name"}
    for make in MAKERS.values():
        for _ in range(40):
            text, (_, arguments) = make(ask)
            assert all(str(value) in text for key, value in arguments.items() if key in free), (
                text,
                arguments,
            )


def test_generated_statements_run_and_are_qualified_across_tables(corpora: Path) -> None:
    words, _, _ = split(corpora)
    rng, ran = random.Random(6), 0
    while ran < 150:
        filled = populate(rng, words, grow(rng, words, rng.choice((1, 2, 3, 5, 9))))
        names = [t.name for t in filled.schema.tables] + [
            c.name for t in filled.schema.tables for c in t.columns
        ]
        assert all(bare(name) for name in names), names
        try:
            question, sql = SqlGenerator(rng, words, filled).draw()
        except Skip:
            continue
        ran += 1
        assert question
        assert sql.startswith("SELECT ")
        assert "\n" not in sql
        assert "{" not in question
        if " JOIN " in sql:
            assert " ON " in sql
            assert "." in sql.split(" FROM ")[0] or "COUNT(*)" in sql


def test_a_question_of_people_keeps_its_literal_as_typed() -> None:
    record = {
        "schema": {"t": ["city", "year"]},
        "question": "Which year for  oslo?",
        "sql": "SELECT year FROM t WHERE city = 'Oslo'",
    }
    assert questions.tidy(record) == ("Which year for oslo?", "SELECT year FROM t WHERE city = 'oslo'")
    assert questions.tidy({**record, "question": "Which year?"}) is None


def test_the_quoted_sentence_stands_in_its_passage(corpora: Path) -> None:
    words, kept, _ = split(corpora)
    maker = PassageMaker(random.Random(7), words, dialogues.replies(kept.dialogues), [])
    maker.stated = maker.pairs
    for _ in range(40):
        found = maker.found(5, 300)
        blocks = found.text.split("\n\n[")
        assert len(blocks) == 5
        assert found.sentence
        assert found.sentence in blocks[found.number - 1]
        assert found.answer(random.Random(1)).endswith(f'"{found.sentence}" [{found.number}]')
    assert maker.found(3, 200, answered=False).sentence is None


def test_batches_are_one_bucket_each_and_can_be_taken_up_again(tokens: Path) -> None:
    shard = read_shard(tokens / "shard-00")
    batches = Batches([shard], 2048, seed=1, pad=0)
    for _ in range(3):
        taken, marks = batches.take()
        assert taken.shape == marks.shape
        assert taken.shape[1] - 1 in BUCKETS
        assert marks.any(axis=1).all()
    state, following = batches.state(), batches.take()
    again = Batches([shard], 2048, seed=1, pad=0)
    again.restore(state)
    assert (again.take()[0] == following[0]).all()


def test_the_judge_takes_the_expected_and_refuses_others(corpora: Path, tmp_path: Path) -> None:
    words, _, held = split(corpora)
    cases = all_cases(words, held, tmp_path / "none.yaml", 6)
    assert {case.kind for case in cases} >= {
        "five passages",
        "routes",
        "no tool needed",
        "SQL, held-out tables",
    }
    for case in cases:
        right = Reply(case.answer or "", [case.call] if case.call else [])
        assert judge(case, right).exact, case
        if case.call or case.answer:
            assert not judge(case, Reply("I do not know.", [])).exact


def test_right_rows_count_whatever_the_spelling(corpora: Path) -> None:
    words, _, _ = split(corpora)
    case = next(several_tables(random.Random(8), words, 1))
    assert case.call
    sql = case.call[1]["sql"]
    assert judge(
        case, Reply("", [("sql_query", {"sql": sql.lower() if "'" not in sql else sql + " "})])
    ).exact
    assert not judge(case, Reply("", [("sql_query", {"sql": "SELECT nothing FROM nowhere"})])).exact


def test_handwritten_sentences_become_cases(tmp_path: Path) -> None:
    path = tmp_path / "handwritten.yaml"
    path.write_text(
        "- {id: a, text: 'how many cats?', tool: sql_query, schema: 'Cat(Id, Name)',"
        " arguments: {sql: 'SELECT COUNT(*) FROM Cat'}}\n"
        "- {id: b, text: hello, tool: null}\n"
    )
    sql, talk = handwritten(path)
    assert sql.messages[0]["content"].endswith("Database main (sqlite):\nCat(Id, Name)")
    assert sql.schema == {"tables": {"Cat": ["Id", "Name"]}, "foreign_keys": [], "values": {}}
    assert judge(sql, Reply("", [("sql_query", {"sql": "SELECT COUNT(*) AS cats FROM Cat"})])).exact
    assert talk.call is None
    assert judge(talk, Reply("Hello!", [])).exact


def test_sql_on_one_table_counts_qualified_or_not() -> None:
    assert plain({"sql": "SELECT Cat.Name FROM Cat WHERE Cat.Name = 'a.b'"}) == {
        "sql": "SELECT Name FROM Cat WHERE Name = 'a.b'"
    }


def test_exercises_hold_their_answers(corpora: Path) -> None:
    words, _, _ = split(corpora)
    maker = CopyMaker(random.Random(9), words)
    for _ in range(30):
        messages = maker.sample().messages
        for question, answer in zip(messages[::2], messages[1::2], strict=True):
            assert answer["content"] in question["content"]


def test_the_report_keeps_what_was_measured_before(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, "free", {"routes": {"count": 3, "valid": 1.0, "exact": 1.0}})
    both = write_report(path, "free", {"SQL": {"count": 1, "valid": 0.0, "tool": 1.0, "exact": 0.0}})
    assert both["all"] == {"count": 4, "valid": 0.75, "tool": 1.0}
    assert both["routes"]["exact"] == 1.0
