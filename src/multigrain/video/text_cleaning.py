"""One line of text as it is read: without control characters and what is invisible, with what holds letters and emoji together."""

import re
import unicodedata

_DIRECTION_AND_MARKS = "\u00ad\u061c\u180e\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # soft hyphens, byte order marks, directions
_DROPPED = re.compile(f"[{_DIRECTION_AND_MARKS}]|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+")
_NONCHARACTERS = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_ZERO_WIDTH_SPACE = "\u200b"
_JOINERS = "\u200c\u200d"  # Persian words and emoji of several people are held together by them
_LATIN_BREAK = re.compile(f"(?<=[A-Za-z\u00c0-\u024f]){_ZERO_WIDTH_SPACE}+(?=[A-Za-z\u00c0-\u024f])")


def clean_text(text: str) -> str:
    """One line of text without control and invisible characters, and with single spaces.

    A soft hyphen, which cuts no word, leaves nothing behind; the joiners of Persian words and of emoji stay; what is left of control
    characters is a space.
    """
    if text.isprintable():
        return " ".join(text.split())
    text = _DROPPED.sub("", _NONCHARACTERS.sub(" ", text))
    text = _LATIN_BREAK.sub("", text).replace(_ZERO_WIDTH_SPACE, " ")
    visible = "".join(character if _stays(character) else " " for character in text)
    return " ".join(word for word in visible.split() if word.strip(_JOINERS))


def _stays(character: str) -> bool:
    """Everything but control characters, halves of characters, and private ones; letters that this Python does not know yet stay."""
    return character in _JOINERS or "\U000e0020" <= character <= "\U000e007f" or unicodedata.category(character) not in ("Cc", "Cs", "Co", "Cf")
