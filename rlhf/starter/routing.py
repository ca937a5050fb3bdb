"""The question before the question: is the answer in the documents, the database, both or neither?"""

import random

from rlhf.starter.facts import FactMaker
from rlhf.starter.rows import populate
from rlhf.starter.sample import Sample, says, system, user
from rlhf.starter.schemas import Schema, grow
from rlhf.starter.sql_drawing import Skip
from rlhf.starter.sql_generator import SqlGenerator
from rlhf.starter.talk import no_tool
from rlhf.starter.topics import ASPECTS, QUESTIONS, THINGS, asked, topic
from rlhf.starter.words import Words

ROUTES = ("documents", "database", "both", "neither")


def route_prompt(documents: list[str], tables: list[str]) -> str:
    """The system text, as the router sends it."""
    return (
        "Choose where the answer is: documents, database, both or neither.\n"
        f"Documents: {', '.join(documents[:20]) or 'none'}\nDatabase: {', '.join(tables[:40]) or 'none'}"
    )


class RouteMaker:
    def __init__(self, rng: random.Random, words: Words, held_phrases: bool = False) -> None:
        self.rng, self.words, self.held_phrases = rng, words, held_phrases
        self.facts = FactMaker(rng, words)

    def titles(self) -> list[str]:
        """Document titles: file names or headings."""
        out = []
        for _ in range(self.rng.choice((1, 2, 3, 4, 6, 8, 12, 20))):
            thing = self.rng.choice(THINGS) if self.rng.random() < 0.75 else topic(self.rng, self.words)
            title = thing + (f" {self.rng.choice(ASPECTS)}" if self.rng.random() < 0.2 else "")
            if self.rng.random() < 0.35:
                title = title.replace(" ", self.rng.choice("-_")) + self.rng.choice(
                    (".md", ".md", ".pdf", "")
                )
            out.append(title)
        return list(dict.fromkeys(out))

    def database(self) -> tuple[Schema, str]:
        """A schema and a question about it."""
        while True:
            filled = populate(
                self.rng, self.words, grow(self.rng, self.words, self.rng.choice((1, 2, 3, 4, 6, 9, 12)))
            )
            try:
                return filled.schema, SqlGenerator(self.rng, self.words, filled, self.held_phrases).draw()[0]
            except Skip:
                continue

    def document_question(self, titles: list[str]) -> str:
        """A question that belongs to the documents: about a title, a fact of a handbook, or anything."""
        roll = self.rng.random()
        form = self.rng.choice(QUESTIONS)
        if roll < 0.45:
            about = self.rng.choice(titles).rsplit(".", 1)[0].replace("-", " ").replace("_", " ")
            text = asked(self.rng, self.words, form.replace("{topic}", about).replace("{thing}", about))
        else:
            text = self.facts.fact().question if roll < 0.75 else asked(self.rng, self.words, form)
        text = text[:1].upper() + text[1:] if self.rng.random() < 0.6 else text
        return text + ("?" if self.rng.random() < 0.75 else "")

    def sample(self, route: str = "") -> Sample:
        route = route or self.rng.choices(ROUTES, (34, 34, 12, 20))[0]
        titles = self.titles()
        schema, figures = self.database()
        tables = [table.name for table in schema.tables]
        if route == "documents":
            question = self.document_question(titles)
        elif route == "database":
            question = figures
        elif route == "both":
            question = joined(self.rng, figures, self.document_question(titles))
        else:
            question = no_tool(self.rng, self.words)[0]
        if route in ("documents", "neither") and self.rng.random() < 0.12:
            tables = []
        if route in ("database", "neither") and self.rng.random() < 0.12:
            titles = []
        answer = f'{{"route": "{route}"}}'
        return Sample("route", [system(route_prompt(titles, tables)), user(question), says(answer)])


def joined(rng: random.Random, one: str, other: str) -> str:
    """Two questions in one breath."""
    one, other = one.rstrip("?. "), other.rstrip("?. ")
    if rng.random() < 0.5:
        one, other = other, one
    link = rng.choice((" and ", ", and ", "? And ", " and also ", "? Also, ", ", plus ", " - and "))
    other = other if "?" in link else other[:1].lower() + other[1:]
    return one + link + other + rng.choice(("?", "?", ""))
