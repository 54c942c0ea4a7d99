"""Tables of labels as people have them: other names, clocks, words, missing files, and the published ones as they are."""

from pathlib import Path

import pytest

from multigrain.errors import VideoError
from multigrain.video.labels import Labels, read_labels, unique_names

VIDEOS = [Path("/v") / name for name in ("a.wav", "b.wav", "c.wav", "d.wav")]


def read(folder: Path, text: str | bytes, videos: list[Path] = VIDEOS, **options) -> Labels:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path, videos, **options)


def flat(labels: Labels) -> dict[str, list[tuple[float, str]]]:
    return {video.name: [(line.label, line.split) for line in lines] for video, lines in labels.lines.items()}


@pytest.mark.parametrize(
    "text",
    [
        "file,start,end,label,split\na.wav,,,1.4,train\nb.wav,,,-2,test\n",
        "file,start,end,label,split\r\na.wav,,,1.4,train\r\nb.wav,,,-2,test\r\n",
        "\ufeffFile,Start,End,Label,Split\na.wav,,,1.4,Train\nb.wav,,,-2,TEST\n",
        "file;start;end;label;split\na.wav;;;1,4;train\nb.wav;;;-2;test\n",
        "file\tlabel\tsplit\na.wav\t1.4\ttrain\nb.wav\t-2\ttest\n",
        "file,start,end,label,split\na.wav,,,1.4,train\n,,,,\n\nb.wav,,,-2,test\n",
        "file,start,end,label,split\na.wav,,,1.4,train \nb.wav ,,,-2,test\n\n",
        "file,start,end,label,split\na.wav,,,1.4,train, \nb.wav,,,-2,test,,\n",
        "file,label,split\na,1.4,train\nv\\b.wav,-2,test\n",
    ],
    ids=["plain", "crlf", "capitals", "semicolons", "tabs", "blank lines", "spaces", "empty cells beyond", "no ending and backslashes"],
)
def test_tables_as_they_are_saved(tmp_path, text):
    assert flat(read(tmp_path, text)) == {"a.wav": [(1.4, "train")], "b.wav": [(-2.0, "test")]}


def test_times_by_the_clock(tmp_path):
    labels = read(tmp_path, 'file,start,end,label,split\na.wav,00:00:00.5,"00:01:02,250",1,train\nb.wav,1:02,2:03:04,0,test\nc.wav,12.5,13,0,test\n')
    places = [(line.segment.start, line.segment.end) for lines in labels.lines.values() for line in lines]
    assert places == [(0.5, 62.25), (62.0, 7384.0), (12.5, 13.0)]


def test_other_names_and_words(tmp_path):
    text = "clip,from,who,sentiment,set\na,0.5,ann,positive,train\nb,0,ben,Negative,dev\n"
    labels = read(
        tmp_path,
        text,
        columns={"file": "clip", "start": "from", "label": "sentiment", "split": "set", "group": "{who}-{set}"},
        label_values={"positive": 2.0, "negative": -2.0},
    )
    assert flat(labels) == {"a.wav": [(2, "train")], "b.wav": [(-2, "valid")]}
    assert labels.lines[VIDEOS[0]][0].group == "ann-train"


def test_what_is_not_there_is_counted_and_named_or_refused(tmp_path):
    text = "file,label,split\na.wav,1.4,train\nnone.wav,0,valid\nx/b.wav,0,valid\nc.wav,0,valid\n"
    labels = read(tmp_path, text)
    assert set(flat(labels)) == {"a.wav", "c.wav"}
    assert labels.num_missing == 2
    assert "2 lines of labels.csv name none of the 4 given videos and were left out: line 3 (none.wav), line 4 (x/b.wav)." in labels.notes
    assert "2 of the 4 videos have no line in labels.csv and were left out: b.wav, d.wav." in labels.notes
    with pytest.raises(VideoError, match=r"line 3: the file 'none.wav' is none of the 4 given videos"):
        read(tmp_path, text, is_strict=True)
    with pytest.raises(VideoError, match="none of its 1 lines names one of the 4 given videos"):
        read(tmp_path, "file,label,split\nzz.wav,1,train\n")


