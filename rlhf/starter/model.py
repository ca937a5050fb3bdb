"""The starter's network: Qwen3's forward pass in one screen, sharing its weights with transformers.

transformers' own module is the reference and the file format; this one computes the vocabulary only where a
token is trained, which on a CPU is a quarter of the time of a step. A test holds both to the same logits.
Shapes: B sequences, T positions, H hidden width, D width of a head.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are the embedded starter's."""

    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    head_width: int = 32
    feed_forward: int = 768
    context: int = 4096
    rope_theta: float = 10000.0


def qwen3_config(shape: Shape, vocabulary: int, end: int, pad: int) -> Qwen3Config:
    """The same network as transformers (and every engine) describes it."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.context,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        eos_token_id=end,
        pad_token_id=pad,
        bos_token_id=None,
        attention_dropout=0.0,
    )


class RMSNorm(nn.Module):
    """Root mean square layer norm (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), 1e-6)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position (Su et al., 2021), halves as in Llama: x is B, heads, T, D."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Attention(nn.Module):
    """Grouped-query attention with normed queries and keys."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, inner, kv = shape.hidden, shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.q_proj = nn.Linear(width, inner, bias=False)
        self.k_proj = nn.Linear(width, kv, bias=False)
        self.v_proj = nn.Linear(width, kv, bias=False)
        self.o_proj = nn.Linear(inner, width, bias=False)
        self.q_norm = RMSNorm(shape.head_width)
        self.k_norm = RMSNorm(shape.head_width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, _ = x.shape
        d = self.shape.head_width
        q = rotate(self.q_norm(self.q_proj(x).view(b, t, -1, d)).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(self.k_proj(x).view(b, t, -1, d)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, t, -1, d).transpose(1, 2)
        groups = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(b, t, -1))
        return out


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """One pre-normed block."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Starter(nn.Module):
    """Qwen3 with tied embeddings. Sequences are padded on the right, so causal masking is all the masking."""

    def __init__(self, shape: Shape, vocabulary: int) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden)
        half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float32), shape.rope_theta**-half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.cos: Tensor
        self.sin: Tensor
        self.apply(self._begin)

    def _begin(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Normed states of `tokens` (B, T) as B, T, H."""
        x: Tensor = self.embed_tokens(tokens)
        t = tokens.shape[1]
        cos, sin = self.cos[:t].to(x.dtype), self.sin[:t].to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def loss(self, tokens: Tensor, trained: Tensor) -> Tensor:
        """Mean cross entropy of the next token where `trained` (B, T bool) marks that token."""
        states = self.hidden(tokens[:, :-1])
        wanted = trained[:, 1:]
        logits = functional.linear(states[wanted], self.embed_tokens.weight)
        return functional.cross_entropy(logits.float(), tokens[:, 1:][wanted])

    def logits(self, tokens: Tensor) -> Tensor:
        """All logits, B, T, vocabulary; for tests."""
        return functional.linear(self.hidden(tokens), self.embed_tokens.weight)


def to_transformers(model: Starter, config: Qwen3Config) -> Qwen3ForCausalLM:
    """The reference module with a copy of these weights."""
    other = Qwen3ForCausalLM(config)
    weights = {"model." + name: value for name, value in model.state_dict().items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    other.load_state_dict(weights)
    return other


def from_transformers(folder: Path) -> Starter:
    """Read a model folder back, in single precision."""
    other = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    c: Any = other.config
    shape = Shape(
        hidden=c.hidden_size,
        layers=c.num_hidden_layers,
        heads=c.num_attention_heads,
        kv_heads=c.num_key_value_heads,
        head_width=c.head_dim,
        feed_forward=c.intermediate_size,
        context=c.max_position_embeddings,
        rope_theta=c.rope_parameters["rope_theta"],
    )
    model = Starter(shape, c.vocab_size)
    weights = {
        name.removeprefix("model."): v for name, v in other.state_dict().items() if name != "lm_head.weight"
    }
    model.load_state_dict(weights)
    return model
