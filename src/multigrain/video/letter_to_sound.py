"""How an English word that no dictionary knows is probably spoken: rules from letters to phones, good enough to find it in the sound.

The phones are those of the CMU dictionary, without stress. At each place the first rule that fits is taken; a rule is the letters that it
reads, what must stand before and after them, and the phones that it gives.
"""

import re
import unicodedata
from functools import cache

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_THOUSANDS = ("", "thousand", "million", "billion")
_MOST_LETTERS = 60
_SYMBOLS = {"%": "percent", "&": "and", "+": "plus", "@": "at", "$": "dollars", "€": "euros", "£": "pounds", "=": "equals"}

_LETTER_NAMES = {
    **{"a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY", "h": "EY CH", "i": "AY", "j": "JH EY"},
    **{"k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N", "o": "OW", "p": "P IY", "q": "K Y UW", "r": "AA R", "s": "EH S", "t": "T IY"},
    **{"u": "Y UW", "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S", "y": "W AY", "z": "Z IY"},
}

# Letters, before (a pattern that ends there), after (a pattern that begins there), phones. V stands for a vowel letter, C for a consonant.
_RULES: tuple[tuple[str, str, str, str], ...] = (
    *(("augh", "", "", "AO"), ("ough", "", "t", "AO"), ("ough", "", "", "OW"), ("tion", "", "", "SH AH N"), ("ssion", "", "", "SH AH N")),
    *(
        ("sion", "V", "", "ZH AH N"),
        ("sion", "", "", "SH AH N"),
        ("cious", "", "$", "SH AH S"),
        ("tious", "", "$", "SH AH S"),
        ("cial", "", "", "SH AH L"),
    ),
    *(("tial", "", "", "SH AH L"), ("cian", "", "", "SH AH N"), ("ture", "", "$", "CH ER"), ("sure", "V", "$", "ZH ER"), ("eigh", "", "", "EY")),
    *(("igh", "", "", "AY"), ("tch", "", "", "CH"), ("dge", "", "", "JH"), ("sch", "", "", "SH"), ("ch", "", "[rl]", "K"), ("ch", "", "", "CH")),
    *(
        ("sh", "", "", "SH"),
        ("ph", "", "", "F"),
        ("th", "", "(er|e$|is|at|en)", "DH"),
        ("th", "", "", "TH"),
        ("wh", "^", "o", "HH"),
        ("wh", "", "", "W"),
    ),
    *(("gh", "^", "", "G"), ("gh", "", "", ""), ("ck", "", "", "K"), ("qu", "", "e$", "K"), ("qu", "", "", "K W"), ("q", "", "", "K")),
    *(("ng", "", "[aou]", "NG G"), ("ng", "", "", "NG"), ("nk", "", "", "NG K"), ("kn", "^", "", "N"), ("gn", "^", "", "N"), ("gn", "", "$", "N")),
    *(("wr", "^", "", "R"), ("ps", "^", "", "S"), ("mb", "", "$", "M"), ("mn", "", "$", "M"), ("rh", "^", "", "R")),
    *(("scious", "", "", "SH AH S"), ("sc", "", "[eiy]", "S"), ("cc", "", "[eiy]", "K S"), ("c", "", "[eiy]", "S"), ("c", "", "", "K")),
    *(("gg", "", "", "G"), ("ge", "", "$", "JH"), ("g", "^", "et|iv|ir", "G"), ("g", "", "[eiy]", "JH"), ("g", "", "", "G")),
    *(("ss", "", "", "S"), ("s", "V", "V", "Z"), ("s", "[bdgvmnlrwaeiouy]", "$", "Z"), ("s", "", "", "S"), ("x", "^", "", "Z"), ("x", "", "", "K S")),
    *(("zz", "", "", "Z"), ("z", "", "", "Z"), ("j", "", "", "JH"), ("ed", "[td]", "$", "IH D"), ("ed", "[pkfsxh]", "$", "T"), ("ed", "C", "$", "D")),
    *(("es", "(s|x|z|ch|sh|c|g)", "$", "IH Z"), ("e's", "", "$", "Z"), ("ies", "C", "$", "IY Z"), ("ied", "C", "$", "IY D")),
    *(
        ("eer", "", "", "IH R"),
        ("ear", "", "C", "ER"),
        ("ear", "", "", "IH R"),
        ("air", "", "", "EH R"),
        ("are", "", "$", "EH R"),
        ("ar", "^w", "C", "AO R"),
    ),
    *(
        ("arr", "", "V", "EH R"),
        ("ar", "C", "d$", "ER"),
        ("ar", "", "V", "EH R"),
        ("ar", "", "", "AA R"),
        ("our", "", "", "AO R"),
        ("oor", "", "", "AO R"),
    ),
    *(
        ("ore", "", "$", "AO R"),
        ("or", "w", "C", "ER"),
        ("or", "C", "$", "ER"),
        ("or", "", "", "AO R"),
        ("ire", "", "", "AY ER"),
        ("ure", "", "$", "Y UH R"),
    ),
    *(("er", "", "V", "EH R"), ("er", "", "", "ER"), ("ir", "", "V", "IH R"), ("ir", "", "", "ER"), ("ur", "", "", "ER"), ("yr", "", "", "IH R")),
    *(
        ("ai", "", "", "EY"),
        ("ay", "", "", "EY"),
        ("au", "", "", "AO"),
        ("aw", "", "", "AO"),
        ("ea", "", "(d|th|lth|sur)", "EH"),
        ("ea", "", "", "IY"),
    ),
    *(("ee", "", "", "IY"), ("ei", "c", "", "IY"), ("ei", "", "", "AY"), ("eu", "", "", "Y UW"), ("ew", "[rlj]", "", "UW"), ("ew", "", "", "Y UW")),
    *(("ey", "", "$", "IY"), ("ey", "", "", "EY"), ("ie", "^C", "$", "AY"), ("ie", "", "", "IY"), ("oa", "", "", "OW"), ("oe", "", "$", "OW")),
    *(("oi", "", "", "OY"), ("oy", "", "", "OY"), ("oo", "", "[kd]", "UH"), ("oo", "", "", "UW"), ("ou", "", "s$", "AH"), ("ou", "", "", "AW")),
    *(
        ("ow", "", "(n|l|d|er)", "AW"),
        ("ow", "", "", "OW"),
        ("ue", "", "$", "UW"),
        ("ui", "", "", "UW"),
        ("ia", "", "$", "IY AH"),
        ("io", "", "", "IY OW"),
    ),
    *(
        ("a", "", "C[eiy]", "EY"),
        ("a", "", "$", "AH"),
        ("a", "w", "", "AA"),
        ("al", "", "[kl]", "AO L"),
        ("a", "^", "C", "AE"),
        ("al", "", "$", "AH L"),
    ),
    *(
        ("a", "CVC+", "C+$", "AH"),
        ("a", "", "", "AE"),
        ("e", "^C", "$", "IY"),
        ("e", "", "$", ""),
        ("e", "", "Ce$", "IY"),
        ("e", "C", "C(ful|ly|ment|less)", ""),
    ),
    *(("en", "C", "$", "AH N"), ("el", "C", "$", "AH L"), ("le", "C", "$", "AH L"), ("e", "^(r|d|b|pr)", "CV", "IH"), ("e", "", "", "EH")),
    *(
        ("i", "", "Ce(s|d|r)?$", "AY"),
        ("i", "^C?", "$", "AY"),
        ("i", "", "(nd|ld)$", "AY"),
        ("i", "", "V", "IY"),
        ("i", "", "$", "IY"),
        ("i", "", "", "IH"),
    ),
    *(
        ("o", "", "Ce(s|d)?$", "OW"),
        ("o", "", "$", "OW"),
        ("o", "", "(ld|lt|st$)", "OW"),
        ("on", "C", "$", "AH N"),
        ("o", "", "CV", "OW"),
        ("o", "", "", "AA"),
    ),
    *(
        ("u", "", "Ce$", "UW"),
        ("u", "^", "n[aeiou]", "Y UW"),
        ("u", "[rljs]", "CV", "UW"),
        ("u", "C", "CV", "Y UW"),
        ("u", "", "$", "UW"),
        ("u", "", "", "AH"),
    ),
    *(("y", "^", "V", "Y"), ("y", "^C", "$", "AY"), ("y", "", "$", "IY"), ("y", "", "Ce", "AY"), ("y", "V", "V", "Y"), ("y", "", "", "IH")),
    *(
        ("bb", "", "", "B"),
        ("dd", "", "", "D"),
        ("ff", "", "", "F"),
        ("ll", "", "", "L"),
        ("mm", "", "", "M"),
        ("nn", "", "", "N"),
        ("pp", "", "", "P"),
    ),
    *(("rr", "", "", "R"), ("tt", "", "", "T"), ("b", "", "", "B"), ("d", "", "", "D"), ("f", "", "", "F"), ("h", "V", "$", ""), ("h", "", "", "HH")),
    *(("k", "", "", "K"), ("l", "", "", "L"), ("m", "", "", "M"), ("n", "", "", "N"), ("p", "", "", "P"), ("r", "", "", "R"), ("t", "", "", "T")),
    *(("v", "", "", "V"), ("w", "V", "($|C)", ""), ("w", "", "", "W")),
)


