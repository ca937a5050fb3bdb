"""Questions about the passages of documents, each with the sentence that answers it: rows to train on.

By a model of the server, which is asked for a question and a sentence of the passage; or by rules, for models
too small to ask: the question names the heading, or the first words, and the first sentence answers. Of a
passage without a heading of its own, the first sentence is the query and the rest the text that answers it
(the inverse cloze task; Lee, Chang and Toutanova 2019, arXiv 1906.00300).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlhf.data.asking import Model, Request, quoted, seed_of
from rlhf.data.near import near_pairs, prompt_words
from rlhf.data.step import Watch
from rlhf.records import Message, Strict
from rlhf.shapes import AnyRow, Passage, SftRow, TripletRow

Kind = Literal["sft", "triplet"]
By = Literal["auto", "rules", "model"]
RULES = "rules: headings and first sentences"
ASKED = ("What is said about {}?", "What about {}?", "Where do I find {}?")
"""Few words around the topic: with many, questions about two topics would be nearly the same."""
SYSTEM = (
    "You write questions for people who look something up. Read the passage and write one question that it "
    "answers, in your own words and understandable without the passage, and copy the one sentence of the "
    "passage that answers it, word for word. Reply with JSON: question, sentence."
)
SHORTEST, LONGEST = 4, 80
"""Words of a sentence that answers."""
FEW, MANY = 3, 40
"""Words of a question."""
LEAD = 7
"""First words that stand for a passage without a heading."""
_SENTENCE = re.compile(r"(?<=[.!?。؟])\s+|\n+")
_ENDS = ("?", "？", "؟")


class Chunk(Strict):
    """A passage as the document store has it."""

    document: str
    name: str
    title: str
    page: int | None = None
    section: str | None = None
    chunk: int
    text: str

    def provenance(self) -> Passage:
        """For the rows about it."""
        return Passage.model_validate(self.model_dump(include=set(Passage.model_fields)))

    def topic(self) -> str:
        """The heading that it stands under; empty where it has none."""
        return (self.section or "").rpartition(" > ")[2].strip()

    def sentences(self) -> list[str]:
        """Those that can answer, headings left out."""
        found = [one.strip() for one in _SENTENCE.split(self.text)]
        return [one for one in found if SHORTEST <= len(one.split()) <= LONGEST and one != self.topic()]


@dataclass(frozen=True)
class Question:
    """A question, the sentence that answers it, and the text in which that stands."""

    text: str
    sentence: str
    chunk: Chunk
    passage: str


def drawn(chunks: Sequence[Chunk], most: int, seed: int) -> list[Chunk]:
    """At most so many passages, the same for the same seed, from all documents in turn; in their order."""
    turns: Counter[str] = Counter()
    ranked = []
    for chunk in sorted(chunks, key=lambda c: seed_of(seed, c.document, c.chunk)):
        ranked.append((turns[chunk.document], seed_of(seed, chunk.document), chunk))
        turns[chunk.document] += 1
    ranked.sort(key=lambda one: one[:2])
    return sorted((chunk for _, _, chunk in ranked[:most]), key=lambda c: (c.document, c.chunk))


def by_rules(chunks: Sequence[Chunk], kind: Kind, seed: int, counts: Counter[str]) -> list[Question]:
    """One question a passage at most."""
    found: list[Question] = []
    headed: set[tuple[str, str | None]] = set()
    for chunk in chunks:
        sentences = chunk.sentences()
        if not sentences:
            counts["no sentence"] += 1
            continue
        first, topic = sentences[0], chunk.topic()
        place = (chunk.document, chunk.section)
        if topic and place not in headed:
            headed.add(place)
            asked = ASKED[seed_of(seed, chunk.document, chunk.chunk) % len(ASKED)].format(topic)
            found.append(Question(asked, first, chunk, chunk.text))
        elif kind == "triplet":
            rest = chunk.text.replace(first, "", 1).strip()
            if len(rest.split()) < SHORTEST:
                counts["no second sentence"] += 1
                continue
            found.append(Question(first, first, chunk, rest))
        else:
            lead = " ".join(first.split()[:LEAD]).rstrip(".,;:")
            about = f"{topic}, “{lead}”" if topic else f"“{lead}”"
            found.append(Question(ASKED[0].format(about), first, chunk, chunk.text))
    return found


def by_model(
    model: Model, chunks: Sequence[Chunk], each: int, seed: int, counts: Counter[str], watch: Watch
) -> list[Question]:
    """`each` questions a passage, but those that no reader would ask or that it does not answer."""
    able = [chunk for chunk in chunks if chunk.sentences()]
    counts["no sentence"] += len(chunks) - len(able)
    orders = [(chunk, number) for chunk in able for number in range(each)]
    requests = [
        Request(
            SYSTEM,
            f"From {quoted(chunk.title)}:\n{quoted(chunk.text)}",
            ("question", "sentence"),
            seed_of(seed, chunk.document, chunk.chunk, number),
        )
        for chunk, number in orders
    ]
    found = []
    for (chunk, _), written in zip(orders, model.write(requests, watch), strict=True):
        if written is None:
            counts["not understood"] += 1
        elif poor(written["question"], chunk.text):
            counts["poor question"] += 1
        elif (sentence := quoted_from(chunk.text, written["sentence"])) is None:
            counts["sentence not in the passage"] += 1
        else:
            found.append(Question(written["question"], sentence, chunk, chunk.text))
    return found


def poor(question: str, passage: str) -> bool:
    """No question, too short or long, copied from the passage, about it as such, or about something else."""
    words = prompt_words([Message(role="user", content=question)])
    if not question.endswith(_ENDS) or "\n" in question or not FEW <= len(words) <= MANY:
        return True
    if question.rstrip("?？؟ ").casefold() in passage.casefold() or "passage" in words:
        return True
    telling = {word for word in words if len(word) > FEW}
    return not telling & set(prompt_words([Message(role="user", content=passage)]))


def quoted_from(passage: str, sentence: str) -> str | None:
    """The sentence as it stands in the passage, spaces aside; None where it does not."""
    bare = sentence.strip().strip("\"“”'").split()
    if not SHORTEST <= len(bare) <= LONGEST:
        return None
    found = re.search(r"\s+".join(map(re.escape, bare)), passage)
    return found.group() if found else None


def unlike(questions: Sequence[Question], counts: Counter[str]) -> list[Question]:
    """One of those that ask nearly the same (MinHash), the first."""
    words = [prompt_words([Message(role="user", content=one.text)]) for one in questions]
    near = {b for _, b in near_pairs(words)}
    counts["near another question"] += len(near)
    return [one for at, one in enumerate(questions) if at not in near]


def sft_row(question: Question) -> SftRow:
    """Question and passage, and the answer that quotes and cites it as agents do."""
    chunk = question.chunk
    place = f"{chunk.title}, page {chunk.page}" if chunk.page is not None else chunk.title
    asked = f"{question.text}\n\n[1] {place}\n{question.passage}"
    quotation = " ".join(question.sentence.split())
    return SftRow.model_validate(
        {
            "prompt": [{"role": "user", "content": asked}],
            "completion": [{"role": "assistant", "content": f'The documents say: "{quotation}" [1]'}],
            "source": "documents",
            **_of(chunk),
        }
    )


def triplet_row(question: Question) -> TripletRow:
    """Question and passage; what is near and no answer is mined once rows are split."""
    return TripletRow.model_validate(
        {"query": question.text, "positive": question.passage, **_of(question.chunk)}
    )


ROWS: dict[Kind, Callable[[Question], AnyRow]] = {"sft": sft_row, "triplet": triplet_row}


def _of(chunk: Chunk) -> dict[str, Any]:
    # One document is one session: it is trained on or held out, never both.
    return {"passage": chunk.provenance(), "session": f"document-{chunk.document}"}
