"""The voice's frames: those of openSMILE on the whole sound, whatever the pieces."""

import numpy as np
import pytest

from made_clips import spoken_like, tone
from multigrain.video import acoustic
from multigrain.video.acoustic import ACOUSTIC_SPEC, AcousticStream, acoustic_frames


@pytest.mark.parametrize("seconds", [0.05, 0.35, 3.99, 5.0, 11.0])
def test_a_stream_gives_the_frames_of_the_whole(seconds, monkeypatch):
    monkeypatch.setattr(acoustic, "_BLOCK_FRAMES", 300)
    samples = spoken_like(seconds)
    whole = acoustic_frames(samples)
    for size in (80_000, 4_321):
        stream = AcousticStream()
        pieces = [stream.push(samples[start : start + size]) for start in range(0, len(samples), size)]
        found = np.concatenate([*pieces, stream.finish()])
        assert found.shape == whole.shape == (max(0, len(whole)), ACOUSTIC_SPEC.dim)
        np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-3)


def test_a_frame_every_hundredth_of_a_second():
    assert abs(len(acoustic_frames(tone(3.0))) - 300) <= 6
    assert acoustic_frames(np.zeros(0, np.float32)).shape == (0, 25)
    assert np.isfinite(acoustic_frames(np.zeros(16_000, np.float32))).all()


def test_pitch_and_loudness_are_where_they_are_said_to_be():
    loud, soft = acoustic_frames(tone(1.0, hertz=220.0)), acoustic_frames(0.05 * tone(1.0, hertz=220.0))
    pitch = np.median(loud[20:80, 10])
    assert abs(27.5 * 2 ** (pitch / 12) - 220.0) < 5.0  # semitones from 27.5 Hz
    assert np.median(loud[20:80, 0]) > 2 * np.median(soft[20:80, 0])