def spoken_words(text: str) -> tuple[str, ...]:
    """What is spoken for one written word, as lower-case words of a to z and apostrophes; nothing for what has no sound here.

    Numbers are read out; accents are dropped; a word in another script, or of more letters than any word has, gives nothing.

    >>> spoken_words("café,"), spoken_words("1,250"), spoken_words("mother-in-law"), spoken_words("--")
    (('cafe',), ('one', 'thousand', 'two', 'hundred', 'fifty'), ('mother', 'in', 'law'), ())
    """
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").casefold())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    words: list[str] = []
    for part in re.findall(r"[a-z]+(?:'[a-z]+)*|\d+(?:\.\d+)?|[%&+@$€£=]", plain):
        if part[0].isdigit():
            words += _number(part)
        elif len(part) <= _MOST_LETTERS:
            words.append(_SYMBOLS.get(part, part))
    return tuple(words)


def _number(digits: str) -> list[str]:
    whole, _, fraction = digits.partition(".")
    if len(whole) > 12 or (len(whole) > 1 and whole[0] == "0"):
        return [_DIGITS[int(digit)] for digit in whole][:40]
    words = _whole_number(int(whole)) or ["zero"]
    return [*words, "point", *(_DIGITS[int(digit)] for digit in fraction[:40])] if fraction else words


