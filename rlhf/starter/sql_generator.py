"""Questions over random databases with the SELECT that answers each, in the contract's style.

Every statement is run on generated rows before it is used. Joins start at the table that is shown or
grouped and walk along the foreign keys: `JOIN new ON new.x = known.y`. Columns are qualified once there is
a second table.
"""

import random
import re

from rlhf.starter.sql_drawing import Asked, Skip
from rlhf.starter.sql_joins import Joins
from rlhf.starter.sql_one_table import OneTable
from rlhf.starter.wording import wording


class SqlGenerator(OneTable, Joins):
    """Draws questions of every kind, by weight."""

    def draw(self) -> Asked:
        """One question whose statement ran, its wording cased and marked as people do."""
        makers = [getattr(self, name) for name in WEIGHTS]
        for _ in range(40):
            try:
                question, sql = self.rng.choices(makers, list(WEIGHTS.values()))[0]()
            except Skip:
                continue
            self.filled.connection.execute(sql)
            return finish(self.rng, question), sql
        raise Skip


WEIGHTS: dict[str, int] = wording("sql")["weights"]


def finish(rng: random.Random, question: str) -> str:
    """The question as typed."""
    asks = re.match(r"(what|which|who|where|when|how|from|in|is|are)\b", question)
    text = question if asks else rng.choice(wording("sql")["ahead"]) + question
    if rng.random() < 0.65:
        text = text[:1].upper() + text[1:]
    return text + (rng.choice(("?", "?", "?", "")) if asks else rng.choice(("", "", ".")))
