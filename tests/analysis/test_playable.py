"""Copies of videos that browsers do not play; the videos are made here."""

from pathlib import Path

import numpy as np
import pytest

from multigrain.analysis.playable import kind_of, write_playable_copy
from multigrain.analysis.report_html import write_page
from multigrain.errors import VideoError

av = pytest.importorskip("av", reason="needs PyAV, of the extra 'video'")


def make_video(path: Path, codec: str, *, sound: str = "", seconds: float = 1.0, size: tuple[int, int] = (64, 480)) -> Path:
    """A video whose pictures grow brighter, with silence where `sound` names a codec."""
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        heard = made.add_stream(sound, rate=44_100) if sound else None
        for number in range(round(25 * seconds)):
            picture = np.full((size[1], size[0], 3), 10 * number % 255, np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(stream.encode())
        if heard is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, round(44_100 * seconds)), np.int16), format="s16", layout="mono")
            silence.sample_rate, silence.pts = 44_100, 0
            made.mux(heard.encode(silence))
            made.mux(heard.encode())
    return path


def test_files_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    assert kind_of(make_video(tmp_path / "a.mp4", "libx264")) == "video/mp4"
    assert kind_of(make_video(tmp_path / "b.mp4", "mpeg4")) is None
    assert kind_of(make_video(tmp_path / "c.mpg", "mpeg1video")) is None
    (tmp_path / "d.mp4").write_bytes(b"no video")
    assert kind_of(tmp_path / "d.mp4") is None
    assert kind_of(tmp_path / "e.wav") == "audio/wav"


def test_a_files_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "a.mp4", "libx264").rename(tmp_path / "http:a.mp4")
    monkeypatch.chdir(tmp_path)
    assert kind_of(Path("http:a.mp4")) == "video/mp4"
    assert write_playable_copy(Path("http:a.mp4"), tmp_path / "copy.mp4")


def test_a_playlist_that_names_another_file_is_not_opened(tmp_path: Path) -> None:
    """ffmpeg would follow it and show what lies there."""
    make_video(tmp_path / "private.mp4", "libx264")
    playlist = tmp_path / "innocent.mp4"
    playlist.write_text("ffconcat version 1.0\nfile private.mp4\n", encoding="utf-8")
    assert kind_of(playlist) is None
    with pytest.raises(VideoError, match="No copy of"):
        write_playable_copy(playlist, tmp_path / "copy.mp4")


def test_the_copy_has_the_same_times_and_is_small(tmp_path: Path) -> None:
    assert write_playable_copy(make_video(tmp_path / "a.mpg", "mpeg1video", sound="mp2"), tmp_path / "copy.mp4")
    assert kind_of(tmp_path / "copy.mp4") == "video/mp4"
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        assert (copy.streams.video[0].width, copy.streams.video[0].height) == (48, 360)
        assert copy.streams.audio[0].codec_context.name == "aac"
        frames = [(round(25 * frame.time), float(frame.to_ndarray(format="gray").mean())) for frame in copy.decode(video=0)]
    assert [number for number, _ in frames[:3]] == [0, 1, 2]  # from 0 on, where the file begins at half a second
    assert frames[-1][0] == 24
    for number, brightness in frames:  # MPEG-1 leaves times of some pictures to be guessed: one frame more or less
        assert brightness == pytest.approx(10 * number, abs=14)


def test_a_report_of_such_a_file_plays_the_copy(tmp_path: Path) -> None:
    from test_report_html import CASES

    video = make_video(tmp_path / "a.mpg", "mpeg1video")
    page = write_page(tmp_path / "page.html", CASES["timed"], video=video).read_text(encoding="utf-8")
    assert '<video id="media" controls preload="metadata" src="data:video/mp4;base64,' in page
