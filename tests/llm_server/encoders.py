"""Small random encoders with classifiers, as transformers writes them, and what it computes with them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from llm_server.classifier import Text
from tests.llm_server.architectures import CORPUS

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DISTILBERT = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 64}
ROBERTA = SIZES | {"type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 66}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", SIZES),
    "bert-relu": ("bert", SIZES | {"hidden_act": "relu"}),
    "bert-gelu-new": ("bert", SIZES | {"hidden_act": "gelu_new"}),
    "roberta": ("roberta", ROBERTA),
    "xlm-roberta": ("xlm-roberta", ROBERTA),
    "distilbert": ("distilbert", DISTILBERT),
}
"""Model type and sizes. RoBERTa's first position is row 2 of 66."""


def make_encoder_tokenizer() -> Tokenizer:
    """Word pieces, `[CLS] text [SEP] text [SEP]`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    return tokenizer


class EncoderCheckpoint:
    """A transformers folder with a classifier, and the model."""

    def __init__(self, folder: Path, family: str, labels: int) -> None:
        kind, sizes = FAMILIES[family]
        self.folder, self.labels = folder, labels
        self.tokenizer = make_encoder_tokenizer()
        self.typed = sizes.get("type_vocab_size", 2) > 1 and kind != "distilbert"
        with warnings.catch_warnings():
            # Deprecations inside these libraries are not ours.
            warnings.simplefilter("ignore")
            import torch
            from transformers import AutoConfig, AutoModelForSequenceClassification

            torch.set_num_threads(1)
            torch.manual_seed(3)
            self._torch = torch
            config = AutoConfig.for_model(
                kind, **sizes, vocab_size=self.tokenizer.get_vocab_size(), num_labels=labels
            )
            auto: Any = AutoModelForSequenceClassification
            model = auto.from_config(config)
            with torch.no_grad():
                # Norms and biases too, which begin as ones and zeros: each must find its place.
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
            model.save_pretrained(folder)
        self._model = model.eval()
        self.tokenizer.save(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(64)

    def scores(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """[texts, labels], one text after the other."""
        out = []
        for text in texts:
            read = self.tokenizer.encode(*((text,) if isinstance(text, str) else text))
            inputs = {"input_ids": read.ids} | ({"token_type_ids": read.type_ids} if self.typed else {})
            with self._torch.no_grad():
                result = self._model(**{key: self._torch.tensor([ids]) for key, ids in inputs.items()})
            out.append(np.asarray(result.logits[0]))
        return np.stack(out)
