"""Which parts of a line describe a sound or a manner, such as [music], (laughs) and *sighs*, and are not spoken.

Brackets, parentheses and asterisks also hold words that somebody says: "*not* really", "(I mean it)". So only what is known to be a
description is one.
"""

import re
from collections.abc import Iterator

from multigrain.video.spoken import listed

_PART = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|［[^［］]*］|【[^【】]*】|\([^()]*\)|（[^（）]*）|\*[^*]{1,60}\*|</?[a-zA-Z][\w' -]{0,40}>")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_VERBS = listed(
    "laugh sigh cough scream groan moan growl grunt gasp whimper yawn wheez sneez sniff sniffl snort snor shout yell whisper mumbl mutter",
    "murmur babbl chuckl giggl guffaw snicker cackl sob cry weep wail shriek squeal hum humm sing chant whistl cheer applaud clap clapp boo",
    "hiss beep bleep ring chim ding knock bang slam slamm creak clatter rattl rustl thud thump crash smash shatter bark howl meow chirp tweet",
    "caw honk roar rumbl buzz whir whirr whoosh swoosh click clang clink splash drip dripp explod gulp swallow exhal inhal pant breath chatter",
    "sputter stammer stutter gurgl burp belch hiccup fart kiss tsk scoff hoot vocaliz vocalis ululat sizzl crackl crunch squeak screech toll",
    "footstep gunshot gunfir speak",
)
_NOUNS = listed(
    "spoke wept rang throat cries cried laughter applause music musical song songs noise noises sound sounds silence silent static feedback",
    "inaudible unintelligible indistinct incomprehensible crosstalk overlapping pause pauses paused beat jingle melody tune instrumental",
    "explosion explosions thunder siren sirens ringtone alarm gunshots footsteps chatter chattering ovation cheering blank_audio blank redacted",
    "censored profanity expletive sic foreign sfx bgm interjection interposing voiceover muffled vocalizing haha ahem",
)
_BESIDE = listed(
    "a an and as at by for from in into of off on out over the to up with while he she they his her their someone somebody everyone everybody",
    "all both man men woman women boy boys girl girls child children kid kids baby people person crowd audience group host guest speaker",
    "speakers narrator interviewer voice voices tv television radio phone telephone cell mobile door doors dog dogs cat cats bird birds horse",
    "car cars engine truck train plane helicopter glass water wind rain floor clock bell bells gun gunfire horn horns machine keyboard paper",
    "papers chair table camera microphone mic throat nose teeth lips tongue hands fingers head clears clear clearing cleared blows blowing",
    "takes deep distant distance distorted background outside inside nearby offscreen screen away again together continues continue continuing",
    "stops stop stopped starts start begins ends fades fading fade swells swelling playing plays play played passing approaching opening",
    "closing opens closes theme intro outro end dramatic upbeat tense soft gentle loud quiet slow fast sad happy cheerful romantic ominous",
    "suspenseful eerie mysterious melancholy solemn lively rock pop jazz piano guitar violin drum drums organ orchestral orchestra classical",
    "electronic techno ambient choir audio clip video recording recorded live mock nervous heavy heavily light short long brief high low",
    "pitched wild mild english french german spanish italian chinese mandarin cantonese japanese korean arabic russian portuguese hindi latin",
    "dutch turkish greek hebrew polish language native words word",
)
_SPEECH = listed(
    "i i'm i've i'd i'll me my mine myself you your yours you're you've we us our ours we're it it's its is isn't was wasn't are aren't were",
    "weren't am be been not no nor never none nothing nobody but so very really just too also only quite actually do don't did didn't does",
    "doesn't have haven't has hasn't had hadn't will won't would wouldn't could couldn't can can't should shouldn't must may might yes yeah yep",
    "nope ok okay oh what why who how when where this that that's these those there here he's she's they're please thank thanks if because than",
    "then love loved hate hated like liked good great bad awful terrible wonderful boring bored best worst better worse mean meant think",
    "thought know knew say said kind sort maybe amazing interesting disappointing exciting annoying charming stunning moving touching confusing",
    "depressing everything something anything being having going doing saying making during",
)
_FOREIGN = listed(
    "musik applaus beifall lachen gelächter lacht seufzt seufzen husten hustet räuspert stille pause unverständlich musique applaudissements",
    "rires rire soupir soupire inaudible música musica aplausos risas risa ríe suspira suspiro silencio silêncio inaudível risos aplauso",
    "applausi applauso risate ride sospira muziek gelach zucht stilte muzyka brawa śmiech oklaski music müzik alkış kahkaha музыка смех смеётся",
    "смеется аплодисменты вздыхает вздох 音乐 音樂 笑声 笑聲 掌声 掌聲 鼓掌 大笑 笑 叹气 嘆氣 音楽 拍手 笑い 笑い声 ため息 음악 박수 웃음 한숨",
    "ดนตรี เสียงหัวเราะ เสียงปรบมือ nhạc संगीत",
    "तालियाँ हंसी موسيقى ضحك تصفيق موسیقی خنده μουσική γέλια χειροκρότημα מוזיקה צחוק",
)
_SOUND = re.compile(rf"(?:{'|'.join(_VERBS)})(?:s|es|e|ed|d|bed|bing|ing|ings|ter|y)?|(?:{'|'.join(_NOUNS)})")
_BEGIN_A_PART = listed("a an the his her their with by for of at from to as and")  # of a sentence, where no verb follows
_MOST_WORDS = 8
_IN_LANGUAGE = re.compile(r"(?:speaks |speaking |in )(?-i:[A-Z])[a-z]+", re.IGNORECASE)
_ONLY_SIGNS = re.compile(r"[\W_]*|\d{1,2}(?::\d{2}){1,2}(?:[.,]\d+)?")


def descriptions(line: str) -> Iterator[re.Match[str]]:
    """The parts of a line that describe what is heard, brackets included, in their order.

    >>> [part[0] for part in descriptions("(laughs) I *really* liked it (mostly). [tense music] (I mean it) *sighs*")]
    ['(laughs)', '[tense music]', '*sighs*']
    """
    around = _PART.sub(" ", line)
    is_mixed_case = around.upper() != around or not any(map(str.isalpha, around))
    for part in _PART.finditer(line):
        if _is_description(part[0], is_mixed_case):
            yield part


def is_description(part: str) -> bool:
    """Whether a part in brackets, parentheses or asterisks, these included, describes what is heard."""
    return _PART.fullmatch(part) is not None and _is_description(part, is_mixed_case=True)


def _is_description(part: str, is_mixed_case: bool) -> bool:
    content = part.strip("[]{}()［］【】（）*<>/ \u266a\u266b")
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(content)]
    is_bracket = part[0] in "[{［【"
    if is_bracket and _ONLY_SIGNS.fullmatch(content):
        return True
    if not words or len(words) > _MOST_WORDS:
        return False
    if all(word in _FOREIGN for word in words):
        return True
    if any(word in _SPEECH for word in words):
        return False
    sounds = [word for word in words if _SOUND.fullmatch(word)]
    if words[0] in _BEGIN_A_PART and all(word in _NOUNS for word in sounds):
        return False
    if sounds and (is_bracket or all(word in _BESIDE or word in sounds or word.endswith("ly") for word in words)):
        return True
    if part[0] != "<" and is_mixed_case and len(words) > 1 and content.upper() == content != content.lower():
        return True
    return is_bracket and (_IN_LANGUAGE.fullmatch(content) is not None or any(len(word) > 5 and word.endswith("ing") for word in words))
