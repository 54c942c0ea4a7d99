"""Names that clients give to their files: cleaned to be shown, never used as a path."""

import unicodedata

LONGEST_TITLE = 120


def title(name: str, fallback: str) -> str:
    """What a file or text is called in lists: the last part of its name, in one line, without control and direction characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(" " if character.isspace() else character for character in unicodedata.normalize("NFC", last))
    shown = "".join(character for character in shown if not unicodedata.category(character).startswith("C"))
    shown = " ".join(shown.split())
    if len(shown) > LONGEST_TITLE:
        shown = shown[: LONGEST_TITLE - 1] + "…"
    return shown if shown.strip(". ") else fallback
