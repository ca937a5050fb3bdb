"""Personal data and secrets: what is replaced, and what looks like them and stays."""

import json
from collections import Counter

import pytest

from rlhf.data.pii import iban, luhn, redact, redact_row
from rlhf.records import PreferenceRow
from tests.rlhf.rows import plain, row

# Assembled, so that scanners of secrets do not take these lines for real ones.
KEY = "sk-" + "a1B2" * 8
TOKEN = "ghp" + "_" + "x" * 36
PEM = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n-----END RSA PRIVATE " + "KEY-----"


def redacted(text: str) -> str:
    return redact(text, Counter())


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("Mail ann.lee+x@mail.example.co.uk, now", "Mail <EMAIL>, now"),
        ("jürgen@bücher.example", "<EMAIL>"),
        ("+49 30 123456-78 or (555) 010-9999; 0041 44 668 18 00.", "<PHONE> or <PHONE>; <PHONE>."),
        ("card 4111 1111 1111 1111.", "card <CARD>."),
        ("378282246310005", "<CARD>"),
        ("IBAN DE89 3704 0044 0532 0130 00, please", "IBAN <IBAN>, please"),
        ("GB82WEST12345698765432", "<IBAN>"),
        ("from 192.168.1.17: and 2001:db8::8a2e:370:7334", "from <IP>: and <IP>"),
        (f"key {KEY}; {TOKEN}", "key <SECRET>; <SECRET>"),
        (f"see\n{PEM}\nend", "see\n<SECRET>\nend"),
    ],
)  # fmt: skip
def test_what_has_the_form_is_replaced_by_its_kind(text: str, out: str) -> None:
    assert redacted(text) == out


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "on 2026-11-21 at 12:30:45, 21.11.2026",
        "127.0.0.1:8000 and version 1.2.3",
        "999.1.2.3",
        "1 234 567.89 EUR, 3,141,592 rows, 0.000000001",
        "std::vector<int> a::b",
        "skip-this and sk-short",
        "@decorator and a@b",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redacted(text) == text


def test_check_digits() -> None:
    assert not luhn("79927398713")
    assert luhn("5555 5555 5555 4444")
    assert not luhn("0000 0000 0000 0000")
    assert iban("FR14 2004 1010 0505 0001 3M02 606")
    assert not iban("FR14 2004 1010 0505 0001 3M02 607")


def test_all_parts_of_a_row_are_redacted_and_json_stays_json() -> None:
    call = {
        "type": "function",
        "function": {"name": "f", "arguments": '{"to": "a@b.example", "n": 4111111111111111}'},
    }
    other = {"type": "function", "function": {"name": "f", "arguments": {"to": "a@b.example"}}}
    tools = json.dumps([{"type": "function", "description": "Mails a@b.example"}])
    chosen = [{"role": "assistant", "content": "Done, a@b.example.", "tool_calls": [call, other]}]
    one = PreferenceRow.model_validate(
        plain("Write to a@b.example", chosen=chosen, tools=tools, user="a@b.example")
    )
    found: Counter[str] = Counter()
    out = redact_row(one, found)
    assert "a@b.example" not in out.model_copy(update={"user": None}).line()
    assert found == {"EMAIL": 5}
    assert out.user == "a@b.example"
    calls = out.chosen[0].plain()["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"to": "<EMAIL>", "n": 4111111111111111}
    assert calls[1]["function"]["arguments"] == {"to": "<EMAIL>"}
    assert out.pair_id == one.pair_id


def test_a_row_without_personal_data_does_not_change() -> None:
    assert redact_row(row("Open?", tools='[{"a":  1}]'), Counter()) == row("Open?", tools='[{"a":  1}]')
