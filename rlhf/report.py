"""Is the new adapter better? A page for people and the same as JSON, with pictures, in one file each."""

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf.registry import write

JSON = "report.json"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2330}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #d5dae3;padding:.3rem .8rem;"
    "text-align:left;vertical-align:top}img{max-width:100%}.promote,.yes{color:#12703a}.reject,.no{color:#a3222b}"
    "pre{white-space:pre-wrap;margin:0;font-size:.85rem}"
)
SIDES = {"base": "base", "current": "now", "candidate": "candidate"}
"""The models of an evaluation, and how the report calls them."""
LIKELY = ("answers", "tokens", "perplexity", "nats a token from the base")
CURVES = (
    ("loss", "loss"),
    ("rewards/margins", "reward margin"),
    ("margin", "reward margin"),
    ("logps/chosen", "log p (chosen)"),
    ("mean_token_accuracy", "share of tokens right"),
    ("accuracy", "share ordered rightly"),
    ("kl", "divergence from the reference"),
    ("learning_rate", "learning rate"),
)
"""What a run may have logged, the most telling first, and how it is called in a picture."""
SHOWN, FEW = 10, 3
"""Answers side by side in the page and in the Markdown."""


def write_report(folder: Path, content: Mapping[str, Any]) -> None:
    """Write report.json, report.html and report.md.

    `content`: `title`, `decision` (of the gate), `evaluation`, `trained`, `steps` (rows of their table).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page(content), encoding="utf-8")
    (folder / "report.md").write_text(markdown(content), encoding="utf-8")
    # Last: what it says is true of the others too.
    write(folder / JSON, dict(content))


def silence(folder: Path) -> bool:
    """Write a folder's report anew without the answers in it, which may repeat what somebody said; one that
    cannot be written anew is deleted. False where there is none, or one without answers. OSError.
    """
    file = folder / JSON
    if not file.is_file():
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not content["evaluation"]["answers"]:
            return False
        content["evaluation"]["answers"] = []
        write_report(folder, content)
    except (ValueError, KeyError, TypeError, ImportError):
        for name in ("report.html", "report.md", JSON):
            (folder / name).unlink(missing_ok=True)
    return True


def page(content: Mapping[str, Any]) -> str:
    """The whole page; nothing is fetched from elsewhere."""
    decision, found, trained = content["decision"], content["evaluation"], content["trained"]
    checks = [
        (
            c["name"],
            Marked("yes" if c["passed"] else "no", "passed" if c["passed"] else "failed"),
            c["detail"],
        )
        for c in decision["checks"]
    ]
    parts = [
        f"<h1>{html.escape(content['title'])}</h1>",
        f'<p class="{decision["verdict"].split()[0]}"><b>{html.escape(decision["verdict"])}</b></p>',
        listing(decision["reasons"]),
        f"<p>{html.escape(compared(found))}</p>",
        table(("wins", "losses", "ties", "flips", "win rate", "interval"), [verdict_row(decision)]),
        image(wins_picture(decision), "Wins, ties and losses of the candidate"),
        "<h2>Checks</h2>",
        table(("check", "", "seen"), checks),
        "<h2>Suites</h2>",
        image(suites_picture(found.get("suites", {})), "Exact answers by suite and model"),
        table(*kinds_table(found.get("suites", {}), found.get("kinds", {}))),
        "<h2>Likelihood</h2>",
        table(LIKELY, likelihood_table(found.get("likelihood", {}))),
        *regression_part(found.get("regression", {})),
        "<h2>Training</h2>",
        image(curves(trained["history"]), "Loss, margin and log-probability of the chosen answers by step"),
        table(("rows", "used", "left out"), rows_table(trained["rows"])),
        "<h2>Answers to held-out prompts</h2>",
        table(("prompt", "now", "candidate"), answers_table(found["answers"])),
        "<h2>Steps</h2>",
        table(("step", "seconds", "", "result"), content["steps"]),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(content["title"])}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def markdown(content: Mapping[str, Any]) -> str:
    """The figures without pictures."""
    decision, found = content["decision"], content["evaluation"]
    checks = [(c["name"], "passed" if c["passed"] else "failed", c["detail"]) for c in decision["checks"]]
    parts = [
        f"# {content['title']}: {decision['verdict']}",
        "\n".join(f"- {reason}" for reason in decision["reasons"]),
        compared(found),
        rows_of(("wins", "losses", "ties", "flips", "win rate", "interval"), [verdict_row(decision)]),
        rows_of(("check", "", "seen"), checks),
        rows_of(*kinds_table(found.get("suites", {}), found.get("kinds", {}))),
        rows_of(LIKELY, likelihood_table(found.get("likelihood", {}))),
        rows_of(("step", "seconds", "", "result"), content["steps"]),
        rows_of(("prompt", "now", "candidate"), answers_table(found["answers"])[:FEW]),
    ]
    return "\n\n".join(parts) + "\n"


def rows_of(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(one_line(value) for value in line) + " |" for line in lines)


def one_line(value: object) -> str:
    """A cell of it."""
    return str(value).replace("|", "\\|").replace("\n", " ")


class Marked:
    """A cell with a class."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text


def verdict_row(decision: Mapping[str, Any]) -> Sequence[object]:
    """The figures of the gate."""
    interval = f"{decision['low']:.3f} to {decision['high']:.3f}"
    counts = [decision[name] for name in ("wins", "losses", "ties", "flips")]
    return (*counts, rate_of(decision), interval)


def rate_of(decision: Mapping[str, Any]) -> str:
    """The win rate, where anything was decided."""
    return "none" if decision["win_rate"] is None else f"{decision['win_rate']:.3f}"


