"""Every option of `multigrain extract`, as a user types it: which transcript, whose utterances, which track, and tables of labels."""

from pathlib import Path

import numpy as np
import pytest

from made_clips import spoken_like, write_clip, write_tracks
from multigrain.cli import main
from multigrain.data.store import Store
from multigrain.video import many
from multigrain.video.workers import run_tasks

SAID = {"en": "well i liked it", "de": "ja das war schön"}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The work is done here, since a process takes seconds to start; tests of worker processes are in test_extract_command.py."""
    monkeypatch.setattr(many, "run_tasks", lambda work, tasks, workers, *rest: run_tasks(work, tasks, 0, *rest))
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Folders of clips, transcripts and tables that the tests read only."""
    place = tmp_path_factory.mktemp("extract")
    for folder in ("talks", "transcripts", "speakers", "tables", "MELD/train_splits_complete", "MELD/dev_splits_complete", "SIMS/video_0001"):
        (place / folder).mkdir(parents=True)
    sound = spoken_like(1.2)
    for name in ("talks/ann.wav", "talks/ben.wav", "talks/cat.wav"):
        write_clip(place / name, sound=sound, audio_codec="pcm_s16le")
    for name in ("notes.docx", "picture.jpg"):
        (place / "talks" / name).write_bytes(b"nothing that is heard")
    for language, text in SAID.items():
        for name in ("ann", "ben", "zoe"):
            (place / "transcripts" / f"{name}.{language}.srt").write_text(f"1\n00:00:00,100 --> 00:00:01,100\n{text}\n", encoding="utf-8")
    cues = "00:00.000 --> 00:00.600\n<v Ann>so it was\n\n00:00.600 --> 00:01.200\n<v SPEAKER_01>no it was not\n"
    (place / "speakers" / "ann.vtt").write_text(f"WEBVTT\n\n{cues}")
    for name in ("MELD/train_splits_complete/dia0_utt1", "MELD/dev_splits_complete/dia0_utt1", "SIMS/video_0001/0001", "SIMS/video_0001/0002"):
        write_clip(place / f"{name}.mp4", sound=sound)
    return place


def extract(out: Path, *arguments: object) -> int:
    return main(["extract", *map(str, arguments), "--out", str(out / "my.store")])


def records(out: Path) -> list[tuple]:
    """(split, id, group, label, text) of each utterance."""
    store = Store.open(out / "my.store")
    return [
        (name, record["id"], record["group"], None if split.labels is None else split.labels[number].item(), record["text"])
        for name, split in store.splits.items()
        for number, record in enumerate(split.records)
    ]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def fails(capsys, code: int, expected: int = 2) -> str:
    printed = capsys.readouterr()
    assert code == expected
    assert "Traceback" not in printed.err
    return " ".join(printed.err.split())


# Which transcript -------------------------------------------------------------------------------------------------------


