"""Planted stores in the shape of MOSI, MOSEI or IEMOCAP: their widths, lengths, tasks and transcripts, so that any recipe for them runs here.

The utterances are those of `multigrain.data.planted_generator` (words carry a polarity, events in voice and face double or reverse it),
with

- each modality's features turned into the data set's width: `x Q_m`, the rows of `Q_m` orthonormal and drawn once; a filler word has a
  vector of its own beside the plane of `Q_text`, so that words can be told apart;
- words of English in place of the generator's names, a pair of opposite ones for each key, so that a language model can read them;
- the longest utterance as long as in the published files (50 words; 20 in IEMOCAP), times `length_share`, and as many steps of voice
  and face a word as these have; `aligned`: one step a word in all;
- labels in -3..3, cut off at the ends; or four emotions: happy above 0.5, angry below -0.5 where a word is stressed, sad where none
  is, else neutral.

They are no data set of people: nothing that a model reaches on one says anything about MOSI, MOSEI or IEMOCAP.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from multigrain.data.planted import BINDINGS_FILE, EXTRACTOR
from multigrain.data.planted_generator import Binding, PlantedConfig, generate_bound_utterances, noiseless_label
from multigrain.data.store_writer import StoreWriter
from multigrain.errors import DataError
from multigrain.metrics import compute_metrics
from multigrain.schema import IEMOCAP_EMOTIONS, MODALITIES, SPLITS, FeatureSpec, Task, Utterance

SHORTEST = 3
"""Words of the shortest utterance."""

FILLER_LENGTH = 3.0
"""Length of a filler word's vector, that of a code."""

EMOTION_BOUND = 0.5
"""Noiseless labels beyond it are an emotion, those within are neutral."""

WORLD_STREAM = len(SPLITS) + 1

FILLERS = (
    *("the", "a", "this", "that", "it", "we", "they", "was", "is", "had", "saw", "went", "with", "about", "for"),
    *("film", "movie", "story", "scene", "actor", "music", "ending", "people", "time", "then", "when", "there", "here", "also", "some"),
)
OPPOSITES = (("good", "bad"), ("great", "awful"), ("funny", "boring"), ("lovely", "ugly"), ("clever", "stupid"), ("happy", "sad"))
"""The word of each key at polarity 1 and -1."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A data set's shape as its published files have it.

    Attributes:
        widths: features a step.
        longest: words of the longest utterance.
        audio_steps_per_word, vision_steps_per_word: the published files' steps of voice and face, a word of text, rounded down.
        num_keys: keys that fit into the narrowest modality, beside the codes of polarity, stress and reversal.
        is_emotions: four emotions rather than scores in -3..3.
    """

    widths: dict[str, int]
    longest: int
    audio_steps_per_word: int
    vision_steps_per_word: int
    num_keys: int
    is_emotions: bool = False

    @property
    def task(self) -> Task:
        """What its labels are."""
        return Task(kind="emotions", emotions=IEMOCAP_EMOTIONS) if self.is_emotions else Task()


WIDE = {"text": 300, "audio": 74, "vision": 35}
SHAPES: dict[str, Shape] = {
    "mosi": Shape(widths={"text": 300, "audio": 5, "vision": 20}, longest=50, audio_steps_per_word=7, vision_steps_per_word=10, num_keys=2),
    "mosei": Shape(widths=WIDE, longest=50, audio_steps_per_word=10, vision_steps_per_word=10, num_keys=6),
    "iemocap": Shape(widths=WIDE, longest=20, audio_steps_per_word=20, vision_steps_per_word=25, num_keys=6, is_emotions=True),
}
"""As in MulT's files: MOSI 50/375/500 steps, MOSEI 50/500/500, IEMOCAP 20/400/500; aligned files have the text's steps throughout."""


@dataclass(frozen=True, kw_only=True)
class LikeConfig:
    """The dials of a planted store in a data set's shape.

    Attributes:
        like: the data set.
        train_size, valid_size, test_size: utterances per split.
        seed: of everything random.
        length_share: the longest utterance, as a share of the published files' longest.
        aligned: every modality has one step a word.
    """

    like: Literal["mosi", "mosei", "iemocap"] = "mosi"
    train_size: int = 200
    valid_size: int = 50
    test_size: int = 50
    seed: int = 0
    length_share: float = 0.2
    aligned: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.length_share <= 1.0:
            raise DataError(
                f"A planted store like {self.like}: length_share is {self.length_share}; expected a share above 0, and at most 1 for sequences as "
                "long as the published ones."
            )

    @property
    def shape(self) -> Shape:
        """What it is to look like."""
        return SHAPES[self.like]

    @property
    def planted(self) -> PlantedConfig:
        """The generator's dials."""
        shape = self.shape
        return PlantedConfig(
            train_size=self.train_size,
            valid_size=self.valid_size,
            test_size=self.test_size,
            seed=self.seed,
            num_keys=shape.num_keys,
            width=shape.num_keys + 3,
            min_words=SHORTEST,
            max_words=max(SHORTEST, round(self.length_share * shape.longest)),
            max_polar_words=min(SHORTEST, shape.num_keys),
            audio_steps_per_word=shape.audio_steps_per_word,
            vision_steps_per_word=shape.vision_steps_per_word,
            aligned=self.aligned,
            num_fillers=len(FILLERS),
        )


