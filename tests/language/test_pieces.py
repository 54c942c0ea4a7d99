"""Words, word-pieces, and the way back."""

import pickle

import numpy as np
import pytest

from multigrain.errors import RecipeError
from multigrain.language.pieces import WordPieces

WORDS = ["Good", "zx", "film!", "it's"]
PIECES = ["[CLS]", "good", "z", "##x", "film", "!", "it", "'", "s", "[SEP]"]
OF_WORD = [-1, 0, 1, 1, 2, 2, 3, 3, 3, -1]


@pytest.fixture
def pieces(tiny_encoder):
    return WordPieces(tiny_encoder, max_tokens=12)


def test_each_piece_knows_its_word(pieces):
    table = pieces.split([WORDS])
    assert pieces._tokenizer.convert_ids_to_tokens(table.ids.tolist()) == PIECES
    assert table.word.tolist() == OF_WORD
    assert table.ids.tolist() == pieces._tokenizer(" ".join(WORDS))["input_ids"]
    assert (table.num_cut, table.longest) == (0, len(PIECES))


def test_bytes_with_leading_spaces_belong_to_the_word_behind_them(tmp_path):
    """A tokenizer in the manner of RoBERTa: a piece begins with the space before its word, and words are not all told apart by it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate(["<s>", "</s>", "<pad>", *alphabet, "Ġg", "Ġgo"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "g"), ("Ġg", "o")]))
    for trims in (True, False):
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=trims, add_prefix_space=False)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(tmp_path / str(trims))
        table = WordPieces(tmp_path / str(trims), 20).split([["go", "go", "ä", "x"]])
        assert table.word.tolist() == [-1, 0, 0, 1, 2, 2, 2, 3, 3, -1]


def test_long_transcripts_are_cut_and_counted_and_empty_ones_have_no_piece(pieces):
    table = pieces.split([["good"] * 30, [], ["", " "], ["bad"] * 10, ["bad"] * 11])
    assert table.lengths.tolist() == [12, 0, 0, 12, 12]
    assert (table.num_cut, table.longest) == (2, 32)
    assert table.word[:12].tolist() == [-1, *range(10), -1]
    assert pieces.split([]).lengths.tolist() == []
    assert pieces.split([[]]).sequence(np.array([0])).mask.tolist() == [[False]]


def test_a_batch_is_padded_to_its_longest_and_no_further(pieces):
    table = pieces.split([["good", "zx"], [], ["film"], ["good"] * 9])
    rows = np.array([2, 1, 0])
    sequence, tokens = table.sequence(rows), table.tokens(rows)
    assert sequence.features.shape == (3, 5, 0)
    assert sequence.lengths.tolist() == [3, 0, 5]
    assert sequence.readout.tolist() == [2, 0, 4]
    assert tokens.mask.equal(sequence.mask)
    assert tokens.word.tolist() == [[-1, 0, -1, -1, -1], [-1] * 5, [-1, 0, 1, 1, -1]]
    assert tokens.ids[2].tolist() == table.ids[:5].tolist()


def test_it_can_be_pickled_after_use(pieces):
    expected = pieces.split([WORDS])
    assert pickle.loads(pickle.dumps(pieces)).split([WORDS]).ids.tolist() == expected.ids.tolist()


def test_a_tokenizer_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(RecipeError, match=r"tokenizer of the text encoder in .* cannot be opened"):
        WordPieces(tmp_path, 12).split([WORDS])
