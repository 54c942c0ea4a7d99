"""Videos (as extraction hands them over), texts and stores to an `Analysis`; and checkpoints that cannot be used."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from multigrain.analysis.analyze import analyze, analyze_extracted, analyze_split, analyze_text
from multigrain.analysis.report_html import render_page, signed
from multigrain.analysis.result import Analysis
from multigrain.analysis.tables import to_rich, write_csv
from multigrain.data.store import Store
from multigrain.errors import CheckpointError, DataError, VideoError
from multigrain.evaluation.conformal import COVERAGE, Conformal
from multigrain.language.reader import TextReader
from multigrain.models.base import MultimodalModel
from multigrain.schema import FeatureSpec, StepTimes, Utterance
from multigrain.video.acoustic import ACOUSTIC_SPEC
from multigrain.video.extract import ExtractedVideo
from multigrain.video.facial import FACIAL_SPEC

Built = tuple[MultimodalModel, Path]


@pytest.fixture
def video_model(small_model: Callable[..., MultimodalModel], reader: TextReader, tmp_path: Path) -> Built:
    model = small_model("mcmut", {"text": reader.spec, "audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC}, text_reader=reader)
    model.save_pretrained(tmp_path / "checkpoint")
    return model, tmp_path / "checkpoint"


def spoken(number: int, *, has_face: bool = True, text: str = "the film was good") -> Utterance:
    generator, start = np.random.default_rng(number), 4.0 * number
    features = {"audio": generator.normal(size=(300, 25)).astype(np.float32)}
    times = {"audio": StepTimes(100.0, ((start, 300),))}
    if has_face:
        features["vision"] = generator.normal(size=(25, 35)).astype(np.float32)
        times["vision"] = StepTimes(12.5, ((start, 10), (start + 1.8, 15)))
    words = tuple(text.split())
    return Utterance(
        id=f"talk_{number}",
        split="test",
        group="talk",
        features=features,
        text=text,
        words=words,
        start_seconds=start,
        end_seconds=start + 3.0,
        word_times=tuple((start + 0.5 * place, start + 0.5 * place + 0.4) if place else None for place in range(len(words))),
        step_times=times,
    )


def extracted(*utterances: Utterance, **changes: object) -> ExtractedVideo:
    video = ExtractedVideo(
        utterances=utterances,
        features={"audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC},
        word_times=tuple(one.word_times or () for one in utterances),
        duration_seconds=12.0,
        face_share=0.5,
        voice_share=1.0,
        transcript_origin="subtitles",
        is_transcript_reliable=True,
        notes=["Somebody coughs."],
        seconds={},
    )
    return replace(video, **changes)


def test_a_video_keeps_its_times(video_model: Built) -> None:
    model, checkpoint = video_model
    told: list[tuple[str, float]] = []
    video = extracted(spoken(0), spoken(1, has_face=False))
    found = analyze_extracted(video, source="talk.mp4", model=model, checkpoint=checkpoint, progress=lambda *step: told.append(step))
    first, second = found.utterances
    assert (first.words[0].start_seconds, first.words[1].start_seconds) == (None, 0.5)
    assert second.absent == {"vision": "no face was found"}
    assert [part.modality for part in second.modalities] == ["text", "audio"]
    for one in found.utterances:
        spans = [moment.span for moment in one.moments] + [span for entry in one.attention for span in entry.spans]
        assert spans
        assert all(one.start_seconds <= span.start_seconds < span.end_seconds <= one.end_seconds + 1e-6 for span in spans)
    assert {strip.name for strip in first.strips} >= {"loudness", "pitch", "corners of the mouth up"}
    assert first.strips[0].times_seconds[0] == pytest.approx(0.0)
    mouth = next(strip for strip in first.strips if strip.modality == "vision")
    assert None in mouth.values  # the gap without a face
    assert [one.face_share for one in found.utterances] == pytest.approx([25 / 37.5, 0.0])
    assert [one.voice_share for one in found.utterances] == [1.0, 1.0]
    assert found.notes[0] == "Somebody coughs."
    assert told[-1] == ("analysis", 1.0)
    assert "talk.mp4" in render_page(found)


def test_a_modality_that_is_absent_has_its_reason(video_model: Built) -> None:
    model, checkpoint = video_model
    whole = spoken(0)
    bare = replace(whole, features={}, step_times={})
    (quiet,) = analyze_extracted(extracted(bare, voice_share=0.2), source="v", model=model, checkpoint=checkpoint).utterances
    assert quiet.absent == {"audio": "nobody speaks", "vision": "no face was found"}
    assert (quiet.voice_share, quiet.face_share) == (0.0, 0.0)
    (nothing,) = analyze_extracted(extracted(bare, voice_share=None, face_share=None), source="v", model=model, checkpoint=checkpoint).utterances
    assert nothing.absent == {"audio": "there is no sound", "vision": "there is no picture"}
    assert (nothing.voice_share, nothing.face_share) == (None, None)


def test_an_utterance_with_nothing_in_it_is_not_counted(video_model: Built) -> None:
    model, checkpoint = video_model
    nothing = replace(spoken(1), features={}, step_times={}, text=None, words=None, word_times=None)
    found = analyze_extracted(extracted(spoken(0), nothing), source="v", model=model, checkpoint=checkpoint)
    assert found.utterances[1].modalities == ()
    assert found.summary.mean_scores == found.utterances[0].scores
    assert (found.summary.num_utterances, found.summary.seconds, found.summary.highest, found.summary.lowest) == (1, 3.0, 0, 0)
    assert any("In 1 of the 2 utterances there are neither words nor a voice nor a face" in note for note in found.notes)


def test_unreliable_words_are_called_so(video_model: Built) -> None:
    model, checkpoint = video_model
    video = extracted(spoken(0), is_transcript_reliable=False, transcript_origin="recognised")
    found = analyze_extracted(video, source="talk.mp4", model=model, checkpoint=checkpoint)
    assert not found.is_transcript_reliable
    assert "Recognised, unreliable." in render_page(found)


def test_intervals_are_those_of_the_modalities_that_are_there(video_model: Built) -> None:
    model, checkpoint = video_model
    residuals = {"text + audio + vision": np.full(99, 0.5), "text + audio": np.full(99, 1.0)}
    Conformal.from_residuals(residuals, model.task, "a test").write(checkpoint)
    found = analyze_extracted(extracted(spoken(0), spoken(1, has_face=False), spoken(2, text="")), source="v", model=model, checkpoint=checkpoint)
    for one, width in zip(found.utterances[:2], (0.5, 1.0), strict=True):
        assert one.interval is not None
        assert (one.interval.low, one.interval.high) == pytest.approx((one.score - width, one.score + width))
        assert one.interval.coverage == COVERAGE
    assert found.utterances[2].interval is None
    assert any("Some scores have no interval" in note for note in found.notes)
    assert found.checkpoint.calibration is not None


def test_a_video_in_which_nobody_speaks_is_refused(video_model: Built) -> None:
    model, checkpoint = video_model
    with pytest.raises(DataError, match=r"No utterance was found in quiet\.mp4.*Somebody coughs.*--transcript"):
        analyze_extracted(extracted(), source="quiet.mp4", model=model, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"audio": FeatureSpec(dim=74, extractor="covarep")}, "'covarep', 74 numbers a step.*'opensmile-egemapsv02-lld'"),
        ({"vision": FeatureSpec(dim=35, extractor="facet", version="4.2")}, r"'facet' 4\.2.*'mediapipe-facemesh-geometry'"),
        ({"audio": replace(ACOUSTIC_SPEC, version="1.0")}, r"version '2\.6' against '1\.0'"),
        ({"text": FeatureSpec(dim=300, extractor="glove.840B.300d")}, r"vectors of 'glove\.840B\.300d'.*language model"),
    ],
)
def test_features_that_cannot_be_extracted_are_refused_before_anything_is_computed(
    features: dict[str, FeatureSpec], message: str, small_model: Callable[..., MultimodalModel], tmp_path: Path, silence: Path
) -> None:
    small_model("lf_lstm", {"audio": ACOUSTIC_SPEC, "vision": FACIAL_SPEC, **features}).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(CheckpointError, match=message):
        analyze(silence, checkpoint=tmp_path / "checkpoint", progress=lambda stage, _: pytest.fail(f"{stage} was begun"))


def test_a_file_that_cannot_be_read_is_refused_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multigrain.analysis.analyze.load", lambda *_: pytest.fail("a model was loaded"))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"broken\.mp4 cannot be read"):
        analyze(tmp_path / "broken.mp4")
    with pytest.raises(VideoError, match=r"none\.mp4"):
        analyze(tmp_path / "none.mp4")


def test_a_checkpoint_of_the_hub_is_fetched_once(video_model: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its intervals and facts are those of the weights that were loaded, whatever the hub has by then."""
    fetched: list[str] = []
    monkeypatch.setattr("multigrain.models.checkpoint.fetch_from_hub", lambda name, *_, **__: fetched.append(name) or video_model[1])
    found = analyze_text("it was good", checkpoint="owner/paper")
    assert fetched == ["owner/paper"]
    assert found.checkpoint.name == "owner/paper"
    assert found.checkpoint.calibration == analyze_text("it was good", checkpoint=video_model[1]).checkpoint.calibration