def compared(found: Mapping[str, Any]) -> str:
    """What was compared with what, and who judged."""
    judge = found.get("judge") or "nobody yet"
    sides = f"{found.get('candidate', 'the candidate')} beside {found.get('current', 'what is live')}"
    return f"{sides}; judged by {judge}, each pair in both orders."


def kinds_table(
    suites: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Mapping[str, Any]]
) -> tuple[Sequence[str], list[Sequence[object]]]:
    """(names, rows): shares of exact answers and right tools of every model, by suite and by kind of case."""
    sides = [side for side in SIDES if side in kinds]
    names = ("suite or kind", "cases", *(f"{n} {SIDES[side]}" for n in ("exact", "tool") for side in sides))
    wholes = [
        (suite, by_side) for suite, by_side in suites.items() if any(row["count"] for row in by_side.values())
    ]
    parts = [
        (f"· {kind}", {side: kinds[side][kind] for side in sides})
        for kind in (kinds[sides[0]] if sides else ())
    ]
    rows: list[Sequence[object]] = [
        (
            name,
            by_side[sides[0]]["count"],
            *(share(by_side[side].get(n)) for n in ("exact", "tool") for side in sides),
        )
        for name, by_side in (*wholes, *parts)
    ]
    return names, rows


def likelihood_table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[Sequence[object]]:
    """Perplexity and divergence of every model, on each sort of answers."""
    return [
        (f"{what}, {SIDES[side]}", row["tokens"], f"{row['perplexity']:.3f}", f"{row['kl']:.4f}")
        for what, sides in found.items()
        for side in SIDES
        if (row := sides.get(side))
    ]


def regression_part(found: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Lines of the regression set that some model fails."""
    if not found:
        return []
    rows = [
        (name, *(wrong.get(side) or "" for side in SIDES))
        for name, wrong in found.items()
        if any(wrong.values())
    ]
    head = f"<h2>Regression set</h2><p>{len(found)} lines, {len(rows)} with a fault</p>"
    return (
        [head, table(("line", *(f"wrong with {name}" for name in SIDES.values())), rows)] if rows else [head]
    )


def share(value: float | None) -> str:
    """A percentage; nothing where a kind has none."""
    return "" if value is None else f"{value:.1%}"


def rows_table(rows: Mapping[str, Any]) -> list[Sequence[object]]:
    """What the trainer was given."""
    out: list[Sequence[object]] = []
    for part, told in rows.items():
        left = "; ".join(f"{len(ids)} {why}" for why, ids in told["left_out"].items())
        out.append((part, told["used"], left or "none"))
    return out


def answers_table(answers: Sequence[Mapping[str, str]]) -> list[Sequence[object]]:
    """The first few, side by side."""
    return [(a["prompt_id"], a["current"], a["candidate"]) for a in answers[:SHOWN]]


def table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """HTML, every cell escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def cell(value: object) -> str:
    """One cell."""
    if isinstance(value, Marked):
        return f'<td class="{value.kind}">{html.escape(value.text)}</td>'
    return f"<td><pre>{html.escape(str(value))}</pre></td>"


def listing(lines: Sequence[str]) -> str:
    """Why."""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def image(png: bytes, words: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">'


def curves(history: Sequence[Mapping[str, float]]) -> bytes:
    """The first three that a run has of loss, margin, accuracy and so on, as PNG."""
    found = [(n, words) for n, words in CURVES if any(n in row for row in history)][:3]
    figure = drawing(3 * max(1, len(found)), 2.8)
    for place, (name, words) in enumerate(found, 1):
        axes = figure.add_subplot(1, len(found), place)
        rows = [row for row in history if name in row]
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], linewidth=1.2)
        axes.set_title(words, fontsize=10)
        axes.set_xlabel("step", fontsize=9)
    return png_of(figure)


def wins_picture(decision: Mapping[str, Any]) -> bytes:
    """One bar of wins, ties and losses, as PNG."""
    figure, left = drawing(6, 0.9), 0
    axes = figure.add_subplot(1, 1, 1)
    for name, colour in (("wins", "#2a9d5b"), ("ties", "#c4cad6"), ("losses", "#c8414b")):
        axes.barh(0, decision[name], left=left, color=colour, label=f"{decision[name]} {name}")
        left += decision[name]
    axes.legend(ncol=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.6), frameon=False)
    axes.set_yticks([])
    return png_of(figure)


def suites_picture(suites: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bytes:
    """Bars of the share of exact answers, a group a suite, a bar a model, as PNG."""
    shown = {
        suite: by_side for suite, by_side in suites.items() if any(row["count"] for row in by_side.values())
    }
    figure = drawing(6, 2.6)
    axes = figure.add_subplot(1, 1, 1)
    colours = {"base": "#c4cad6", "current": "#7d8aa5", "candidate": "#2a9d5b"}
    sides = [side for side in SIDES if any(side in by_side for by_side in shown.values())]
    for place, side in enumerate(sides):
        at = [group + (place - (len(sides) - 1) / 2) * 0.25 for group in range(len(shown))]
        high = [by_side[side]["exact"] for by_side in shown.values()]
        bars = axes.bar(at, high, 0.22, color=colours[side], label=SIDES[side])
        axes.bar_label(bars, [f"{value:.0%}" for value in high], fontsize=8)
    axes.set_xticks(range(len(shown)), list(shown), fontsize=9)
    axes.set_ylim(0, 1.15)
    axes.set_yticks([])
    if sides:
        axes.legend(ncol=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    return png_of(figure)


def drawing(width: float, height: float) -> Any:
    """An empty figure that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any) -> bytes:
    """Its bytes."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
