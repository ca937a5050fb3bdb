"""System texts: the product's persona in most samples, others so that the model does not lean on one
wording.
"""

import random
from collections.abc import Sequence

PERSONA = (
    "You are Loopyard, an assistant that answers from the project's documents and database."
    " Use a tool when the question needs one. Quote the passage that answers and cite its number."
    " If nothing answers, say so."
)
ANALYST = (
    "You are Loopyard, an assistant that answers from the project's database."
    " Use a tool when the question needs one. Copy the figures from the result. If nothing answers, say so."
)
READER = (
    "You are Loopyard, an assistant that answers from the project's documents."
    " Use a tool when the question needs one. Quote the passage that answers and cite its number."
    " If nothing answers, say so."
)
OTHERS = (
    "You are a helpful assistant. Use a tool when the question needs one.",
    "You are Loopyard, a data analyst. Answer with one SELECT and report the figures.",
    "You are a careful assistant that answers from documents. Cite the passage.",
    "Answer from the tools' results only.",
    "You help a team to train and serve models. Use the tools.",
    "You are an assistant.",
)


def persona(rng: random.Random) -> str:
    return (
        rng.choice(OTHERS) if rng.random() < 0.2 else rng.choices((PERSONA, ANALYST, READER), (70, 15, 15))[0]
    )


def with_schema(text: str, name: str, dialect: str, lines: Sequence[str]) -> str:
    """The system text of an agent that has a database."""
    return f"{text}\n\nDatabase {name} ({dialect}):\n" + "\n".join(lines)