def test_text_in_some_lines(tmp_path):
    labels = read(tmp_path, "file,label,split,text\na.wav,1,train,\nb.wav,1,test,I hated it\n")
    assert [lines[0].segment.text for lines in labels.lines.values()] == [None, "I hated it"]


def test_overlapping_lines_are_noted(tmp_path):
    labels = read(tmp_path, "file,start,end,label,split\na.wav,0,2,1,train\na.wav,1,2.5,0,train\n")
    assert any("1 utterance begins before the previous one has ended: a.wav" in note for note in labels.notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("file,start,end,label\na.wav,0,1,1", "no column 'split'.*--column split=COLUMN.*one table for each split"),
        ("clip,label,split\na.wav,1,train", "no column 'file'.*--column file="),
        ("file,start,end,label,split", "lists no utterance"),
        ("", "is empty"),
        ("file,start,end,label,split\n../../etc/passwd,0,1,1,train", "none of its 1 lines names one of the 4 given videos"),
        ("file,start,end,label,split\n/etc/a.wav,0,1,1,train", "none of its 1 lines names one"),
        ("file,start,end,label,split\na.wav,0,1,1,training", "line 2: the split is 'training'"),
        ("file,start,end,label,split\na.wav,2,1,1,train", "ends at 1 s and begins at 2 s"),
        ("file,start,end,label,split\na.wav,0,1,nan,train", "the label is 'nan'"),
        ("file,start,end,label,split\na.wav,0,1,positive,train", "--label-value positive=NUMBER"),
        ("file,start,end,label,split\na.wav,-1,1,0,train", "start is '-1'; expected seconds, such as 12.5, or 00:01:12.5"),
        ("file,start,end,label,split\na.wav,0,1,5,train", "1 label is outside the range -3 to 3, the first 5.*--range"),
        ("file,start,end,label,split\na.wav,0,1,1,train\na.wav,0,1,2,train", "2 lines label the same part of a.wav, from 0 s to 1 s"),
        ("file,start,end,label,split\n,0,1,1,train", "no file is named"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path, lines, message):
    with pytest.raises(VideoError, match=message):
        read(tmp_path, lines)


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(VideoError, match=r"has no column 'clips'.*Did you mean 'clip'"):
        read(tmp_path, "clip,label,split\na.wav,1,train\n", columns={"file": "clips"})
    with pytest.raises(VideoError, match="unknown column"):
        read(tmp_path, "clip,label,split\na.wav,1,train\n", columns={"fil": "clip"})


def test_a_table_that_is_not_in_utf_8_is_read_and_noted(tmp_path):
    labels = read(tmp_path, b"file,label,split,text\na.wav,1,train,it\x92s nice\n")
    assert labels.lines[VIDEOS[0]][0].segment.text in ("it’s nice", "it's nice")
    assert "is not in UTF-8 (line 2)" in labels.notes[0]
    with pytest.raises(VideoError, match="line 2: byte 30 is not UTF-8"):
        read(tmp_path, b"file,label,split,text\na.wav,1,\x81\n")


def test_melds_own_tables(tmp_path):
    """One table a split; clip names that repeat in each split's folder; times of the episode."""
    heading = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    for name, sentiment in (("train", "positive"), ("dev", "neutral"), ("test", "negative")):
        (tmp_path / f"{name}_sent_emo.csv").write_text(f'{heading}1,Well said,Ann,joy,{sentiment},0,1,4,7,"00:20:57,256","00:21:00,049"\n')
    folders = ("train_splits", "dev_splits_complete", "output_repeated_splits_test")
    videos = [Path("/MELD.Raw") / folder / "dia0_utt1.mp4" for folder in folders]
    labels = read_labels(tmp_path, videos)
    assert [(lines[0].split, lines[0].label, lines[0].group) for lines in (labels.lines[video] for video in videos)] == [
        ("train", 1.0, "train-dia0"),
        ("valid", 0.0, "valid-dia0"),
        ("test", -1.0, "test-dia0"),
    ]
    line = labels.lines[videos[0]][0]
    assert (line.segment.start, line.segment.end, line.segment.text) == (None, None, "Well said")
    assert labels.label_range == (-1.0, 1.0)
    assert "The table is that of MELD" in labels.notes[0]
    by_emotion = read_labels(tmp_path, videos, columns={"label": "Emotion"}, label_values={"joy": 0.5})
    assert by_emotion.lines[videos[0]][0].label == 0.5


@pytest.mark.parametrize(("label", "expected"), [("-0.8", (-1.0, 1.0)), ("2.4", (-3.0, 3.0))], ids=["SIMS", "MOSI and MOSEI"])
def test_the_table_of_sims_and_of_mmsas_mosi_and_mosei(tmp_path, label, expected):
    text = (
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        f"video_0001,0001,well,{label},0,0,0,Negative,train\nvideo_0001,2,good,0.6,,,,Positive,valid\n-3g5yACwYnA,10,ok,0.2,,,,Positive,test\n"
    )
    videos = [Path("/Raw/video_0001/0001.mp4"), Path("/Raw/video_0001/0002.mp4"), Path("/Raw/-3g5yACwYnA/10.mp4"), Path("/Raw/video_0002/0001.mp4")]
    labels = read(tmp_path, text, videos)
    assert [labels.lines[video][0].split for video in videos[:3]] == ["train", "valid", "test"]
    assert labels.lines[videos[0]][0].group == "video_0001"
    assert labels.label_range == expected
    assert any("1 of the 4 videos has no line" in note for note in labels.notes)


def test_clip_names_that_repeat_need_more_of_their_path(tmp_path):
    videos = [Path("/Raw/x/0001.mp4"), Path("/Raw/y/0001.mp4")]
    with pytest.raises(VideoError, match="is 2 of the given videos"):
        read(tmp_path, "file,label,split\n0001.mp4,1,train\n", videos)
    labels = read(tmp_path, "file,label,split\ny/0001.mp4,1,train\n", videos)
    assert list(labels.lines) == videos[1:]
    assert list(unique_names(videos).values()) == ["x/0001", "y/0001"]


def test_melds_tables_with_some_of_the_clips_only(tmp_path):
    """Every split counts its dialogues anew, so that a line never labels another split's clip of the same number."""
    heading = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    for split, sentiment in (("train", "positive"), ("dev", "negative"), ("test", "neutral")):
        (tmp_path / f"{split}_sent_emo.csv").write_text(f"{heading}1,hi,Ann,joy,{sentiment},110,7\n2,yo,Bob,joy,{sentiment},110,8\n")
    folders = {"train": "train_splits", "valid": "dev_splits_complete", "test": "output_repeated_splits_test"}
    clips = {(split, number): Path(f"/test/MELD.Raw/{folder}/dia110_utt{number}.mp4") for split, folder in folders.items() for number in (7, 8)}
    without_one = [clip for place, clip in clips.items() if place != ("valid", 7)]
    labels = read_labels(tmp_path, without_one)
    assert {clip: [line.split for line in lines] for clip, lines in labels.lines.items()} == {
        clip: [split] for (split, number), clip in clips.items() if clip in without_one
    }
    assert labels.num_missing == 1
    (tmp_path / "dev_sent_emo.csv").unlink()
    (tmp_path / "test_sent_emo.csv").unlink()
    with pytest.raises(VideoError, match="none of its 2 lines names one of the 2 given videos"):
        read_labels(tmp_path, [clips["valid", 7], clips["valid", 8]])
