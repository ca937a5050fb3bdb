"""The report stands alone, escapes what models said, and works where nothing was decided."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlhf.gate import Check, decide
from rlhf.report import write_report


def content(answer: str) -> dict[str, Any]:
    step = {"step": 1, "loss": 0.7, "rewards/margins": 0.0, "logps/chosen": -9.0}
    return {
        "title": "polite 1a2b",
        "decision": asdict(decide([], [Check("length", True, "1.00 of the current model's")])),
        "evaluation": {
            "current": "tiny",
            "candidate": "tiny:new",
            "judge": "cite_first",
            "suites": {
                "tool calls": {
                    "current": {"count": 3, "exact": 1.0},
                    "candidate": {"count": 3, "exact": 0.6667},
                },
                "retrieval": {"current": {"count": 0}, "candidate": {"count": 0}},
            },
            "likelihood": {"other work": {"candidate": {"perplexity": 1.25, "kl": 0.125, "tokens": 40}}},
            "regression": {"leave": {"current": None, "candidate": "lacks 'days'"}},
            "answers": [{"prompt_id": "p", "current": answer, "candidate": "a | b\nc"}],
            "kinds": {
                "current": {"talk": {"count": 3, "exact": 1.0}},
                "candidate": {"talk": {"count": 3, "exact": 0.6667}},
            },
        },
        "trained": {"history": [step], "rows": {"train": {"used": 3, "left_out": {"too long": ["x"]}}}},
        "steps": [["train", 1.5, "done", "3 steps"]],
    }


def test_a_page_a_text_and_the_figures(tmp_path: Path) -> None:
    made = content("<script>alert(1)</script>")
    write_report(tmp_path, made)
    page, text = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("image/png", "")
    assert "1 too long" in page
    assert "not enough data" in page
    assert r"a \| b c" in text
    assert "| suite or kind | cases | exact now | exact candidate | tool now | tool candidate |" in text
    assert "| tool calls | 3 | 100.0% | 66.7% |  |  |" in text
    assert "| · talk | 3 | 100.0% | 66.7% |  |  |" in text
    assert "| other work, candidate | 40 | 1.250 | 0.1250 |" in text
    assert "tiny:new beside tiny; judged by cite_first, each pair in both orders." in text
    assert "judged by cite_first" in page
    assert "lacks &#x27;days&#x27;" in page
    assert "66.7%" in page
    assert "| none |" in text
    assert json.loads((tmp_path / "report.json").read_text())["title"] == "polite 1a2b"
