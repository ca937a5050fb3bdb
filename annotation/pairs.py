"""Pairs out of traces: what users have said already, and what needs a second answer first.

- A correction is preferred to the answer that it corrects: a row, nobody need judge it.
- A thumb up and a thumb down on two answers to the same prompt: a row.
- A second answer that was chosen or not, in a chat: a row; neither row nor task where none was better.
- Two other answers to the same prompt: a task.
- An answer alone: a task as soon as a model has given another one.
- Every thumb, alone or not: a row of its own (an answer and whether it was liked), which KTO learns from.

Prompts are the same if every message and tool that the model saw is. Nothing comes twice: rows and tasks are
named by their content, and an answer that is in the record already is passed over.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from annotation.record import Record
from annotation.tasks import CORRECTION, Answer, Task, content_id, task_of
from annotation.traces import Generation, Score, Traces
from rlhf.records import Message, PreferenceRow, canonical
from rlhf.shapes import KtoRow

THUMBS, CORRECTED, PREFERENCE = "thumbs", "correction", "preference"
"""Names of scores, as the gateway's feedback has them."""
Told = Callable[[int, int], None]


class Model(Protocol):
    """Somebody who gives another answer, None if it is not another one."""

    def second(self, generation: Generation) -> Answer | None: ...


@dataclass
class Mined:
    """What traces give.

    Attributes:
        rows: preferences that users gave themselves.
        tasks: two answers to one prompt that are there already.
        even: names of pairs of which a user said that neither answer is better; they give no row any more.
        alone: answers that need a second one; those that somebody disliked first, then the newest.
        thumbs: answers that somebody liked or disliked.
        seen: ids of the traces that were looked at: what has no thumb there any more has lost it.
    """

    rows: list[PreferenceRow] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    even: set[str] = field(default_factory=set)
    alone: list[Generation] = field(default_factory=list)
    thumbs: list[KtoRow] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)


def read(traces: Traces, since: datetime | None = None, project: str | None = None) -> Mined:
    """Everything that the traces of a time and a project give. Raises TracesError."""
    generations = [
        one for one in traces.generations(since) if project is None or one.project in (None, project)
    ]
    scores = [score for name in (THUMBS, CORRECTED, PREFERENCE) for score in traces.scores(name, since)]
    return mine(generations, scores)


def mine(generations: Iterable[Generation], scores: Iterable[Score]) -> Mined:
    """The same from what was read, the newest first."""
    answers, scores = _last_of_each_trace(generations), list(scores)
    thumbs, corrections = _scored(answers, scores)
    mined = Mined(seen={one.trace.trace_id for one in answers})
    mined.thumbs = [
        _thumbed(one, thumbs[one.trace.trace_id]) for one in answers if one.trace.trace_id in thumbs
    ]
    used: set[str] = set()
    for one in answers:
        text = corrections.get(one.trace.trace_id)
        if text and text.strip() and text.strip() != (one.answer[-1].content or "").strip():
            mined.rows.append(_corrected(one, text))
            used.add(one.trace.trace_id)
    for one, score in _compared(answers, scores):
        other = _second(score)
        if other is None or other.said() == [message.plain() for message in one.answer]:
            continue
        used.add(one.trace.trace_id)
        if score.value in ("chosen", "rejected"):
            mined.rows.append(_chosen(one, other, score))
        else:
            mined.even.add(content_id(one.prompt, one.tools, (_answer(one), other)))
    for same in _by_prompt(answers):
        ups = [one for one in same if thumbs.get(one.trace.trace_id) is True]
        downs = [one for one in same if thumbs.get(one.trace.trace_id) is False]
        if ups and downs:
            mined.rows += [_preferred(ups[0], down) for down in downs]
            used.update(one.trace.trace_id for one in (*ups, *downs))
        rest = [one for one in same if one.trace.trace_id not in used]
        if len(rest) >= 2:
            mined.tasks.append(_task(rest[0], _answer(rest[1])))
            used.update(one.trace.trace_id for one in rest[:2])
        elif rest:
            mined.alone.append(rest[0])
    mined.alone.sort(key=lambda one: thumbs.get(one.trace.trace_id) is not False)
    return mined


def fill(
    record: Record, mined: Mined, model: Model | None, limit: int, told: Told = lambda done, total: None
) -> int:
    """Keep what traces gave, and ask a model for second answers; gives how many answers were no other ones.

    Each second answer is kept at once: after an interruption the next run asks for the rest only.

    Args:
        model: None keeps what is there without asking anybody.
        limit: of answers that are asked for.

    Raises:
        ModelError: the model server does not answer; what it gave before is kept.
        RecordError: the record cannot be written.
    """
    with record.alone():
        record.set_direct(mined.rows, mined.even)
        record.set_thumbs(mined.thumbs, mined.seen)
        record.add_tasks(mined.tasks)
        known = {
            answer.trace.generation_id
            for task in record.tasks()
            for answer in (task.left, task.right)
            if answer.trace
        }
    wanted = [one for one in mined.alone if one.trace.generation_id not in known][:limit] if model else []
    told(0, len(wanted))
    same = 0
    for done, one in enumerate(wanted, 1):
        second = model.second(one) if model else None
        if second is None:
            same += 1
        else:
            # Alone for a moment only: judgements may be pulled while a slow model thinks.
            with record.alone():
                record.add_tasks([_task(one, second)])
        told(done, len(wanted))
    return same


