"""Words of a text, also of scripts that put no spaces between them (Chinese, Japanese, Thai, Khmer, Lao, Burmese), and words as a text again."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from multigrain.errors import MultigrainError

_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ec4\u0ec6-\u0ecd\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17d7\ua9e0-\uaa7f"  # Thai, Lao, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003fffd"  # Han
)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_JOINS = re.compile(f"[{_UNSPACED}\u3001-\u3003\u3008-\u3011\u3014-\u301b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65“”‘’…]")
_OPENING = frozenset(("Ps", "Pi"))
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "؟", "۔", "।")
_CLOSING = "\"')”’」』）"


def cut_words(text: str) -> list[str]:
    """The words of a text, in its order: cut at spaces, and by ICU where a script puts none; a mark goes with the word that it follows.

    Raises:
        MultigrainError: the text needs ICU (the package icu4py), and that is not installed.

    >>> cut_words("I don't like it.")
    ['I', "don't", 'like', 'it.']
    >>> cut_words("我讨厌这部电影。")
    ['我', '讨厌', '这', '部', '电影。']
    """
    return [word for chunk in text.split() for word in (_cut_chunk(chunk) if _HAS_UNSPACED.search(chunk) else (chunk,))]


def join_words(words: Sequence[str]) -> str:
    """Words as a text: with a space between them, but for two that scripts without spaces write together.

    >>> join_words(["我", "讨厌", "电影。"]), join_words(["I", "like", "北京"])
    ('我讨厌电影。', 'I like 北京')
    """
    return "".join(part for gap, word in zip(gaps(words), words, strict=True) for part in (gap, word))


def ends_sentence(text: str) -> bool:
    """Whether a sentence ends with a word, or with the last word of a text, whatever quotation or bracket it closes."""
    return text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def gaps(words: Sequence[str]) -> list[str]:
    """What stands before each word of a text: a space or nothing."""
    return ["" if index == 0 or _are_together(words[index - 1], word) else " " for index, word in enumerate(words)]


def _are_together(word: str, following: str) -> bool:
    return bool(word) and bool(following) and _JOINS.match(word[-1]) is not None and _JOINS.match(following[0]) is not None


def _cut_chunk(chunk: str) -> list[str]:
    words: list[str] = []
    opening = ""
    for part in _breaker()(chunk, "und"):
        is_mark = all(unicodedata.category(character)[0] in "PZ" for character in part)
        if is_mark and all(unicodedata.category(character) in _OPENING for character in part):
            opening += part
        elif is_mark and words and not opening:
            words[-1] += part
        else:
            words.append(opening + part)
            opening = ""
    if opening and words:
        words[-1] += opening
    return words or [chunk]


@cache
def _breaker() -> Any:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise MultigrainError(
            f"icu4py is needed to cut a text into words that is written without spaces, and it cannot be imported ({error}). Install it with: "
            "pip install 'multigrain[language]'"
        ) from error
    return WordBreaker
