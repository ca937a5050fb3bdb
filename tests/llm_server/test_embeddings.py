"""Embeddings are the reference's: transformers' BertModel, mean over the tokens, length 1.

`minilm_reference.json` was written by transformers 5.23 and torch 2.13 in single precision, texts cut
at 256 tokens.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from filelock import FileLock

from llm_server.backends.llama_embedder import LlamaEmbedding
from llm_server.backends.onnx_embedder import OnnxEmbedding
from llm_server.convert.minilm import MAX_TOKENS, minilm_folder
from llm_server.convert.prepare import prepare_embedder, prepare_onnx_embedder
from llm_server.embedder import EchoEmbedding, Embedder, shorten
from llm_server.settings import Settings
from tests.llm_server.conftest import serving

REFERENCE = json.loads((Path(__file__).parent / "minilm_reference.json").read_text())
TEXTS = [entry["text"] for entry in REFERENCE]


MiniLm = LlamaEmbedding | OnnxEmbedding


@pytest.fixture(scope="module", params=["llama_cpp", "onnx"])
def minilm(request: pytest.FixtureRequest, models: Path) -> Iterator[MiniLm]:
    """On both engines."""
    loaded: MiniLm
    with FileLock(models / "lock"):
        if request.param == "onnx":
            loaded = OnnxEmbedding(prepare_onnx_embedder(models).path, threads=1)
        else:
            prepared = prepare_embedder(models)
            loaded = LlamaEmbedding(prepared.path, minilm_folder() / "tokenizer.json", threads=1)
    yield loaded
    loaded.close()


async def test_vectors_and_tokens_are_the_references(minilm: MiniLm) -> None:
    result = await Embedder(minilm).embed(TEXTS)
    reference = np.array([entry["vector"] for entry in REFERENCE])
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)  # they were written with five digits
    assert (result.vectors * reference).sum(axis=1).min() > 0.9999
    assert [len(minilm.tokens(text)) for text in TEXTS] == [entry["tokens"] for entry in REFERENCE]
    assert result.tokens == sum(entry["tokens"] for entry in REFERENCE)
    assert len(minilm.tokens(TEXTS[-1])) == MAX_TOKENS


async def test_a_batch_is_the_same_as_one_by_one(minilm: MiniLm) -> None:
    many = [f"text number {n} " * (n % 40 + 1) for n in range(100)]
    embedder = Embedder(minilm)
    batch = (await embedder.embed(many)).vectors
    alone = np.concatenate([(await embedder.embed([text])).vectors for text in many[::9]])
    assert np.abs(batch[::9] - alone).max() < 5e-3
    assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)


async def test_token_ids_are_texts_too(minilm: MiniLm) -> None:
    result = await Embedder(minilm).embed([TEXTS[0], minilm.tokens(TEXTS[0])])
    assert np.allclose(result.vectors[0], result.vectors[1], atol=1e-5)


def test_the_onnx_embedder_is_as_good_as_single_precision(models: Path) -> None:
    with FileLock(models / "lock"):
        model = OnnxEmbedding(prepare_onnx_embedder(models).path, threads=1)
    vectors = model.embed([model.tokens(text) for text in TEXTS])
    assert np.abs(vectors - np.array([entry["vector"] for entry in REFERENCE])).max() < 2e-5
    model.close()


def test_the_backend_of_chats_computes_vectors_too(models: Path) -> None:
    """The server on ONNX Runtime gives what the reference says."""
    settings = Settings(model=str(models / "tiny"), backend="onnx", data=models, precision="fp32", threads=1)
    with (
        FileLock(models / "lock"),
        serving(settings) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        answer = client.embeddings.create(
            model="sentence-transformers/all-minilm-l6-v2", input=TEXTS[:2], encoding_format="float"
        )
    for got, entry in zip(answer.data, REFERENCE[:2], strict=True):
        assert np.abs(np.array(got.embedding) - np.array(entry["vector"])).max() < 2e-5
    assert answer.usage.prompt_tokens == sum(entry["tokens"] for entry in REFERENCE[:2])


def test_the_client_gets_floats_or_base64(echo: openai.OpenAI) -> None:
    plain = echo.embeddings.create(model="all-minilm-l6-v2", input=["a b", "c"], encoding_format="float")
    packed = echo.embeddings.create(model="all-minilm-l6-v2", input=["a b", "c"], encoding_format="base64")
    assert len(plain.data) == 2
    assert len(plain.data[0].embedding) == 384
    raw = packed.data[0].embedding
    floats = np.frombuffer(base64.b64decode(raw), "<f4") if isinstance(raw, str) else np.array(raw)
    assert np.allclose(floats, plain.data[0].embedding)
    assert plain.usage.prompt_tokens == 3


def test_fewer_dimensions_have_length_one(echo: openai.OpenAI) -> None:
    short = echo.embeddings.create(model="all-minilm-l6-v2", input="a b c d", dimensions=64)
    assert len(short.data[0].embedding) == 64
    with pytest.raises(openai.BadRequestError):
        echo.embeddings.create(model="all-minilm-l6-v2", input="x", dimensions=1000)
    with pytest.raises(openai.BadRequestError):
        echo.embeddings.create(model="all-minilm-l6-v2", input=[])


def test_shortening_nothing_is_nothing() -> None:
    assert shorten(np.zeros((1, 4), np.float32), 2).tolist() == [[0.0, 0.0]]


def test_the_echo_embeds_equal_texts_equally() -> None:
    model = EchoEmbedding()
    vectors = model.embed([model.tokens(text) for text in ("red fox", "red fox", "tax law", "red hen")])
    assert np.allclose(vectors[0], vectors[1])
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[2]