def _whole_number(number: int) -> list[str]:
    words: list[str] = []
    for power in range(len(_THOUSANDS) - 1, -1, -1):
        group = number // 1000**power % 1000
        if not group:
            continue
        if group >= 100:
            words += [_DIGITS[group // 100], "hundred"]
        rest = group % 100
        if 10 <= rest < 20:
            words.append(_TEENS[rest - 10])
        else:
            words += [_TENS[rest // 10]] if rest >= 20 else []
            words += [_DIGITS[rest % 10]] if rest % 10 else []
        words += [_THOUSANDS[power]] if power else []
    return words


def phones(word: str) -> tuple[str, ...]:
    """How a word is probably spoken, in phones of the CMU dictionary.

    Args:
        word: of `spoken_words`: a to z and apostrophes.

    Returns:
        At least one phone; a word without vowel letter is spelled out.

    >>> phones("blanket"), phones("bbc")
    (('B', 'L', 'AE', 'NG', 'K', 'EH', 'T'), ('B', 'IY', 'B', 'IY', 'S', 'IY'))
    """
    letters = word.replace("'", "")
    if not re.search("[aeiouy]", letters):
        return tuple(phone for letter in letters for phone in _LETTER_NAMES[letter].split())
    found: list[str] = []
    place = 0
    while place < len(letters):
        for spelling, before, after, sound in _compiled_rules():
            end = place + len(spelling)
            if letters.startswith(spelling, place) and before.search(letters, 0, place) and after.match(letters, end):
                found += [phone for phone in sound.split() if not (found and found[-1] == phone)]
                place = end
                break
        else:
            place += 1
    return tuple(found) or tuple(phone for letter in letters for phone in _LETTER_NAMES[letter].split())


@cache
def _compiled_rules() -> tuple[tuple[str, "re.Pattern[str]", "re.Pattern[str]", str], ...]:
    def pattern(source: str) -> str:
        return source.replace("V", "[aeiouy]").replace("C", "[bcdfghjklmnpqrstvwxz]")

    return tuple((letters, re.compile(f"(?:{pattern(before)})$"), re.compile(pattern(after)), sound) for letters, before, after, sound in _RULES)
