"""Whether a language model, as a checkpoint was trained with it, can read a text at all; where it cannot, the text is absent and not guessed at.

In this order: a text without letters and digits (emoji alone) says nothing; letters that are mostly of scripts in which none of the checkpoint's
languages is written; a text that is surely in another language; a text whose pieces are nearly all unknown to the tokenizer.
"""

from collections.abc import Sequence

from multigrain.language.languages import is_long_enough, letters_by_script, names_of, other_language, scripts_of
from multigrain.language.pieces import NO_WORD
from multigrain.language.reader import TextReader
from multigrain.language.words import join_words

MOSTLY = 0.5
"""More than this share of the letters in other scripts, and the text is not read."""
NEARLY_ALL = 0.8
"""At least this share of unknown pieces, and the text is not read."""


def unreadable_reasons(reader: TextReader, transcripts: Sequence[Sequence[str]]) -> list[str | None]:
    """For each utterance why its text cannot be read, such as "it has no letters"; None where it can, or where there is none.

    Args:
        reader: the language model, which may name the languages that it was trained on.
        transcripts: the utterances' words. One too short to tell its language is also judged with all the others together.
    """
    languages = reader.settings.languages or ()
    texts = [join_words(words) for words in transcripts]
    whole = _of_other_language(" ".join(texts), languages)
    return [_reason(reader, words, text, languages, whole) if text.strip() else None for words, text in zip(transcripts, texts, strict=True)]


def _reason(reader: TextReader, words: Sequence[str], text: str, languages: Sequence[str], whole: str | None) -> str | None:
    if not any(character.isalnum() for character in text):
        return "it has no letters"
    if languages:
        trained = f"the checkpoint was trained on {names_of(languages)}"
        letters = letters_by_script(text)
        foreign = {script: count for script, count in letters.items() if script not in scripts_of(languages)}
        if sum(foreign.values()) > MOSTLY * letters.total():
            script = max(foreign, key=lambda name: foreign[name])
            return f"it is in {_SCRIPT_NAMES.get(script, script.capitalize())} script, and {trained}"
        other = _of_other_language(text, languages) or (whole if letters and not is_long_enough(text) else None)
        if other is not None:
            return f"it seems to be in {names_of([other])}, and {trained}"
    unknown = unknown_share(reader, words)
    if unknown >= NEARLY_ALL:
        return f"{100 * unknown:.0f} % of its pieces are unknown to the language model"
    return None


_SCRIPT_NAMES = {"CJK": "Chinese", "BOPOMOFO": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}


def _of_other_language(text: str, languages: Sequence[str]) -> str | None:
    return other_language(text, languages) if languages and any(character.isalpha() for character in text) else None


def unknown_share(reader: TextReader, words: Sequence[str]) -> float:
    """The share of a text's pieces that the tokenizer does not know; 0 for a tokenizer that knows all."""
    if reader.pieces.unknown_id is None:
        return 0.0
    table = reader.pieces.split([words])
    ids = table.ids[table.word != NO_WORD]
    return float((ids == reader.pieces.unknown_id).mean()) if len(ids) else 0.0
