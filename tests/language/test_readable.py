"""What a checkpoint can read: by script, by language, by unknown pieces; English, German, Persian, Chinese, emoji, and mixtures."""

from dataclasses import replace

import pytest

from multigrain.errors import RecipeError
from multigrain.language.languages import main_languages, other_language, scripts_of
from multigrain.language.readable import unreadable_reasons
from multigrain.language.reader import TextReader
from multigrain.language.settings import TextEncoderSettings
from multigrain.language.words import cut_words


@pytest.fixture(scope="module")
def read_by(tiny_encoder):
    reader = TextReader.from_settings(TextEncoderSettings(name=str(tiny_encoder), max_tokens=40))

    def reasons(*texts, languages=("en",)):
        chosen = replace(reader, settings=replace(reader.settings, languages=languages))
        return unreadable_reasons(chosen, [cut_words(text) for text in texts])

    return reasons


@pytest.mark.parametrize("text", ["I love this film.", "ok", "wow", "lol gonna watch it", "Amélie was good", "I love 北京", "so good 😍"])
def test_english_is_read(read_by, text):
    assert read_by(text) == [None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Ich hasse diesen Film.", "it seems to be in German, and the checkpoint was trained on English"),
        ("Je n'aime pas du tout ce film", "it seems to be in French, and"),
        ("می\u200cخواهم این فیلم را ببینم.", "it is in Arabic script, and the checkpoint was trained on English"),
        ("我讨厌这部电影。", "it is in Chinese script, and"),
        ("我讨厌这部电影 good", "it is in Chinese script, and"),
        ("Я люблю это", "it is in Cyrillic script, and"),
        ("😍 🫠 ❤️", "it has no letters"),
        ("...", "it has no letters"),
    ],
)
def test_what_is_not_read_says_why(read_by, text, reason):
    (found,) = read_by(text)
    assert found is not None
    assert found.startswith(reason)


def test_each_utterance_is_judged_by_itself_and_short_ones_also_with_the_others(read_by):
    mixed = read_by("I love this film so much.", "Ich hasse diesen langen Film.", "Ja.", "I saw it with my sister, and we liked it.")
    assert [reason is None for reason in mixed] == [True, False, True, True]
    german = read_by("Ich hasse diesen Film, er ist schrecklich.", "Ja.", "Das war alles sehr langweilig und nicht gut.", "")
    assert [reason is None for reason in german] == [False, False, False, True]


def test_other_checkpoints_read_their_own_languages(read_by):
    assert read_by("Ich hasse diesen Film.", languages=("de", "en")) == [None]
    assert read_by("Ich hasse diesen Film.", languages=None) == [None]  # nothing is known of it, and its letters are known pieces
    (chinese,) = read_by("我讨厌这部电影", languages=("zh",))
    assert chinese == "100 % of its pieces are unknown to the language model"
    assert scripts_of(["sr", "ja"]) == {"CYRILLIC", "LATIN", "CJK", "HIRAGANA", "KATAKANA"}


def test_the_languages_of_training_transcripts():
    texts = ["I watched the new film with my sister.", "It was so long and boring for all of us.", "Yes.", "Ich habe den neuen Film gesehen."]
    assert main_languages(texts) == ("en", "de")
    assert main_languages(["Yes."]) == ()


def test_a_text_of_no_known_language_is_not_judged():
    assert other_language("Ich hasse diesen Film", ["qqq"]) is None


def test_languages_are_codes():
    with pytest.raises(RecipeError, match=r"text_encoder.languages"):
        TextEncoderSettings(name="minilm", languages=("English",))
