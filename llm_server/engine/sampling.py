"""How the next token of one sequence is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling of one request; the defaults change nothing but the temperature."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps every token."""
    min_p: float = 0.0
    """Keeps tokens at least this likely relative to the likeliest."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    """Divides the logits of tokens already generated (Keskar et al., 2019); 1 is off."""
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    """Number of alternatives to report a token; 0 reports the chosen one only, None nothing."""

    @property
    def penalises(self) -> bool:
        """Whether earlier tokens matter."""
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty != 1.0)
