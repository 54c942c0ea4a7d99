"""Which languages are written in which scripts, and what script and language a text is in; by rules, and by a small model that needs no network."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from multigrain.errors import MultigrainError

LATIN = "LATIN"
LANGUAGES: dict[str, str] = {
    **{"ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek"},
    **{"en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi"},
    **{"hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian"},
    **{"lv": "Latvian", "ms": "Malay", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian"},
    **{"sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish"},
    **{"uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese"},
}
"""Code (ISO 639) -> English name, of the languages that are called by name in messages; others go by their code."""

_OTHER_CODES: dict[str, str] = {
    **{"alb": "sq", "arm": "hy", "baq": "eu", "bur": "my", "chi": "zh", "cze": "cs", "dut": "nl", "fre": "fr", "geo": "ka", "ger": "de", "gre": "el"},
    **{"ice": "is", "mac": "mk", "may": "ms", "per": "fa", "rum": "ro", "slo": "sk", "tib": "bo", "wel": "cy"},
}
"""Codes of libraries (ISO 639-2/B), which ICU does not know."""

_SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ckb", "ug", "sd"), ("ARABIC",)),
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "ky", "mn", "tg", "tt", "ba", "cv"), ("CYRILLIC",)),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), ("DEVANAGARI",)),
    **{"sr": ("CYRILLIC", LATIN), "zh": ("CJK", "BOPOMOFO"), "ja": ("CJK", "HIRAGANA", "KATAKANA"), "ko": ("HANGUL", "CJK")},
    **{"el": ("GREEK",), "he": ("HEBREW",), "yi": ("HEBREW",), "hy": ("ARMENIAN",), "ka": ("GEORGIAN",), "th": ("THAI",), "lo": ("LAO",)},
    **{"my": ("MYANMAR",), "km": ("KHMER",), "am": ("ETHIOPIC",), "ti": ("ETHIOPIC",), "bo": ("TIBETAN",), "bn": ("BENGALI",), "as": ("BENGALI",)},
    **{"ta": ("TAMIL",), "te": ("TELUGU",), "kn": ("KANNADA",), "ml": ("MALAYALAM",), "gu": ("GUJARATI",), "pa": ("GURMUKHI", "ARABIC")},
    **{"or": ("ORIYA",), "si": ("SINHALA",)},
}
"""Code -> the scripts that it is written in, by the words with which Unicode's names of their letters begin; all others are written in Latin."""

SURELY_OTHER = 0.001
"""A text is of another language where all of the expected ones together are less probable than this."""
_FEWEST_SURE_LETTERS = 20
_MOST_CHARACTERS = 5_000


def language_code(mark: str) -> str | None:
    """The code of a language as people write it in the names of files, in small letters with hyphens; None where it is no language.

    >>> language_code("en_US"), language_code("ger"), language_code("English"), language_code("part1")
    ('en-us', 'de', 'en', None)
    """
    from icu4py.locale import Locale

    by_name = {name.casefold(): code for code, name in LANGUAGES.items()}
    folded = mark.casefold()
    if folded in by_name:
        return by_name[folded]
    first, *rest = folded.replace("_", "-").split("-")
    if not re.fullmatch(r"[a-z]{2,3}", first) or not all(re.fullmatch(r"[a-z0-9]{2,8}", part) for part in rest):
        return None
    return "-".join([_OTHER_CODES.get(first, Locale(first).language or first), *rest])


def scripts_of(languages: Sequence[str]) -> frozenset[str]:
    """The scripts that languages are written in."""
    return frozenset(script for language in languages for script in _SCRIPTS.get(language, (LATIN,)))


def names_of(languages: Sequence[str]) -> str:
    """Languages as they are called, such as "English and German"."""
    return " and ".join(LANGUAGES.get(language, language) for language in languages)


def letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script a text has, by the word with which Unicode's names of its letters begin."""
    return Counter(script for character in unicodedata.normalize("NFKC", text) if (script := _script(character)) is not None)


@cache
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    return unicodedata.name(character, "UNKNOWN").split()[0].split("-")[0]


def other_language(text: str, expected: Sequence[str]) -> str | None:
    """The language that a text is in where it is surely none of the expected ones; None where it may be, and for a text too short to say.

    A threshold as low as this finds no utterance of 3,307 English ones (MELD, MOSI) to be of another language, down to one word
    (docs/decisions/transcripts.md).
    """
    ranked = _identifier().rank(text[:_MOST_CHARACTERS])
    known = dict(ranked)
    if any(language not in known for language in expected):
        return None
    return str(ranked[0][0]) if sum(known[language] for language in expected) < SURELY_OTHER else None


def is_long_enough(text: str) -> bool:
    """Whether a text has the letters to be judged by itself, without what is around it."""
    return sum(character.isalpha() for character in text) >= _FEWEST_SURE_LETTERS


def main_languages(texts: Sequence[str], *, least_share: float = 0.1) -> tuple[str, ...]:
    """The languages that texts are in, most frequent first: those of at least a share of the texts that are long enough to say."""
    found: Counter[str] = Counter(str(_identifier().rank(text[:_MOST_CHARACTERS])[0][0]) for text in texts if is_long_enough(text))
    return tuple(language for language, count in found.most_common() if count >= least_share * found.total())


@cache
def _identifier() -> Any:
    """One for the whole process: its model takes a second to load."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MultigrainError(
            f"py3langid is needed to tell what language a text is in, and it cannot be imported ({error}). Install it with: "
            "pip install 'multigrain[language]'"
        ) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
