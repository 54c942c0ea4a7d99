"""Many videos to a store: broken ones, interruption, labels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from made_clips import spoken_like, write_clip
from multigrain.data.store import Store
from multigrain.errors import DataError, VideoError
from multigrain.schema import Task
from multigrain.video.labels import read_labels
from multigrain.video.many import extract_store


@pytest.fixture
def sounds(tmp_path) -> list[Path]:
    folder = tmp_path / "sounds"
    folder.mkdir()
    return [write_clip(folder / f"{name}.wav", sound=spoken_like(2.0 + 0.2 * place), audio_codec="pcm_s16le") for place, name in enumerate("abcd")]


def test_a_broken_file_is_one_failure_and_the_others_are_in_the_store(tmp_path, sounds):
    broken = tmp_path / "sounds" / "broken.mp4"
    broken.write_text("no video")
    made = extract_store([sounds[0], broken, sounds[1]], tmp_path / "my.store", workers=0)
    assert [(failure.video.name, "cannot be read" in failure.reason) for failure in made.failures] == [("broken.mp4", True)]
    store = Store.open(made.store)
    assert store.split("test").ids == ("a_0", "b_0")
    assert store.features["audio"].extractor == "opensmile-egemapsv02-lld"
    assert store.features["audio"].rate_hz == 100.0
    assert [facts["file"] for facts in store.manifest["extra"]["videos"]] == ["a.wav", "b.wav"]
    assert "openSMILE" in store.manifest["licence"]
    utterance = store.stored["test"].utterance(1)
    seconds = utterance.step_times["audio"].seconds()
    assert len(seconds) == len(utterance.features["audio"])
    assert utterance.start_seconds <= seconds[0]
    write_clip(broken.with_suffix(".wav"), sound=spoken_like(2.0), audio_codec="pcm_s16le").rename(broken)
    again = extract_store([sounds[0], broken, sounds[1]], tmp_path / "my.store", workers=0, resume=True, overwrite=True)
    assert (again.num_reused, len(again.failures), len(again.videos)) == (2, 0, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.store", "sounds"]


def test_an_interrupted_extraction_is_gone_on_with(tmp_path, sounds):
    class Interrupted(Exception):
        pass

    def interrupt(video, reason):
        if video.name == "b.wav":
            raise Interrupted

    with pytest.raises(Interrupted):
        extract_store(sounds, tmp_path / "my.store", workers=0, on_done=interrupt)
    assert not (tmp_path / "my.store").exists()
    with pytest.raises(VideoError, match="Add --resume"):
        extract_store(sounds, tmp_path / "my.store", workers=0)
    write_clip(sounds[0], sound=spoken_like(4.0), audio_codec="pcm_s16le")  # changed since: it is done again
    made = extract_store(sounds, tmp_path / "my.store", workers=0, resume=True)
    assert made.num_reused == 1
    whole = extract_store(sounds, tmp_path / "other.store", workers=0)
    assert Store.open(made.store).fingerprint == Store.open(whole.store).fingerprint
    with pytest.raises(DataError, match="already a store"):
        extract_store(sounds, tmp_path / "my.store", workers=0)


def test_labels_make_a_training_store(tmp_path, sounds):
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,start,end,label,split,text,group\n"
        "a.wav,0.0,1.0,-2.5,train,it was bad,ann\na.wav,1.0,2.0,1,train,fine,ann\nsounds/b.wav,,,0.5,dev,,\nc.wav,0.5,1.5,3,test,great,\n"
    )
    labels = read_labels(table, sounds)
    made = extract_store(sounds, tmp_path / "my.store", labels=labels.lines, task=Task(), workers=0)
    store = Store.open(made.store)
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 2, "valid": 1, "test": 1}
    assert store.split("train").labels.flatten().tolist() == [-2.5, 1.0]
    assert store.split("train").groups == ("ann", "ann")
    first = store.stored["train"].utterance(0)
    assert (first.text, first.start_seconds, first.end_seconds, len(first.word_times)) == ("it was bad", 0.0, 1.0, 3)
    assert store.stored["valid"].utterance(0).end_seconds == pytest.approx(2.2)
    assert set(first.features) == {"text", "audio"}
    assert np.isfinite(store.features["audio"].mean).all()


def test_where_every_video_fails_there_is_no_store(tmp_path):
    made = extract_store([tmp_path / "nothing.mp4"], tmp_path / "my.store", workers=0)
    assert made.store is None
    assert "no such file" in made.failures[0].reason
    assert not (tmp_path / "my.store").exists()


def test_utterances_after_the_end_are_left_out_or_refused(tmp_path, sounds):
    table = tmp_path / "labels.csv"
    table.write_text("file,start,end,label,split\na.wav,0,1,1.4,train\na.wav,90,95,-2,test\na.wav,1,99,0.5,valid\nb.wav,,,2,test\n")
    labels = read_labels(table, sounds).lines
    made = extract_store(sounds, tmp_path / "my.store", labels=labels, workers=0)
    store = Store.open(made.store)
    assert {name: split.labels.flatten().tolist() for name, split in store.splits.items()} == {
        "train": [pytest.approx(1.4)],
        "valid": [0.5],
        "test": [2.0],
    }
    notes = " ".join(made.videos[0]["notes"])
    assert "1 of the 3 utterances begins after the video's end at 2.0 s and was left out (90 s)" in notes
    assert "1 utterance ends after the video's end at 2.0 s and was cut there (the first at 99 s)" in notes
    strict = extract_store(sounds, tmp_path / "strict.store", labels=labels, workers=0, is_strict=True)
    assert [(failure.video.name, "begins after its end" in failure.reason) for failure in strict.failures] == [("a.wav", True)]


def test_lines_without_text_take_what_the_transcript_says(tmp_path, sounds):
    (tmp_path / "a.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nfrom subtitles\n")
    table = tmp_path / "labels.csv"
    table.write_text("file,start,end,label,split,text\na.wav,0,1.2,1,train,\na.wav,1.2,2,-1,train,I hated it\nb.wav,,,2,test,\n")
    made = extract_store(
        sounds, tmp_path / "my.store", labels=read_labels(table, sounds).lines, transcripts={sounds[0]: tmp_path / "a.srt"}, workers=0
    )
    store = Store.open(made.store)
    assert [record["text"] for record in store.split("train").records] == ["from subtitles", "I hated it"]
    assert store.split("test").records[0]["text"] is None


def test_a_changed_video_is_known_by_its_content(tmp_path, sounds):
    broken = tmp_path / "sounds" / "broken.mp4"
    broken.write_text("no video")
    extract_store([*sounds, broken], tmp_path / "my.store", workers=0)
    before = sounds[0].stat()
    write_clip(sounds[0], sound=spoken_like(2.0)[::-1].copy(), audio_codec="pcm_s16le")
    os.utime(sounds[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(sounds[1])
    assert sounds[0].stat().st_size == before.st_size
    broken.unlink()
    made = extract_store(sounds, tmp_path / "my.store", workers=0, resume=True, overwrite=True)
    assert made.num_reused == 3
    whole = extract_store(sounds, tmp_path / "other.store", workers=0)
    assert Store.open(made.store).fingerprint == Store.open(whole.store).fingerprint


def test_a_script_needs_no_guard_and_runs_once(tmp_path, sounds):
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom multigrain.video.many import extract_store\n"
        "with open('ran.txt', 'a') as file: file.write('once ')\n"
        f"made = extract_store({[str(sound) for sound in sounds[:2]]!r}, 's.store', workers=2, with_faces=False)\n"
        "print(len(made.videos), made.failures)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout == "2 []\n", done.stderr
    assert (tmp_path / "ran.txt").read_text() == "once "


def test_who_speaks_is_kept_and_can_be_the_group(tmp_path, sounds):
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann Lee>so good\n\n00:01.000 --> 00:02.000\n<v SPEAKER_01>so bad\n")
    transcripts = {sounds[0]: tmp_path / "a.vtt"}
    made = extract_store(sounds[:2], tmp_path / "by_speaker.store", transcripts=transcripts, group="speaker", with_faces=False, workers=0)
    split = Store.open(made.store).split("test")
    assert split.groups == ("Ann Lee", "a/SPEAKER_01", "b")
    assert [record.get("speaker") for record in split.records] == ["Ann Lee", "SPEAKER_01", None]
    assert [split.utterance(index).speaker for index in range(3)] == ["Ann Lee", "SPEAKER_01", None]
    assert made.videos[0]["speakers"] == ["Ann Lee", "SPEAKER_01"]
    by_video = extract_store(sounds[:1], tmp_path / "by_video.store", transcripts=transcripts, with_faces=False, workers=0)
    assert Store.open(by_video.store).split("test").groups == ("a", "a")


def test_a_text_in_a_script_without_known_sounds_is_kept(tmp_path, sounds):
    (tmp_path / "a.txt").write_text("我讨厌这部电影。太糟糕了！")
    made = extract_store(sounds[:1], tmp_path / "my.store", transcripts={sounds[0]: tmp_path / "a.txt"}, with_faces=False, workers=0)
    records = Store.open(made.store).split("test").records
    assert "".join(record["text"] for record in records) == "我讨厌这部电影。太糟糕了！"
    assert all(time is None for record in records for time in record["word_times"])
    assert any("none of its words could be placed in time" in note for note in made.videos[0]["notes"])
