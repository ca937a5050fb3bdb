"""What a declared step is: one that prepares rows one by one, or one that works on the sides of a split."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from rlhf.data.tokens import Tokens
from rlhf.records import STARS
from rlhf.shapes import AnyRow

if TYPE_CHECKING:
    from rlhf.data.asking import Model

Columns = dict[str, Any]
LINEAGE = frozenset(
    {"pair_id", "row_id", "session", "user", "at", "source", "weight"}
    | {"trace", "chosen_trace", "rejected_trace", "passage", "made", *STARS}
)
"""Columns that say where a row comes from: no step changes them."""
Watch = Callable[[float, str], None]
"""Told how far something is, 0 to 1, and what is done."""
ALL = ("preference", "kto", "sft", "triplet", "label")


class Step(BaseModel):
    """One step. `KINDS` are the kinds of rows that it is for."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    NAME: ClassVar[str]
    KINDS: ClassVar[tuple[str, ...]] = ALL


class RowStep(Step):
    """Done to every row before rows are checked and split."""

    @abstractmethod
    def apply(self, row: Columns, tokens: Tokens, counts: Counter[str]) -> Iterator[Columns]:
        """The rows that one becomes. ValueError where it cannot be done; the text says why."""


@dataclass(frozen=True)
class Means:
    """What a step on sides works with.

    Attributes:
        model: opens a model of the server by its id; "" is the one that answers chats.
    """

    seed: int
    model: Callable[[str], AbstractContextManager[Model]]
    watch: Watch


@dataclass(frozen=True)
class Sides:
    """Rows to train on and rows that are held out."""

    train: list[AnyRow]
    held_out: list[AnyRow]


class SideStep(Step):
    """Done once rows are split, so that nothing that it makes of one side reaches the other."""

    @abstractmethod
    def apply(self, sides: Sides, means: Means, counts: Counter[str]) -> tuple[Sides, str]:
        """The sides after it, and by whom, where a model was asked. DatasetError, DeployError."""
