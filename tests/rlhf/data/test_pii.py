"""Personal data and secrets: what is replaced, and what looks like them and stays."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from rlhf.data.findings import Finding, resolved
from rlhf.data.pii import Redactor, iban, luhn, redact, redact_row
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


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("call 030 1234567 or (415) 555-2671, 01 23 45 67 89", "call <PHONE> or <PHONE>, <PHONE>"),
        ("tel. 020 7946 0958; 1-800-555-0199", "tel. <PHONE>; <PHONE>"),
        ("mobile 98765 43210, my phone: 4155552671", "mobile <PHONE>, my phone: <PHONE>"),
        ("+1-415-555-2671 ext. 12 please", "<PHONE> please"),
        ("ssn 536-22-1234 or social security 536 22 1234", "ssn <SSN> or social security <SSN>"),
        ("to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa.", "to <CRYPTO>."),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "<CRYPTO>"),
        ("RSSMRA85T10A562S, 12345678Z and 131052-308T", "<NATIONAL_ID>, <NATIONAL_ID> and <NATIONAL_ID>"),
        ("PAN ABCPE1234F; her NINO: AB123456C", "PAN <NATIONAL_ID>; her NINO: <NATIONAL_ID>"),
        ("o'brien@example.org", "<EMAIL>"),
        ("fe80::1%eth0 in 10.0.0.0/8", "<IP> in <IP>"),
        ("10.1.2.3:8000", "<IP>:8000"),
    ],
)  # fmt: skip
def test_what_presidio_knows_is_replaced_too(text: str, out: str) -> None:
    assert redacted(text) == out


@pytest.mark.parametrize(
    "text",
    [
        "order number 2024110712, ticket 4155552671, 9876543210",
        "order 114-3941689-8772232, PO 78012-2231, invoice 2026/0012345",
        "01.02.2026 03.04.2026, 21.11.2026 12:30, 11/21/2026 at 8:00",
        "2026-11-21T12:30:45.123Z 20261121123045 1700000000 doc-2026-11-0042",
        "1 234 567 890 EUR, 912 345 678, 234 567 8901 rows",
        "0.1234567 0.98765432 3.14159265358979, lat 48.858370, 2.294481",
        "1.2.3.4.5 v1.2.3.4 1.10.0-rc.2",
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2",
        "550e8400-e29b-41d4-a716-446655440000 00:1B:44:11:3A:B7",
        "100 20 3000, 010 011 012 013, temperature 020 030 040",
        "part AB123456C, ABCPE1234F",
        "call 12 tools, [::1]:8000, 0.0.0.0:80",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redacted(text) == text


def test_findings_that_overlap_become_one_of_the_longest_kind() -> None:
    mail, host, glued = Finding("EMAIL", 0, 10), Finding("IP", 4, 12), Finding("PHONE", 12, 20)
    assert resolved([host, glued, mail]) == [Finding("EMAIL", 0, 12), glued]
    assert resolved([Finding("PHONE", 3, 9, 0.4), Finding("SSN", 3, 9, 0.5)]) == [Finding("SSN", 3, 9, 0.5)]


def test_national_numbers_are_those_of_the_named_countries() -> None:
    found: Counter[str] = Counter()
    assert Redactor(("CH",)).redact("044 668 18 00 or 030 1234567 89", found) == "<PHONE> or 030 1234567 89"
    assert found == {"PHONE": 1}
    assert Redactor(("US",)).redact("044 668 18 00", found) == "044 668 18 00"


def test_long_texts_take_seconds_at_most() -> None:
    # Every word starts what could become an address; phone numbers could be anywhere.
    for text in ("a-b+" * 25_000 + "@x", "12 34 56 78 " * 2_000 + "@"):
        began = time.process_time()
        assert redacted(text) == text
        assert time.process_time() - began < 10


def test_nobody_is_asked_and_nothing_is_kept(tmp_path: Path) -> None:
    """In a process of its own, where every connection and every name that is looked up is an event."""
    run = """
import sys
seen = []
sys.addaudithook(lambda name, facts: seen.append(name) if name in
    ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request") else None)
from collections import Counter
from rlhf.data.pii import redact
assert not {"spacy", "presidio_analyzer", "torch"} & set(sys.modules)
assert redact("plain words", Counter()) == "plain words"
assert "presidio_analyzer" not in sys.modules
assert redact("ann@mail.co.uk, ben@example.org", Counter()) == "<EMAIL>, <EMAIL>"
assert "presidio_analyzer" in sys.modules
assert not {"torch", "transformers"} & set(sys.modules)
assert not seen, seen
import importlib.util
assert importlib.util.find_spec("torch")
"""
    env = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", run], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())
