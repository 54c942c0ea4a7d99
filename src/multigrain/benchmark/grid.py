"""What is said in clips of the GRID corpus, whose names spell it: six words by their first letters, as in `grid_bbaf2n.mpg`.

Source: Cooke, Barker, Cunningham and Shao, "An audio-visual corpus for speech perception and automatic speech recognition", 2006.
"""

from pathlib import Path

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero")
_WORDS: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},  # a letter is said as it is
    dict(zip("0123456789z", _DIGITS, strict=True)),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


def words_of_grid_clip(path: Path) -> str:
    """The words, with a space between them, from the last part of the file's name.

    Raises:
        ValueError: the last part has not six letters.
    """
    letters = path.stem.rpartition("_")[2]
    if len(letters) != len(_WORDS):
        raise ValueError(f"{path.name} is no name of a GRID clip: its last part should have {len(_WORDS)} letters, such as bbaf2n.")
    return " ".join(words.get(letter, letter) for words, letter in zip(_WORDS, letters, strict=True))
