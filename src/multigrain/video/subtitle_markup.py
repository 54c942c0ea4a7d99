"""What is spoken in one subtitle: no tags, entities decoded, and who says which part of it."""

import html
import re
from html.entities import html5

from multigrain.video.sounds import descriptions
from multigrain.video.spoken import Turn
from multigrain.video.text_cleaning import clean_text

# Each looks at most up to the next bracket of its kind, so that it takes time in proportion to the text.
_VOICE = re.compile(r"(?<![\w.])<v(?:\.[^<>\s]*)?[ \t\n]+([^<>]+)>|(</v>)")
_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)
_STYLED = (
    "(?:i|b|u|s|c|v|p|q|a|em|strong|font|span|div|ruby|rt|rp|lang|size|color|colour|small|big|sub|sup|tt|center|body|html|sync|sami|script|style|img|"
    "h[1-6])"
)
_ATTRIBUTE = r"""[ \t\n]+[a-z][\w:-]*[ \t\n]*=(?:[ \t\n]*["'][^<>]*|[^<>]*)"""
# A tag has attributes with `=`, or a class; "a<b and b>c" and "<3" are none.
_TAG = re.compile(
    rf"</?{_STYLED}(?:\.[^<>\s]*)?(?:{_ATTRIBUTE})?[ \t\n]*/?>|<(?:size|color|colour|lang|font)=[^<>]*>|<lang[ \t]+[\w-]+>|<c\.[^<>]*>|"
    rf"(?<![\w.])<v(?:\.[^<>\s]*)?[ \t\n]+[^<>]*>|<\d[\d:.,]*>",
    re.IGNORECASE,
)
_OVERRIDE = re.compile(r"\{[\\=][^{}]*\}|\{[a-zA-Z]:[^{}]*\}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,32}\d{0,2});")
_DASH = re.compile(r"(?:^| )(?:[-–—‐]+(?=[ \w])|>>+(?=[ \w])|＞＞)")
_SUNG = re.compile("[♪♫♬♩]+|^#(?= )|(?<= )#$")
_MADE = r"\b(?:subtitl|caption|transcri|translat|synch?roni|synced|ripp|encod|upload|download|corrected|advert|untertitel|sous-titr)\w{0,20}\b"
_ADDRESS = r"(?:www\.|https?://|\b[\w-]{2,60}\.(?:com|org|net|io|tv|ai|info)\b)"
_CREDIT = re.compile(rf"{_MADE}.{{0,80}}{_ADDRESS}|{_ADDRESS}.{{0,80}}{_MADE}", re.IGNORECASE)
_LONGEST_CREDIT = 300


def voices(text: str) -> list[Turn]:
    """A subtitle's text by who speaks, as WebVTT's `<v Name>` says; other tags are still in it.

    >>> voices("<v Ann Lee>Hi</v> <v Bo>Hello <b>you</b>")
    [Turn(text='Hi', speaker='Ann Lee'), Turn(text='Hello <b>you</b>', speaker='Bo')]
    """
    turns: list[Turn] = []
    speaker, position = None, 0
    for found in _VOICE.finditer(text):
        turns.append(Turn(text[position : found.start()].strip(), speaker))
        speaker, position = _name(found[1] or ""), found.end()
    turns.append(Turn(text[position:].strip(), speaker))
    return [turn for turn in turns if turn.text]


def _name(written: str) -> str | None:
    name = clean_text(decoded(written))
    return name if any(character.isalnum() for character in name) else None


def plain_lines(text: str) -> list[str]:
    """The lines of a subtitle without tags and with entities decoded; none that is empty.

    A `<` that opens no tag stays what it is: "I <3 this", "a < b".
    """
    bare = _OVERRIDE.sub("", _TAG.sub("", _BREAK.sub("\n", text)))
    return [line for line in (clean_text(decoded(part)) for part in bare.split("\n")) if line]


def decoded(text: str) -> str:
    """The text with its HTML entities as the characters that they stand for; what only looks like one stays."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]) if found[0][1] == "#" or found[0][1:] in html5 else found[0], text)


def spoken_part(line: str) -> tuple[str, list[str]]:
    """A line without what is not spoken, and the descriptions of sounds that it had.

    Left out are descriptions (`sounds` says which brackets, parentheses and asterisks are), dashes and `>>` that announce another person, and notes
    of music.

    >>> spoken_part("- (laughs) That is *not* funny. [music]")
    ('That is *not* funny.', ['(laughs)', '[music]'])
    """
    parts = list(descriptions(line))
    edges = [0, *(edge for part in parts for edge in part.span()), len(line)]
    line = " ".join(line[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    line = clean_text(_DASH.sub(" ", clean_text(_SUNG.sub(" ", line))))
    return line, [part[0] for part in parts]


def is_credit(line: str) -> bool:
    """Whether a line is an advertisement of who made the subtitles, and nothing that anybody says."""
    return len(line) <= _LONGEST_CREDIT and _CREDIT.search(line) is not None
