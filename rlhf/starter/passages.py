"""Search results and the answer that quotes them: one passage answers, or none does."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlhf.starter.facts import FactMaker
from rlhf.starter.topics import THINGS, topic
from rlhf.starter.wording import wording
from rlhf.starter.words import Words, any_word

LEADS = ("The documents say: ", "The documents say: ", "According to the documents: ", "From the documents: ")
NOTHING = (
    "I could not find that in the documents.",
    "I could not find that in the documents.",
    "The documents do not say.",
    "I found no passage that answers this.",
)
NO_MATCH = "No passage matches."
ENDINGS = (".md", ".pdf", ".docx", ".txt", "")


@dataclass(frozen=True)
class Found:
    """A question, the tool's text for it, the answering sentence (None: nothing answers), its number."""

    question: str
    text: str
    sentence: str | None
    number: int

    def answer(self, rng: random.Random) -> str:
        if self.sentence is None:
            return rng.choice(NOTHING)
        return f'{rng.choice(LEADS)}"{self.sentence}" [{self.number}]'


@dataclass(frozen=True)
class Pair:
    """A person's question and the sentence that answered it."""

    question: str
    sentence: str


class PassageMaker:
    """Builds results from generated facts, questions about tables, and dialogues' replies."""

    def __init__(self, rng: random.Random, words: Words, pairs: list[Pair], stated: list[Pair]) -> None:
        self.rng, self.words, self.facts = rng, words, FactMaker(rng, words)
        self.pairs, self.stated = pairs, stated

    def title(self) -> str:
        name = topic(self.rng, self.words) if self.rng.random() < 0.3 else self.rng.choice(THINGS)
        joint = self.rng.choice((" ", "-", "_", "-"))
        return name.replace(" ", joint) + self.rng.choice(ENDINGS)

    def place(self, about: str) -> str:
        """`document > section`, as the search tool writes it."""
        if self.rng.random() < 0.25:
            return f"{self.title()} > page {self.rng.randint(1, 90)}"
        heads = [
            self.rng.choice((about, self.facts.noun(), self.rng.choice(THINGS)))
            for _ in range(self.rng.choice((1, 1, 2)))
        ]
        return f"{self.title()} > " + " > ".join(h[:1].upper() + h[1:] for h in heads)

    def body(self, sentences: list[str], size: int) -> str:
        """Sentences with fillers up to about `size` characters, sometimes as a list, sometimes cut."""
        rng = self.rng
        while sum(map(len, sentences)) < size:
            extra = self.facts.fact().sentence if rng.random() < 0.5 else self.facts.filler()
            sentences.insert(rng.randint(0, len(sentences)), extra)
        roll = rng.random()
        if roll < 0.15 and len(sentences) > 2:
            head = rng.randint(0, len(sentences) - 2)
            items = "\n".join(f"- {s}" for s in sentences[head:])
            return (" ".join(sentences[:head]) + "\n\n" if head else "") + items
        if roll < 0.35 and len(sentences) > 2:
            cut = rng.randint(1, len(sentences) - 1)
            return " ".join(sentences[:cut]) + "\n\n" + " ".join(sentences[cut:])
        text = " ".join(sentences)
        if rng.random() < 0.15:
            text = f"{' '.join(any_word(rng, self.words) for _ in range(rng.randint(1, 4)))}. {text}"
        return text

    def found(self, count: int, size: int, answered: bool = True, flat: bool = False) -> Found:
        """Results of `count` passages; `flat` draws the right rank evenly, else it is often the first."""
        gold, others = self.gold(count)
        rank = self.rng.randrange(count) if flat or self.rng.random() < 0.7 else 0
        text = self.blocks([gold] if answered else [], [rank], others, count, size)
        return Found(self.asked(gold), text, gold.sentence if answered else None, rank + 1)

    def gold(self, count: int) -> tuple[Pair, list[str]]:
        """A question with its sentence, and up to `2 * count` sentences that fit the question less."""
        return self.rng.choices((self._fact, self._stated, self._pair), (60, 22, 18))[0](count)

    def asked(self, gold: Pair) -> str:
        """The question as typed."""
        question = gold.question[:1].upper() + gold.question[1:] if self.rng.random() < 0.6 else gold.question
        return question + ("?" if not question.endswith("?") and self.rng.random() < 0.7 else "")

    def blocks(
        self, golds: Sequence[Pair], ranks: Sequence[int], others: Sequence[str], count: int, size: int
    ) -> str:
        """`count` numbered passages of about `size` characters; gold i stands in passage ranks[i]."""
        rng = self.rng
        shares: list[list[str]] = [[] for _ in range(count)]
        heads = [self.facts.noun() for _ in range(count)]
        for other in others:
            shares[rng.randrange(count)].append(other)
        for gold, rank in zip(golds, ranks, strict=False):
            shares[rank].insert(rng.randint(0, len(shares[rank])), gold.sentence)
            if rng.random() < 0.5:
                heads[rank] = gold.question.split()[-1].strip("?")
        return "\n\n".join(
            f"[{n}] {self.place(head)}\n{self.body(share, int(size * rng.uniform(0.5, 1.1)))}"
            for n, (head, share) in enumerate(zip(heads, shares, strict=True), 1)
        )

    def _fact(self, count: int) -> tuple[Pair, list[str]]:
        """A fact among others: about the same thing, of the same form, and unrelated ones."""
        fact = self.facts.fact()
        asked = set(words_of(fact.question))
        others: list[str] = []
        makers: list[Callable[[], str]] = [
            lambda: self.facts.fact(thing=fact.thing).sentence,
            lambda: self.facts.fact().sentence,
            self.facts.filler,
        ]
        wanted = overlap(asked, fact.sentence)
        for _ in range(self.rng.randint(1, 2 * count)):
            other = self.rng.choices(makers, (25, 50, 25))[0]()
            if overlap(asked, other) < wanted:
                others.append(other)
        return Pair(fact.question, fact.sentence), others

    def _stated(self, count: int) -> tuple[Pair, list[str]]:
        return self._of(self.stated, count)

    def _pair(self, count: int) -> tuple[Pair, list[str]]:
        return self._of(self.pairs, count)

    def _of(self, pool: list[Pair], count: int) -> tuple[Pair, list[str]]:
        gold = self.rng.choice(pool)
        asked = set(words_of(gold.question))
        wanted = overlap(asked, gold.sentence)
        others = [self.rng.choice(pool).sentence for _ in range(self.rng.randint(1, 2 * count))]
        return gold, [other for other in others if overlap(asked, other) < wanted]


