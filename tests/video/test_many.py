"""Many videos to a store: broken ones, interruption, labels."""

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
    made = extract_store(sounds, tmp_path / "my.store", labels=labels, task=Task(), workers=0)
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


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("file,start,end,label\na.wav,0,1,1", "no column 'split'"),
        ("file,start,end,label,split", "lists no utterance"),
        ("file,start,end,label,split\n../../etc/passwd,0,1,1,train", "line 2: the file '../../etc/passwd' is none of the 4 given videos"),
        ("file,start,end,label,split\n/etc/a.wav,0,1,1,train", "is none of the 4 given videos"),
        ("file,start,end,label,split\na.wav,0,1,1,training", "the split is 'training'"),
        ("file,start,end,label,split\na.wav,2,1,1,train", "ends at 1 s and begins at 2 s"),
        ("file,start,end,label,split\na.wav,0,1,nan,train", "the label is 'nan'"),
        ("file,start,end,label,split\na.wav,-1,1,0,train", "start is '-1'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path, sounds, lines, message):
    (tmp_path / "labels.csv").write_text(lines)
    with pytest.raises(VideoError, match=message):
        read_labels(tmp_path / "labels.csv", sounds)


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
