"""A sentence encoder of a few thousand random weights, as a folder of sentence-transformers."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_encoder(folder: Path, words: list[str]) -> Path:
    """The folder; every word is a token."""
    vocabulary = {word: at for at, word in enumerate([*SPECIALS, *sorted(words)])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
    )
    plain_folder = folder.with_name(f"{folder.name}-plain")
    BertModel(config, add_pooling_layer=False).save_pretrained(plain_folder)
    tokenizer.save_pretrained(plain_folder)
    body = Transformer(str(plain_folder), max_seq_length=64)
    made = SentenceTransformer(modules=[body, Pooling(32)], device="cpu")
    made.save_pretrained(str(folder), create_model_card=False)
    return folder
