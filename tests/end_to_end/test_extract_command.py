"""`multigrain extract` as a user types it."""

from pathlib import Path

import pytest

from made_clips import spoken_like, write_clip
from multigrain.cli import main
from multigrain.data.store import Store


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("one", "two"):
        write_clip(folder / f"{name}.wav", sound=spoken_like(2.0), audio_codec="pcm_s16le")
    (folder / "one.srt").write_text("1\n00:00:00,200 --> 00:00:01,800\nso <script>alert(1)</script> there\n")
    return folder


def test_a_folder_becomes_a_store_and_a_broken_file_a_line(folder, tmp_path, capsys):
    (folder / "broken.mp4").write_text("no video")
    code = main(["extract", str(folder), "--transcript", str(folder), "--out", str(tmp_path / "my.store"), "--workers", "2"])
    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.count("FAILED") == 1
    assert "broken.mp4 cannot be read as video or sound" in printed.err
    assert "2 utterances of 2 of 3 videos" in printed.out.replace("\n", " ")
    split = Store.open(tmp_path / "my.store").split("test")
    assert [record["text"] for record in split.records] == ["so alert(1) there", None]
    (folder / "broken.mp4").unlink()
    assert main(["extract", str(folder), "--out", str(tmp_path / "my.store"), "--resume", "--overwrite"]) == 0


def test_no_name_can_steer_the_terminal(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (folder / "one.wav").rename(folder / "one\x1b[31m[red].wav")
    (folder / "two.wav").rename(folder / "two\x1b]0;title\x07.wav")
    (folder / "two\x1b]0;title\x07.wav").write_text("no sound")
    assert main(["extract", str(folder), "--out", str(tmp_path / "my.store")]) == 1
    printed = "".join(capsys.readouterr())
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "one\\x1b[31m[red].wav" in printed
    assert main(["extract", str(folder / "none\x1b[31m.wav"), "--out", str(tmp_path / "no.store")]) == 2
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/one.wav", "{folder}/two.wav", "--transcript", "{folder}/one.srt"], "is one file for 2 videos"),
        (["{folder}/one.wav", "--recognizer", "siri"], "There is no recogniser 'siri'"),
        (["{folder}/one.wav", "--labels", "{folder}/labels.csv"], "There is no table of labels"),
        (["{folder}/one.wav", "--range", "3", "-3"], "expected the lowest label and then the highest"),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(folder, tmp_path, capsys, arguments, message):
    code = main(["extract", *(argument.format(folder=folder) for argument in arguments), "--out", str(tmp_path / "out" / "my.store")])
    printed = " ".join(capsys.readouterr().err.split())
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed
