"""Words of scripts with and without spaces, and the text that they make again."""

import pytest

from multigrain.language.words import cut_words, join_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't like mother-in-law jokes.", ["I", "don't", "like", "mother-in-law", "jokes."]),
        ("我讨厌这部电影。太糟糕了！", ["我", "讨厌", "这", "部", "电影。", "太", "糟糕", "了！"]),
        ("「映画」は好き", ["「映画」", "は", "好き"]),
        ("ฉันเกลียดหนังเรื่องนี้", ["ฉัน", "เกลียด", "หนัง", "เรื่อง", "นี้"]),
        ("می\u200cخواهم این", ["می\u200cخواهم", "این"]),
        ("나는 영화를 좋아해", ["나는", "영화를", "좋아해"]),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 ❤️", ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "❤️"]),
        ("。。。", ["。。。"]),
        ("", []),
    ],
)
def test_words_are_cut_and_joined_again(text, words):
    assert cut_words(text) == words
    assert join_words(words) == text


def test_two_scripts_side_by_side_are_told_apart_by_a_space():
    assert cut_words("看iPhone很好") == ["看", "iPhone", "很", "好"] or cut_words("看iPhone很好") == ["看", "iPhone", "很好"]
    assert join_words(["I", "like", "北京", "烤鸭"]) == "I like 北京烤鸭"


def test_each_piece_of_a_text_without_spaces_knows_its_word(tiny_encoder):
    from multigrain.language.pieces import WordPieces

    table = WordPieces(tiny_encoder, 40).split([["我", "讨厌", "good", "film"], ["so", "good"]])
    assert table.word[: table.lengths[0]].tolist() == [-1, 0, 1, 1, 2, 3, -1]
    assert table.word[table.lengths[0] :].tolist() == [-1, 0, 1, -1]
