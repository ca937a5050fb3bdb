"""Near-duplicate prompts: found where they are, not found where they are not."""

import pytest

from rlhf.data.near import jaccard, near_pairs, prompt_words, shingles
from rlhf.records import Message

LONG = (
    "Our contract with the supplier in Lisbon ends next spring and we would like to know how many weeks of "
    "notice we have to give before that date and to whom the letter has to be sent"
)


def words(text: str) -> tuple[str, ...]:
    return prompt_words([Message(role="user", content=text)])


def pairs(*texts: str) -> set[tuple[int, int]]:
    return set(near_pairs([words(text) for text in texts]))


def test_case_punctuation_and_width_do_not_count() -> None:
    assert words("Is it OPEN — today?") == words("is it open, today") == words("Ｉｓ it open today")


def test_the_system_prompt_does_not_count() -> None:
    system = Message(role="system", content="You are a helpful assistant. " * 20)
    assert prompt_words([system, Message(role="user", content="Open?")]) == ("open",)


def test_similarity_is_that_of_word_pairs() -> None:
    one, other = shingles(words("a b c d")), shingles(words("a b c e"))
    assert one == {"a b", "b c", "c d"}
    assert jaccard(one, other) == 2 / 4
    assert shingles(("one",)) == {"one"}


def test_a_changed_word_is_near_and_another_question_is_not() -> None:
    near = LONG.replace("Lisbon", "Porto")
    half = " ".join(LONG.split()[:17])
    assert pairs(LONG, near) == {(0, 1)}
    assert pairs(LONG, half) == set()
    assert pairs("Where is the key?", "When is the fair?") == set()


def test_equal_prompts_hang_together() -> None:
    assert pairs("Open?", "other", "open", "OPEN!") == {(0, 2), (0, 3)}


def test_text_without_spaces_is_compared_too() -> None:
    asked = "この契約の解約通知期間は何週間で誰に送ればよいですか教えてください"
    assert pairs(asked, asked.replace("何週間", "何か月")) == {(0, 1)}
    assert pairs(asked, "今日の東京の天気を教えてください") == set()


def test_hardly_any_near_pair_is_missed() -> None:
    """Of 300 long prompts, each again with two words changed."""
    base = [" ".join(f"w{i}x{j}" for j in range(30)) for i in range(300)]
    changed = [text.replace("x3 ", "y3 ").replace("x20 ", "y20 ") for text in base]
    assert jaccard(shingles(words(base[0])), shingles(words(changed[0]))) == pytest.approx(25 / 33)
    found = pairs(*base, *changed)
    assert found <= {(i, i + 300) for i in range(300)}
    assert len(found) >= 295