@dataclass(frozen=True)
class World:
    """What all utterances share.

    Attributes:
        turns: Q_m of each modality.
        fillers: the vectors of the filler words, outside the plane of Q_text.
    """

    turns: dict[str, Float[np.ndarray, "code dim"]]
    fillers: Float[np.ndarray, "filler dim"]


def like_world(config: LikeConfig) -> World:
    """The turns and filler words of a planted store in a data set's shape."""
    generator = np.random.default_rng([config.seed, WORLD_STREAM])
    turns = {}
    for name in MODALITIES:
        square = generator.standard_normal((config.shape.widths[name], config.planted.width))
        turns[name] = np.linalg.qr(square)[0].T.astype(np.float32)
    fillers = generator.standard_normal((len(FILLERS), config.shape.widths["text"])).astype(np.float32)
    fillers -= fillers @ turns["text"].T @ turns["text"]
    return World(turns, fillers / np.linalg.norm(fillers, axis=1, keepdims=True) * np.float32(FILLER_LENGTH))


def generate_like(config: LikeConfig, split: str) -> Iterator[tuple[Utterance, tuple[Binding, ...]]]:
    """The utterances of one split, one after another, each with its polar words and the events that belong to them.

    Raises:
        DataError: there is no such split.
    """
    world = like_world(config)
    for utterance, bindings in generate_bound_utterances(config.planted, split):
        features = {name: utterance.features[name] @ world.turns[name] for name in MODALITIES}
        polar = {binding.word: OPPOSITES[binding.key][0 if binding.polarity > 0 else 1] for binding in bindings}
        words = []
        for index, name in enumerate(utterance.words or ()):
            if index not in polar:
                filler = int(name.removeprefix("w"))
                features["text"][index] += world.fillers[filler]
            words.append(polar[index] if index in polar else FILLERS[filler])
        label = emotions_of(bindings) if config.shape.is_emotions else _clipped(utterance)
        yield replace(utterance, features=features, words=tuple(words), text=" ".join(words), label=label), bindings


def emotions_of(bindings: tuple[Binding, ...]) -> Float[np.ndarray, " label"]:
    """Which of the four emotions an utterance has: exactly one."""
    score, is_stressed = noiseless_label(bindings), any(binding.audio_step is not None for binding in bindings)
    emotion = "happy" if score > EMOTION_BOUND else "neutral" if score >= -EMOTION_BOUND else "angry" if is_stressed else "sad"
    return np.array([float(name == emotion) for name in IEMOCAP_EMOTIONS])


def _clipped(utterance: Utterance) -> float:
    assert isinstance(utterance.label, float)
    return min(max(utterance.label, -3.0), 3.0)


def write_like_store(path: str | Path, config: LikeConfig, overwrite: bool = False) -> Path:
    """Makes a planted data set in another's shape and writes it as a store, with its bindings beside the utterances.

    Args:
        path: the store's folder.
        config: the dials.
        overwrite: replace a store that is already there.

    Returns:
        The store's folder.

    Raises:
        DataError: something is already at `path`, or it cannot be written.
    """
    version = f"like {config.like}, seed {config.seed}"
    lines: list[str] = []
    with StoreWriter(
        path,
        task=config.shape.task,
        features={name: FeatureSpec(dim=width, extractor=EXTRACTOR, version=version) for name, width in config.shape.widths.items()},
        source={"name": f"multigrain planted data in the shape of {config.like}", "format": "planted", "seed": config.seed},
        licence="made by multigrain's generator; free of any rights",
        extra={"planted": {"like": config.like, "config": asdict(config), "oracle": _oracles(config), "bindings": BINDINGS_FILE}},
        overwrite=overwrite,
    ) as writer:
        for split in SPLITS:
            for utterance, bindings in generate_like(config, split):
                writer.add(utterance)
                lines.append(json.dumps({"id": utterance.id, "split": split, "polar_words": [asdict(binding) for binding in bindings]}) + "\n")
        writer.add_file(BINDINGS_FILE, "".join(lines).encode())
    return writer.path


def _oracles(config: LikeConfig) -> dict[str, Any]:
    """Per split (valid, test) the metrics of the noiseless label; none for emotions, which have no noise to be told from."""
    found: dict[str, Any] = {}
    for split in ("valid", "test") if not config.shape.is_emotions else ():
        pairs = np.array(
            [(noiseless_label(bindings), _clipped(utterance)) for utterance, bindings in generate_bound_utterances(config.planted, split)]
        )
        if len(pairs) >= 2 and not math.isclose(np.ptp(pairs[:, 0]), 0.0):
            metrics = compute_metrics(config.shape.task, pairs[:, :1], pairs[:, 1:])
            found[split] = {name: value for name, value in metrics.items() if not math.isnan(value)}  # of few utterances some have no meaning
    return found
