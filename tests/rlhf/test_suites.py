"""The suites need no corpus, are the same for the same seed, and count what is right in each."""

import pytest

from rlhf.starter.judge import judge, read_reply
from rlhf.starter.template import call_text
from rlhf.suites import CALLS, RETRIEVAL, SQL, SUITES, cases_of, overall

KINDS = {
    CALLS: {"hand-written sentences", "no tool needed"},
    SQL: {"SQL, several tables, held-out wording"},
    RETRIEVAL: {"five passages"},
}


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_seed_gives_the_same_cases(suite: str) -> None:
    cases = cases_of(suite, 10, 3)
    assert {case.kind for case in cases} >= KINDS[suite]
    assert [case.messages for case in cases] == [case.messages for case in cases_of(suite, 10, 3)]
    assert [case.messages for case in cases] != [case.messages for case in cases_of(suite, 10, 4)]
    assert cases_of(suite, 0, 3) == []


@pytest.mark.parametrize("suite", [SQL, RETRIEVAL])
def test_what_is_expected_is_right_and_nothing_else(suite: str) -> None:
    for case in cases_of(suite, 10, 3):
        if case.call:
            name, arguments = case.call
            said = call_text({"name": name, "arguments": arguments})
            empty = call_text({"name": name, "arguments": {"sql": "SELECT 1 WHERE 0"}})
            assert judge(case, read_reply(said)).exact
            assert case.rows is not None
            assert judge(case, read_reply(empty)).tool
        else:
            assert judge(case, read_reply(str(case.answer))).exact
            assert not judge(case, read_reply("The documents say nothing.")).exact


def test_all_kinds_together_weigh_by_their_cases() -> None:
    talk = {"count": 30, "valid": 1.0, "exact": 1.0}
    called = {"count": 10, "valid": 0.5, "exact": 0.2, "tool": 0.4}
    assert overall({"talk": talk, "own": called}) == {"count": 40, "exact": 0.8, "tool": 0.4, "valid": 0.875}
    assert overall({}) == {"count": 0}
