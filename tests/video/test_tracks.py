"""Which track of sound is taken, what its channels do to each other, and sound that nobody records."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from made_clips import inspected, spoken_like, tone, write_tracks
from multigrain.errors import VideoError
from multigrain.video.extract import extract_video
from multigrain.video.limits import Limits
from multigrain.video.media import FORMATS, SUFFIXES, inspect_media, sound_blocks


def heard(path: Path, audio_track: str | None = None) -> np.ndarray:
    return np.concatenate(list(sound_blocks(inspect_media(path, Limits(), audio_track))))


SILENCE, SPEECH, TONE = np.zeros((1, 32_000), np.float32), spoken_like(2.0)[None], tone(2.0)[None]


def test_a_silent_track_beside_one_with_speech_is_not_the_one_taken(tmp_path):
    path = write_tracks(tmp_path / "two.mka", [(SILENCE, None), (SPEECH, None)])
    media = inspected(path)
    assert media.notes == ["The file has 2 tracks of sound: 1 (no language), 2 (no language); 2 was used, since 1, which players take, is silent."]
    assert np.abs(heard(path)).max() > 0.1
    assert np.abs(heard(path, "1")).max() < 1e-3
    both = write_tracks(tmp_path / "silent.mka", [(SILENCE, None), (SILENCE, None)])
    assert inspected(both).notes == ["The file has 2 tracks of sound: 1 (no language), 2 (no language); 1 was used."]


def test_a_track_by_number_or_language(tmp_path):
    path = write_tracks(tmp_path / "dubbed.mka", [(SPEECH, "eng"), (TONE, "ger"), (SILENCE, None)])
    whole = {name: heard(path, name) for name in ("1", "2", "en", "de", "deu", "GER", "en-US", "3")}
    np.testing.assert_array_equal(whole["en"], whole["1"])
    np.testing.assert_array_equal(whole["en-US"], whole["1"])
    for name in ("de", "deu", "GER"):
        np.testing.assert_array_equal(whole[name], whole["2"])
    assert np.abs(whole["3"]).max() < 1e-3
    assert np.abs(whole["1"] - whole["2"][: len(whole["1"])]).max() > 0.1
    for wrong in ("4", "0", "fr", "", "../x"):
        with pytest.raises(VideoError, match=r"it has 1 \(eng\), 2 \((ger|deu)\), 3 \(no language\)"):
            inspect_media(path, Limits(), wrong)
    assert extract_video(path, audio_track="3").voice_share == 0.0


def test_channels_that_cancel_each_other_are_heard(tmp_path):
    inverse = write_tracks(tmp_path / "inverse.wav", [(np.concatenate([SPEECH, -SPEECH]), None)])
    same = write_tracks(tmp_path / "same.wav", [(np.concatenate([SPEECH, SPEECH]), None)])
    assert any("cancel each other" in note for note in inspected(inverse).notes)
    assert inspected(same).notes == []
    np.testing.assert_allclose(heard(inverse), heard(same), atol=1e-3)
    one_sided = write_tracks(tmp_path / "left.wav", [(np.concatenate([SPEECH, SILENCE]), None)])
    assert inspected(one_sided).notes == []
    assert np.abs(heard(one_sided)).max() > 0.1


def wav(path: Path, samples: bytes, *, channels: int = 1, rate: int = 16_000, bits: int = 32, kind: int = 3) -> Path:
    """A wav file with any header; kind 3 is floats."""
    width = channels * bits // 8
    header = struct.pack("<HHIIHH", kind, channels, rate, (rate * width) & 0xFFFFFFFF, width, bits)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt \x10\0\0\0" + header + b"data" + struct.pack("<I", len(samples)) + samples
    )
    return path


def test_samples_that_are_no_numbers_are_silence_with_a_note(tmp_path):
    samples = spoken_like(2.0)
    samples[8000:8160] = np.nan
    samples[12000:12016] = np.inf
    samples[16000] = 1e30
    path = wav(tmp_path / "nan.wav", samples.tobytes())
    assert np.isfinite(heard(path)).all()
    found = extract_video(path)
    assert any("of the sound are no numbers (NaN) or far beyond full scale, and were taken for silence" in note for note in found.notes)
    assert all(np.isfinite(values).all() for utterance in found.utterances for values in utterance.features.values())
    nothing = wav(tmp_path / "all.wav", np.full(32_000, np.nan, np.float32).tobytes())
    assert any("2.00 s of the sound are no numbers" in note for note in extract_video(nothing).notes)


@pytest.mark.parametrize(("channels", "rate"), [(64, 16_000), (1, 2**31), (1, 2**31 - 1), (1, 2**32 - 1), (2, 10), (1, 0)])
def test_sound_that_nobody_records_is_one_sentence(tmp_path, channels, rate):
    path = wav(tmp_path / "odd.wav", bytes(64 * 4 * 100), channels=channels, rate=rate)
    with pytest.raises(VideoError, match=r"has sound of .* channels and .* samples a second|cannot be read|neither sound nor picture"):
        inspected(path)


MUXED = {
    **{
        ".aac": ("aac", "adts"),
        ".aif": ("pcm_s16be", "aiff"),
        ".caf": ("pcm_s16le", "caf"),
        ".au": ("pcm_s16be", "au"),
        ".w64": ("pcm_s16le", "w64"),
    },
    **{".wma": ("wmav2", "asf"), ".opus": ("libopus", "ogg"), ".ac3": ("ac3", "ac3"), ".wv": ("wavpack", "wv"), ".mka": ("pcm_s16le", "matroska")},
    **{".mts": ("ac3", "mpegts"), ".m2ts": ("ac3", "mpegts"), ".3gp": ("aac", "3gp"), ".ogv": ("libvorbis", "ogg"), ".tta": ("tta", "tta")},
    **{".voc": ("pcm_s16le", "voc"), ".nut": ("pcm_s16le", "nut"), ".mp2": ("mp2", "mp2"), ".amr": ("libopencore_amrnb", "amr")},
}


@pytest.mark.parametrize("suffix", MUXED)
def test_sound_of_every_container(tmp_path, suffix):
    codec, container = MUXED[suffix]
    if codec not in av.codecs_available or container not in av.formats_available:
        pytest.skip(f"this ffmpeg has no {codec} encoder or writes no {container}")
    assert suffix in SUFFIXES
    rate = 48_000 if codec == "libopus" else 8_000 if "amr" in codec else 44_100 if codec in ("wavpack", "ac3") else 16_000
    path = tmp_path / f"a{suffix.upper()}"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        stream.codec_context.bit_rate = 12_200 if "amr" in codec else 48_000
        samples = np.round(tone(1.5, rate) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, frame_size=stream.codec_context.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    samples = heard(path)
    assert len(samples) / 16_000 == pytest.approx(1.5, abs=0.2)
    assert np.abs(samples[4000:16_000]).max() > 0.2


def test_no_container_names_other_files():
    assert not set(FORMATS) & {"hls", "concat", "image2", "dash", "sdp", "rtsp", "lavfi", "webm_dash_manifest", "imf", "data"}