def _last_of_each_trace(generations: Iterable[Generation]) -> list[Generation]:
    """The one that ended the run: what the user read."""
    last: dict[str, Generation] = {}
    for one in sorted(generations, key=lambda g: g.at):
        last[one.trace.trace_id] = one
    return sorted(last.values(), key=lambda g: (g.at, g.trace.trace_id), reverse=True)


def _scored(answers: Sequence[Generation], scores: Iterable[Score]) -> tuple[dict[str, bool], dict[str, str]]:
    """Thumbs and corrections by trace, the newest ones. A score of another observation says nothing."""
    ids = {one.trace.trace_id: one.trace.generation_id for one in answers}
    thumbs: dict[str, bool] = {}
    corrections: dict[str, str] = {}
    for score in sorted(scores, key=lambda s: s.at):
        if score.observation_id not in (None, ids.get(score.trace_id)):
            continue
        if score.name == THUMBS:
            thumbs[score.trace_id] = bool(score.value)
        elif score.name == CORRECTED and isinstance(score.value, str):
            corrections[score.trace_id] = score.value
    return thumbs, corrections


def _compared(answers: Sequence[Generation], scores: Iterable[Score]) -> list[tuple[Generation, Score]]:
    """Answers that were compared in a chat, in the order of the choices. The scores that judgements on tasks
    leave do not have the other answer: their rows are made of the judgements."""
    known = {one.trace.generation_id: one for one in answers}
    chosen = [s for s in scores if s.name == PREFERENCE and s.observation_id in known and _second(s)]
    return [(known[str(score.observation_id)], score) for score in sorted(chosen, key=lambda s: s.at)]


def _second(score: Score) -> Answer | None:
    """The other answer, from the metadata. Anybody may write scores: what is no answer is none."""
    try:
        other = score.metadata["other"]
        return Answer(messages=other["answer"], trace=other.get("trace"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _by_prompt(answers: Iterable[Generation]) -> list[list[Generation]]:
    """Answers to the same prompt, each text once."""
    found: dict[bytes, dict[bytes, Generation]] = defaultdict(dict)
    for one in answers:
        prompt = canonical([[m.plain() for m in one.prompt], one.tools])
        found[prompt].setdefault(canonical([m.plain() for m in one.answer]), one)
    return [list(texts.values()) for texts in found.values()]


def _answer(one: Generation) -> Answer:
    return Answer(messages=one.answer, trace=one.trace)


def _task(one: Generation, other: Answer) -> Task:
    return task_of(
        "", one.prompt, one.tools, _answer(one), other, session=one.session, user=one.user, at=one.at
    )


def _corrected(one: Generation, text: str) -> PreferenceRow:
    mended = Answer(messages=[Message(role="assistant", content=text)])
    # Named by what it corrects: a correction that is corrected takes the place of the first.
    name = f"{one.trace.trace_id}-{one.trace.generation_id}{CORRECTION}"
    return PreferenceRow(
        pair_id=name,
        prompt=one.prompt,
        chosen=mended.messages,
        rejected=one.answer,
        tools=one.tools,
        source="correction",
        session=one.session,
        user=one.user,
        rejected_trace=one.trace,
        at=one.at,
    )


def _chosen(one: Generation, other: Answer, score: Score) -> PreferenceRow:
    better, worse = (_answer(one), other) if score.value == "chosen" else (other, _answer(one))
    return PreferenceRow(
        pair_id=content_id(one.prompt, one.tools, (better, worse)),
        prompt=one.prompt,
        chosen=better.messages,
        rejected=worse.messages,
        tools=one.tools,
        source="choice",
        session=one.session,
        user=one.user,
        chosen_trace=better.trace,
        rejected_trace=worse.trace,
        at=score.at,
    )


def _thumbed(one: Generation, label: bool) -> KtoRow:
    return KtoRow(
        prompt=one.prompt,
        completion=one.answer,
        label=label,
        tools=one.tools,
        session=one.session,
        user=one.user,
        trace=one.trace,
        at=one.at,
    )


def _preferred(up: Generation, down: Generation) -> PreferenceRow:
    return PreferenceRow(
        pair_id=content_id(up.prompt, up.tools, (_answer(up), _answer(down))),
        prompt=up.prompt,
        chosen=up.answer,
        rejected=down.answer,
        tools=up.tools,
        source="thumbs",
        session=down.session,
        user=down.user,
        chosen_trace=up.trace,
        rejected_trace=down.trace,
        at=max(up.at, down.at),
    )