def test_a_text_line_by_line(video_model: Built) -> None:
    found = analyze_text("the film was good\n\n  <b>awful</b> & not it \n", checkpoint=video_model[1])
    assert [one.text for one in found.utterances] == ["the film was good", "<b>awful</b> & not it"]
    assert found.utterances[0].absent == {"audio": "only a text was given", "vision": "only a text was given"}
    assert [part.modality for part in found.utterances[0].modalities] == ["text"]
    assert all(word.contribution is not None for one in found.utterances for word in one.words)


def test_a_text_without_words_or_for_a_model_without_text_is_refused(
    video_model: Built, small_model: Callable[..., MultimodalModel], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no words"):
        analyze_text(" \n ", checkpoint=video_model[1])
    small_model("lf_lstm", {"audio": ACOUSTIC_SPEC}).save_pretrained(tmp_path / "voice")
    with pytest.raises(CheckpointError, match="no text at all"):
        analyze_text("good", checkpoint=tmp_path / "voice")


def test_a_store_without_a_chosen_utterance_is_refused(planted: Store, small_model: Callable[..., MultimodalModel], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Name at least one"):
        analyze_split(small_model("mult", planted.features), planted.split("test"), [], checkpoint=tmp_path)


# Speakers, long texts, and texts that are not read ----------------------------------------------------------------------


def test_speakers_reach_the_json_the_table_and_the_report(video_model: Built, tmp_path: Path) -> None:
    one, two, three = spoken(0), replace(spoken(1, text="it was awful"), speaker="Bo <b>"), replace(spoken(2), speaker="Ann")
    found = analyze_extracted(extracted(one, two, three), source="talk.mp4", model=video_model[0], checkpoint=video_model[1])
    assert [utterance.speaker for utterance in found.utterances] == [None, "Bo <b>", "Ann"]
    bo, ann = found.summary.speakers
    assert (bo.speaker, bo.num_utterances, bo.seconds) == ("Bo <b>", 1, pytest.approx(3.0))
    assert bo.mean_scores == pytest.approx(found.utterances[1].scores)
    assert ann.mean_scores == pytest.approx(found.utterances[2].scores)
    assert Analysis.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.to_dict()["summary"]["speakers"][1]["speaker"] == "Ann"
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(to_rich(found))
    shown = console.export_text()
    assert "speaker" in shown
    assert f"Ann: sentiment {signed(ann.mean_scores[0])} over 1 utterance." in shown
    rows = list(csv.DictReader(io.StringIO(write_csv(tmp_path / "a.csv", found).read_text(encoding="utf-8"))))
    assert [row["speaker"] for row in rows] == ["", "Bo <b>", "Ann"]
    page = render_page(found)
    assert '<th scope="row">Bo &lt;b&gt;</th><td>1</td><td>3</td>' in page
    assert '<span class="speaker">Ann:</span>' in page
    assert "Bo <b>" not in page


def test_names_before_the_lines_of_a_text_are_speakers(video_model: Built) -> None:
    found = analyze_text("Ann: it was good\nBo: it was awful", checkpoint=video_model[1])
    assert [(one.speaker, one.text) for one in found.utterances] == [("Ann", "it was good"), ("Bo", "it was awful")]
    assert found.notes[0].startswith("The transcript names who speaks (Ann, Bo)")


def test_a_text_longer_than_the_language_model_reads_is_cut_into_sentences(video_model: Built) -> None:
    good, bad = " ".join(["the film was good."] * 7), "it was " + "so " * 40 + "awful."
    found = analyze_text(f"{good} {bad}\nit was good", checkpoint=video_model[1])
    assert " ".join(one.text for one in found.utterances) == f"{good} {bad} it was good"
    assert [one.text for one in found.utterances[:7]] == ["the film was good."] * 7
    assert found.utterances[0].id == "line-1-1"
    assert all(word.contribution is not None for one in found.utterances for word in one.words)
    assert any("1 utterance is longer than the 24 pieces that the language model reads at once, and cut into" in note for note in found.notes)


def test_a_long_utterance_of_a_video_is_cut_with_its_voice_and_face(video_model: Built) -> None:
    long = spoken(1, text="the film was good. " * 3 + "it was so so so so so so so so so so so so awful.")
    times = [(4.0 + 0.1 * place, 4.08 + 0.1 * place) for place in range(len(long.words or ()))]
    found = analyze_extracted(extracted(replace(long, word_times=tuple(times))), source="t", model=video_model[0], checkpoint=video_model[1])
    assert [one.text for one in found.utterances[:3]] == ["the film was good."] * 3
    starts = [one.start_seconds for one in found.utterances]
    assert starts[:3] == pytest.approx([4.0, 4.39, 4.79])
    assert found.utterances[-1].end_seconds == pytest.approx(7.0)
    assert [part.modality for part in found.utterances[-1].modalities] == ["text", "audio", "vision"]
    assert [one.end_seconds for one in found.utterances[:-1]] == starts[1:]


def test_a_text_that_is_not_read_is_absent_with_its_reason(video_model: Built) -> None:
    foreign = spoken(1, text="我讨厌 这部电影")
    found = analyze_extracted(extracted(spoken(0), foreign), source="t", model=video_model[0], checkpoint=video_model[1])
    read, unread = found.utterances
    assert "text" not in read.absent
    assert unread.absent["text"].startswith("the words are not read: 100 % of its pieces are unknown to the language model")
    assert [part.modality for part in unread.modalities] == ["audio", "vision"]
    assert [word.contribution for word in unread.words] == [None, None]
    assert any(note.startswith("In 1 of the 2 utterances: the words are not read: 100 %") for note in found.notes)
    alone = analyze_text("😍\nit was good", checkpoint=video_model[1])
    assert (alone.utterances[0].modalities, alone.utterances[0].interval) == ((), None)
    assert alone.utterances[0].absent["text"] == "the words are not read: it has no letters"
