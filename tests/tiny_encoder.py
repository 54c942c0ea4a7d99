"""A language model of a few thousand random weights in a folder, so that tests need neither network nor package."""

from pathlib import Path

import torch

WORDS = ("so", "it", "is", "good", "bad", "film", "the", "was", "really", "not", "very", "but", "we", "saw", "then", "great", "awful")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *".,!?'", *(f"##{letter}" for letter in LETTERS), *WORDS]


def write_tiny_encoder(folder: Path, *, dropout: float = 0.0, seed: int = 0, width: int = 8, num_layers: int = 2) -> Path:
    """A BERT of `num_layers` layers with its tokenizer; a word that is not in WORDS is cut into letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {piece: index for index, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(PIECES),
            hidden_size=width,
            num_hidden_layers=num_layers,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=40,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=0.5,
        )
        BertModel(config).save_pretrained(folder)
    return folder
