"""Who speaks, where names stand before the words: names that come again, and neither what is judged nor how."""

import pytest

from multigrain.video.limits import Limits
from multigrain.video.speakers import with_speakers
from multigrain.video.spoken import Turn
from multigrain.video.transcript import read_transcript


def said(*cues, is_continued=False):
    """Speaker and text of each line of cues, whose lines are parted by a line break."""
    named = with_speakers([[Turn(line) for line in cue.split("\n")] for cue in cues], is_continued=is_continued)
    return [(turn.speaker, turn.text) for turns in named for turn in turns]


REVIEWS = {
    "judgements": ("Good: the music was wonderful.", "Bad: the ending.", "Terrible: the acting.", "I was bored."),
    "judgements again": ("Good: the music.", "Bad: the ending.", "Good: the cast.", "Bad: the rest."),
    "topics": ("Cinematography: gorgeous.", "Pacing: slow.", "Soundtrack: awful.", "Favourite: the dog."),
    "a topic beside unknown words": ("Gaffering: gorgeous.", "Pacing: slow.", "Foley: awful."),
    "Chinese": ("结论：我讨厌这部电影。", "优点：音乐。", "缺点：结局。"),
    "two words": ("Conclusion: bad", "My Verdict: bad", "Overall Rating: bad", "Final Score: two", "Best Scene: the dog"),
    "times of day": ("At 10: I hated it.", "At 10: never", "It was so."),
    "a title": ("The Godfather: masterpiece.", "The Godfather: boring.", "The Godfather: long."),
    "a sentence before": ("Yes. Warning: it is long.", "Yes. Warning: it is bad.", "Yes. Warning: no."),
    "a number": ("2001: a film.", "1984: a book.", "It was fine."),
    "one name once": ("Jaws: great.", "I liked it."),
    "one name twice in many": ("Jaws: great.", "I liked it.", "Very much.", "Jaws: bad.", "So."),
    "small letters once": ("ann: I hate it.", "bob: I love it."),
    "small words": ("so: no", "well: yes", "so: I do", "well: fine"),
    "a speaker that is judged": ("Speaker bad: it crackles.", "Voice bad: it is thin."),
    "a verb": ("It had one thing: heart.", "I love you: not"),
}


@pytest.mark.parametrize("kind", REVIEWS)
def test_headings_are_no_speakers(kind):
    assert said(*REVIEWS[kind]) == [(None, cue) for cue in REVIEWS[kind]]


NAMED = {
    "repeated": ("Ann: I hate it.|Bob: I love it.|Ann: Why?|Bob: Dunno.", "Ann Bob Ann Bob"),
    "small letters": ("ann: I hate it.|bob: I love it.|ann: Why?|bob: Dunno.", "ann bob ann bob"),
    "capitals": ("ANN (V.O.): I hate it.|DR. SMITH: I love it.|ANN (ON PHONE): Why?|JEAN-LUC: Dunno.", "ANN|DR. SMITH|ANN|JEAN-LUC"),
    "pronouns": ("Ann Lee (she/her): I hate it.|Ann Lee: I love it.", "Ann Lee|Ann Lee"),
    "where from": ("Bob O'Brien (Acme): I hate it.|Ann Lee (Bolt): I love it.", "Bob O'Brien (Acme)|Ann Lee (Bolt)"),
    "manner": ("Ann (laughing): I hate it.|Bob: I love it.|Ann: No.", "Ann Bob Ann"),
    "full names once": ("Jane Doe: I loved it.|John Smith: It was awful.", "Jane Doe|John Smith"),
    "first names once": ("Ann: it was good|Bo: it was awful", "Ann Bo"),
    "names that are words too": ("Mark: I hate it.|Will: I love it.|Mark: Why?|May: So.|Will: No.", "Mark Will Mark May Will"),
    "titles": ("Mr. Brown: hi|J. K. Rowling: hello", "Mr. Brown|J. K. Rowling"),
    "Chinese": ("王伟：我讨厌这部电影。|李娜：我喜欢。", "王伟 李娜"),
    "letters": ("Q: Why?|A: So.|Q: When?|A: Now.", "Q A Q A"),
    "the only one": ("Ann: I hate it.|Ann: So much.|Ann: Yes.", "Ann Ann Ann"),
    "numbers with times": ("[Speaker 1, 00:12]: hmm|[Speaker 2 - 0:14] so", "Speaker 1|Speaker 2"),
    "in brackets": ("[Ann] I hate it.|[Bob] I love it.|[Ann] Why?|[Bob] So.", "Ann Bob Ann Bob"),
    "a number beside names": ("JOHN: I loved it.|Speaker 2: It was awful.|[SPEAKER_01]: I agree.", "JOHN|Speaker 2|SPEAKER_01"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_names_are_speakers(kind):
    cues, names = NAMED[kind]
    found = said(*cues.split("|"))
    assert [name for name, _ in found] == names.split("|" if "|" in names else " ")
    assert all(text in cue for (_, text), cue in zip(found, cues.split("|"), strict=True))
    assert not any(":" in text or "[" in text for _, text in found)


def test_a_role_that_comes_twice_is_one():
    cues = ("Interviewer: why?", "Well, I liked it.", "Interviewer: really?", "Yes. Warning: it is long.", "It had one thing: heart.")
    assert [speaker for speaker, _ in said(*cues)] == ["Interviewer", None, "Interviewer", None, None]


def test_a_first_line_that_is_a_name_again_and_again():
    cues = ("Ann Lee\nI hated it.", "Bob\nI loved it.", "Ann Lee\nWhy?", "Bob\nSo.")
    assert said(*cues) == [("Ann Lee", "I hated it."), ("Bob", "I loved it."), ("Ann Lee", "Why?"), ("Bob", "So.")]
    lines = ("I think\nit is good.", "I think\nit is bad.", "New York\nwas fine.", "So\nit goes.")
    assert all(speaker is None for speaker, _ in said(*lines))


def test_what_is_no_name_goes_on_to_no_later_cue(tmp_path):
    path = tmp_path / "a.srt"
    times = "00:00:0{},000 --> 00:00:0{},500"
    lines = ["My Verdict: bad", "Overall Rating: bad", "and so on", "Final Score: two"]
    path.write_text("\n\n".join(f"{number}\n{times.format(number, number)}\n{line}" for number, line in enumerate(lines, 1)))
    found = read_transcript(path, Limits())
    assert ([(cue.speaker, cue.text) for cue in found.cues], found.notes) == ([(None, line) for line in lines], [])