def test_the_asked_language_and_what_is_left_over(place, tmp_path, capsys):
    assert extract(tmp_path, place / "talks", "--transcript", place / "transcripts", "--language", "de") == 0
    printed = capsys.readouterr()
    assert [(line[0], line[4]) for line in records(tmp_path)] == [("test", SAID["de"]), ("test", SAID["de"]), ("test", None)]
    said, heard = lines(printed.err), lines(printed.out)
    assert said[0].startswith("Note: 2 files of the folders left out by ending (.docx 1, .jpg 1): notes.docx, picture.jpg.")
    assert said[-3:] == [
        "Note: Without a transcript: 1 (talks/cat.wav).",
        "Note: Transcripts that belong to none of the videos: 2 (transcripts/zoe.de.srt, transcripts/zoe.en.srt).",
        "Note: Transcripts in other languages, not used: 2 (transcripts/ann.en.srt, transcripts/ben.en.srt).",
    ]
    files = [line for line in heard if line.startswith(("ann.wav:", "ben.wav:", "cat.wav:"))]
    assert [line.partition(":")[0] for line in files] == ["ann.wav", "ben.wav", "cat.wav"]
    assert files[0].startswith("ann.wav: 1.2 s, 1 utterance, face none, voice ")
    assert [line.rpartition("words from ")[2] for line in files] == ["subtitles", "subtitles", "none"]
    assert max(map(len, files)) < 120
    without_picture = [line for line in heard if "has no picture" in line]
    assert without_picture == ["Note: The file has no picture: there is no face. (and so for 3 files: ann.wav, ben.wav, cat.wav)"]
    assert heard[-1].startswith(f"{tmp_path / 'my.store'}: 3 utterances of 3 of 3 videos.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--transcript", "{place}/transcripts"], "has transcripts in several languages: de (German), en (English). Choose one with --language"),
        (["--transcript", "{place}/transcripts/ann.de.srt", "--language", "de"], "chooses among the transcripts of a folder"),
        (["--language", "de"], "chooses among the transcripts of a folder"),
        (["--transcript", "{place}/speakers", "--group", "people"], "--group is 'people'; expected video or speaker"),
        (["--column", "file=clip"], "there is none. Give it with --labels"),
        (["--label-value", "good=1"], "there is none. Give it with --labels"),
        (["--strict"], "there is none. Give it with --labels"),
        (["--labels", "{place}/tables", "--column", "file"], "--column file: expected NAME=VALUE"),
        (["--labels", "{place}/tables", "--label-value", "good=very"], "Expected LABEL=NUMBER"),
        (["--audio-track", "fra"], "has no track of sound 'fra'; it has 1 (no language)"),
    ],
)
def test_what_does_not_go_together_is_one_paragraph(place, tmp_path, capsys, arguments, message):
    code = extract(tmp_path, place / "talks" / "ann.wav", *(argument.format(place=place) for argument in arguments))
    assert message in fails(capsys, code)
    assert not (tmp_path / "my.store").exists()


def test_who_speaks_is_the_group(place, tmp_path):
    given = (place / "talks" / "ann.wav", "--transcript", place / "speakers")
    assert extract(tmp_path, *given) == 0
    assert [line[2] for line in records(tmp_path)] == ["ann", "ann"]
    assert extract(tmp_path, *given, "--group", "speaker", "--overwrite") == 0
    assert [(line[2], line[4]) for line in records(tmp_path)] == [("Ann", "so it was"), ("ann/SPEAKER_01", "no it was not")]


def test_a_track_by_number_and_by_language(place, tmp_path, capsys):
    path = write_tracks(tmp_path / "dubbed.mka", [(spoken_like(1.2)[None], "eng"), (spoken_like(1.2)[None] * (np.arange(19_200) < 8_000), "ger")])
    found = {}
    for name in ("1", "en", "2", "de"):
        assert extract(tmp_path, path, "--audio-track", name, "--overwrite") == 0
        number = "1" if name in ("1", "en") else "2"
        assert f"The file has 2 tracks of sound: 1 (eng), 2 (ger); {number} was used." in capsys.readouterr().out
        found[name] = Store.open(tmp_path / "my.store").manifest["extra"]["videos"][0]["voice_share"]
    assert found["1"] == found["en"] > 0.3
    assert found["2"] == found["de"] < found["1"]
    said = fails(capsys, extract(tmp_path, path, "--audio-track", "3", "--overwrite"))
    assert "has no track of sound '3'; it has 1 (eng), 2 (ger)" in said


# Tables of labels -------------------------------------------------------------------------------------------------------


TABLE = """clip;from;to;feeling;fold;speech
ann;0,1;0:00:01;good;train;it was good
ben;;;-2,5;dev;
cat;0;1;1,5;test;
cat;5;6;0;test;
zoe;0;1;0;test;
"""
COLUMNS = [word for name in ("file=clip", "start=from", "end=to", "label=feeling", "split=fold", "text=speech") for word in ("--column", name)]


