"""What tokens cost: US dollars per million of them, by model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field

MILLION = 1_000_000


class Price(BaseModel):
    """Of a million tokens that are read, and of a million that are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)


FREE = Price(input=0, output=0)


@dataclass(frozen=True)
class Prices:
    """By a model's name, or a pattern of names such as `gpt-4o*`; the first that fits counts. A model without
    a price runs here and costs nothing."""

    by_model: Mapping[str, Price] = field(default_factory=dict)

    def of(self, model: str) -> Price:
        if exact := self.by_model.get(model):
            return exact
        return next((price for name, price in self.by_model.items() if fnmatchcase(model, name)), FREE)

    def cost(self, model: str, read: int, written: int) -> dict[str, float]:
        """Langfuse's `cost_details` of one call."""
        price = self.of(model)
        costs = {"input": price.input * read / MILLION, "output": price.output * written / MILLION}
        return {**costs, "total": sum(costs.values())}