COMMON = frozenset(wording("topics")["common"])


def words_of(text: str) -> list[str]:
    """Content words, cut to five letters so that `submit` meets `submitted`."""
    return [w[:5] for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in COMMON]


def overlap(asked: set[str], sentence: str) -> int:
    return len(asked & set(words_of(sentence)))


def stated_pairs(records: list[dict[str, object]], rng: random.Random, words: Words) -> list[Pair]:
    """Questions about tables turned into sentences that answer them, with an invented value."""
    out = []
    for record in records:
        found = re.match(r"SELECT (\w+) FROM t WHERE (\w+) = '((?:[^']|'')+)'$", str(record["sql"]))
        question = str(record["question"])
        if not found or '"' in question or not 15 < len(question) < 120:
            continue
        wanted, column, value = (
            found[1].replace("_", " "),
            found[2].replace("_", " "),
            found[3].replace("''", "'"),
        )
        result = rng.choice(
            (
                str(rng.randint(1, 2020)),
                words.pick(rng, "person"),
                words.pick(rng, "city"),
                any_word(rng, words),
            )
        )
        form = rng.choice(
            (
                f"The {wanted} of {value} is {result}.",
                f"For {value}, the {wanted} was {result}.",
                f"{result} is the {wanted} where the {column} is {value}.",
                f"With {column} {value}, the {wanted} is {result}.",
                f"{value} ({column}) has the {wanted} {result}.",
            )
        )
        out.append(Pair(question, form[:1].upper() + form[1:]))
    return out