def test_a_table_with_other_names_words_and_what_is_not_there(place, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text(TABLE)
    given = (place / "talks", "--labels", tmp_path / "labels.csv", *COLUMNS, "--label-value", "good=4", "--range", "-5", "5")
    assert extract(tmp_path, *given) == 0
    printed = capsys.readouterr()
    assert records(tmp_path) == [
        ("train", "ann_0", "ann", 4.0, "it was good"),
        ("valid", "ben_0", "ben", -2.5, None),
        ("test", "cat_0", "cat", 1.5, None),
    ]
    task = Store.open(tmp_path / "my.store").task
    assert (task.minimum, task.maximum) == (-5.0, 5.0)
    assert "1 line of labels.csv names none of the 3 given videos and was left out: line 6 (zoe)." in printed.err
    assert "1 of the 2 utterances begins after the video's end at 1.2 s and was left out (5 s)" in printed.out
    ann = Store.open(tmp_path / "my.store").stored["train"].utterance(0)
    assert (ann.start_seconds, ann.end_seconds) == (0.1, 1.0)


def test_strict_refuses_what_is_not_there(place, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text(TABLE)
    given = (place / "talks", "--labels", tmp_path / "labels.csv", *COLUMNS, "--label-value", "good=2")
    assert "line 6: the file 'zoe' is none of the 3 given videos" in fails(capsys, extract(tmp_path, *given, "--strict"))
    (tmp_path / "labels.csv").write_text(TABLE.replace("zoe;0;1;0;test;\n", ""))
    said = fails(capsys, extract(tmp_path, *given, "--strict"), expected=1)
    assert "cat.wav: 1 utterance begins after its end at 1.20 s" in said
    assert [line[1] for line in records(tmp_path)] == ["ann_0", "ben_0"]


def test_melds_own_tables_become_a_training_store(place, tmp_path, capsys):
    heading = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    for name, sentiment, dialogue in (("train", "positive", 0), ("dev", "negative", 0), ("dev", "neutral", 7)):
        line = f'{dialogue},Well said you,Ann,joy,{sentiment},{dialogue},1,4,7,"00:20:57,256","00:21:00,049"\n'
        path = tmp_path / "tables" / f"{name}_sent_emo.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.is_file() else heading) + line)
    assert extract(tmp_path, place / "MELD", "--labels", tmp_path / "tables") == 0
    printed = capsys.readouterr()
    assert [(line[0], *line[2:]) for line in records(tmp_path)] == [
        ("train", "train-dia0", 1.0, "Well said you"),
        ("valid", "valid-dia0", -1.0, "Well said you"),
    ]
    assert "Note: The table is that of MELD: its times are those of the episodes" in printed.err
    assert "line 3 (dia7_utt1)" in printed.err
    store = Store.open(tmp_path / "my.store")
    assert (store.task.minimum, store.task.maximum) == (-1.0, 1.0)
    assert store.stored["train"].utterance(0).end_seconds == pytest.approx(1.2, abs=0.1)


def test_sims_own_table_becomes_a_training_store(place, tmp_path, capsys):
    heading = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
    text = "video_0001,0001,我不想嫁给李茶,-0.8,0,0,0,Negative,train\nvideo_0001,2,就是,0.6,0,0,0,Positive,valid\n"
    (tmp_path / "label.csv").write_text(heading + text, encoding="utf-8-sig")
    assert extract(tmp_path, place / "SIMS", "--labels", tmp_path / "label.csv") == 0
    printed = capsys.readouterr()
    assert [(*line[::2], line[3]) for line in records(tmp_path)] == [
        ("train", "video_0001", "我不想嫁给李茶", pytest.approx(-0.8)),
        ("valid", "video_0001", "就是", pytest.approx(0.6)),
    ]
    store = Store.open(tmp_path / "my.store")
    assert len(store.split("train").records[0]["words"]) > 2
    assert (store.task.minimum, store.task.maximum) == (-1.0, 1.0)
    assert "The table is that of SIMS" in printed.err
    assert "taken for their range, as SIMS has it" in printed.err
