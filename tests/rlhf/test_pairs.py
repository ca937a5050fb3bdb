"""Every row that training could not use is named."""

from typing import Any

import pytest
from transformers import AutoTokenizer

from rlhf.pairs import NOT_A_PREFIX, THE_SAME, TOO_LONG, render
from tests.rlhf.preferring import base, rows


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(base(tmp_path_factory.mktemp("base") / "tiny"))


def test_rows_become_prompt_and_answers(tokenizer: Any) -> None:
    pairs = render(rows(1), tokenizer, 256)
    [text] = pairs.texts
    assert text["prompt"].endswith("<|im_start|>assistant\n")
    assert text["chosen"] == "[1] oak is oak<|im_end|>"
    assert text["rejected"] == "oak is oak [1]<|im_end|>"
    assert pairs.left_out == {}
    assert pairs.chosen_tokens > 5


def test_what_cannot_be_used_is_counted_by_reason(tokenizer: Any) -> None:
    fine, long, same = rows(3)
    long["chosen"] = [{"role": "assistant", "content": "word " * 300}]
    same["chosen"] = same["rejected"]
    pairs = render([fine, long, same], tokenizer, 256)
    assert len(pairs.texts) == 1
    assert pairs.left_out == {TOO_LONG: ["pair-1"], THE_SAME: ["pair-2"]}


def test_a_template_that_shows_a_prompt_otherwise_is_noticed(tokenizer: Any) -> None:
    plain = tokenizer.chat_template
    tokenizer.chat_template = plain.replace("<|im_start|>assistant\\n", "<|im_start|>assistant\\n<think>")
    try:
        assert render(rows(2), tokenizer, 256).left_out == {NOT_A_PREFIX: ["pair-0", "pair-1"]}
    finally:
        tokenizer.chat_template = plain
