"""A made data set whose best possible score is known: words carry polarity, events elsewhere decide what it counts for.

An utterance has `n` words, drawn uniformly from `min_words..max_words`. Of these, `p` (uniform in `min_polar_words..max_polar_words`)
are *polar*, at random places: word `i` has a key `k_i` (the keys of an utterance are distinct) and a polarity `s_i = +-1` (a fair
coin). The other words are fillers. Per modality the steps are (`c` = `code_length`, `e` = orthonormal axes):

    text    word i polar:        c e_key[k_i] + s_i c e_polarity + text_noise * normal
            word i filler:       one of `num_fillers` fixed random vectors, zero in the code axes, + text_noise * normal
    audio   every step:          audio_noise * normal; `audio_steps_per_word` steps a word
            polar word stressed, with `stress_probability`: one step more gets  + c key_audio[k_i] + c e_stress
    vision  every step:          vision_noise * normal; `vision_steps_per_word` steps a word
            polar word contradicted, with `contradiction_probability`: one step gets  + c key_vision[k_i] + c e_reversal

The step of an event is uniform over the whole sequence, or over the steps at most `maximum_lag` away from the word's own span. A
distractor is an event (with its stress or reversal code) whose key no word of the utterance has; their number is Poisson with
mean `audio_distractors` and `vision_distractors`. With `code_angle_degrees = a`, the key codes of audio and vision are
`cos(a) e_key[k] + sin(a) e_own[modality, k]`: at 0 all modalities share them, at 90 nothing but training tells which belong together.

With `chain_length` above 1 a contradiction is told by a chain of events and words: see `multigrain.data.planted_chain`.

The label is, with `m_i = (-1 if contradicted else 1) * (2 if stressed else 1)`,

    y = g + label_noise * normal,    g = 3 tanh(sum_i s_i m_i / 3).

It is not clipped, so that the noise is the same everywhere; about one label in 250 lies just outside -3..3. Whoever knows the words and which
event belongs to which word knows `g` and nothing can be known of the noise: `g` is the oracle's prediction. What each kind
of model that does not bind across modalities can reach at best is computed in `multigrain.data.planted_limits`.

The world (filler vectors) and each block of `BLOCK` utterances of each split have random streams of their own, so that the
same seed gives the same data, a split never depends on another's size, and a larger split begins with the smaller one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from multigrain.data.planted_chain import Chain, draw_chains, link_codes, words_of_chain, write_chain
from multigrain.errors import DataError
from multigrain.schema import SPLITS, Utterance

BLOCK = 500
UTTERANCES_PER_GROUP = 10
WORLD_STREAM = len(SPLITS)


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """The dials of the planted data set; by default an instance on which every crossmodal network of the papers learns to bind.

    Why these defaults: MCMuT, MulT and MMIN with their published residuals, all targets, attention over scales and initial weights find the
    bindings of it within a dozen epochs. With 6 keys, 5 to 12 words and 3 and 4 steps a word (the defaults of version 0.1) they learned
    the training set by heart first, for some seeds for good; there the question is how long a model searches, not whether it binds
    (docs/decisions/planted-experiments.md).

    Attributes:
        train_size, valid_size, test_size: utterances per split.
        seed: of everything random.
        num_keys: different keys; at least `max_polar_words`, and more than that when there are distractors.
        width: features per step, in every modality.
        code_length: length of every code.
        min_words, max_words: words per utterance.
        min_polar_words, max_polar_words: polar words per utterance.
        stress_probability, contradiction_probability: that a polar word has an audio or a vision event.
        audio_distractors, vision_distractors: expected number of events per utterance that belong to no word.
        maximum_lag: steps between a word's own span and its event, at most; 0 = inside its span; None = anywhere.
        code_angle_degrees: angle between a key's code in the text and in audio or vision, 0..90.
        text_noise, audio_noise, vision_noise: standard deviation of the noise on every feature.
        label_noise: standard deviation of the noise on the label.
        audio_steps_per_word, vision_steps_per_word: rates of the modalities.
        aligned: every modality has one step a word, whatever the rates say.
        num_fillers: different filler words.
        filler_scale: standard deviation of their features outside the code axes.
        chain_length: events and words on the way to a contradiction; 1 = an event of the face carries the word's key and the reversal.
    """

    train_size: int = 6000
    valid_size: int = 1000
    test_size: int = 1000
    seed: int = 0
    num_keys: int = 4
    width: int = 24
    code_length: float = 3.0
    min_words: int = 4
    max_words: int = 8
    min_polar_words: int = 1
    max_polar_words: int = 3
    stress_probability: float = 0.4
    contradiction_probability: float = 0.4
    audio_distractors: float = 0.0
    vision_distractors: float = 0.0
    maximum_lag: int | None = None
    code_angle_degrees: float = 0.0
    text_noise: float = 0.2
    audio_noise: float = 0.3
    vision_noise: float = 0.3
    label_noise: float = 0.15
    audio_steps_per_word: int = 2
    vision_steps_per_word: int = 3
    aligned: bool = False
    num_fillers: int = 30
    filler_scale: float = 0.5
    chain_length: int = 1

    def __post_init__(self) -> None:
        self._check_ranges()
        if self.min_words > self.max_words or self.min_polar_words > self.max_polar_words:
            raise DataError(
                f"Planted data: {self.min_words}..{self.max_words} words with {self.min_polar_words}..{self.max_polar_words} polar words "
                "is an empty range. Give a minimum that is not above its maximum."
            )
        needed_words = self.max_polar_words * (1 + words_of_chain(self.chain_length))
        if needed_words > self.min_words:
            with_chain = f" and {words_of_chain(self.chain_length)} words of a chain for each" if self.chain_length > 1 else ""
            raise DataError(
                f"Planted data: max_polar_words is {self.max_polar_words}{with_chain}, but the shortest utterance has {self.min_words} words. "
                f"Set min_words to at least {needed_words}, or fewer polar words."
            )
        if self.chain_length > 1 and (self.vision_distractors > 0 or self.maximum_lag is not None):
            raise DataError(
                "Planted data: with a chain_length above 1 there are no vision_distractors and no maximum_lag. Leave these two as they are, "
                "or set chain_length to 1."
            )
        has_distractors = self.audio_distractors > 0 or self.vision_distractors > 0
        needed_keys = self.max_polar_words + (1 if has_distractors else 0)
        if self.num_keys < needed_keys:
            raise DataError(
                f"Planted data: num_keys is {self.num_keys}, but {self.max_polar_words} polar words with distinct keys"
                f"{' and a distractor with a key of its own' if has_distractors else ''} need {needed_keys}. Set num_keys to at least {needed_keys}."
            )
        if self.width < self.code_dim:
            raise DataError(
                f"Planted data: width is {self.width}, but {self.num_keys} keys{' in three subspaces' if self.code_angle_degrees > 0 else ''} "
                f"and the codes of polarity, stress and reversal need {self.code_dim} orthogonal axes. Set width to at least "
                f"{self.code_dim}, or fewer keys."
            )

    def _check_ranges(self) -> None:
        counts = (
            "train_size",
            "num_keys",
            "chain_length",
            "width",
            "min_words",
            "min_polar_words",
            "audio_steps_per_word",
            "vision_steps_per_word",
            "num_fillers",
        )
        bounds: dict[str, tuple[float, float]] = {name: (1.0, math.inf) for name in counts}
        not_negative = ("valid_size", "test_size", "seed", "audio_distractors", "vision_distractors", "filler_scale", "code_length")
        bounds.update({name: (0.0, math.inf) for name in (*not_negative, "text_noise", "audio_noise", "vision_noise", "label_noise")})
        bounds.update({name: (0.0, 1.0) for name in ("stress_probability", "contradiction_probability")})
        bounds["code_angle_degrees"] = (0.0, 90.0)
        if self.maximum_lag is not None:
            bounds["maximum_lag"] = (0.0, math.inf)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                expected = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise DataError(f"Planted data: {name} is {value}; expected a number that is {expected}. Correct this setting.")

    @property
    def code_dim(self) -> int:
        """Axes that codes take: the keys (three times when the modalities' codes differ), polarity, stress, reversal, a chain's links."""
        return self.num_keys * ((3 if self.code_angle_degrees > 0 else 1) + self.chain_length - 1) + 3

    @property
    def steps_per_word(self) -> dict[str, int]:
        """Steps a word in each modality."""
        rates = {"text": 1, "audio": self.audio_steps_per_word, "vision": self.vision_steps_per_word}
        return dict.fromkeys(rates, 1) if self.aligned else rates

    @property
    def sizes(self) -> dict[str, int]:
        """Utterances per split."""
        return {"train": self.train_size, "valid": self.valid_size, "test": self.test_size}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A polar word and the events that belong to it: the truth that attention can be scored against.

    Attributes:
        word: index of the word, which is also its text step.
        key: 0..num_keys-1.
        polarity: 1 or -1.
        audio_step: the step where it is stressed, or None.
        vision_step: the step where it is contradicted, or None; with a chain the step of its first link.
        chain: steps of a chain's further links, in text and vision by turns; empty without a chain.
        is_reversed_by_chain: whether the chain ends in a reversal.
    """

    word: int
    key: int
    polarity: int
    audio_step: int | None
    vision_step: int | None
    chain: tuple[int, ...] = ()
    is_reversed_by_chain: bool = False

    @property
    def is_contradicted(self) -> bool:
        """Whether its polarity counts reversed."""
        return self.is_reversed_by_chain if self.chain else self.vision_step is not None

    @property
    def contribution(self) -> int:
        """What the word adds to the label's sum: its polarity, doubled when stressed, reversed when contradicted."""
        return self.polarity * (1 if self.audio_step is None else 2) * (-1 if self.is_contradicted else 1)


@dataclass(frozen=True)
class Codes:
    """The fixed vectors of a planted world.

    Attributes:
        keys: per modality, one code per key.
        polarity, stress, reversal: what a polar word, an audio event and a vision event carry beside their key.
        fillers: the filler words.
    """

    keys: dict[str, Float[np.ndarray, "key dim"]]
    polarity: Float[np.ndarray, " dim"]
    stress: Float[np.ndarray, " dim"]
    reversal: Float[np.ndarray, " dim"]
    fillers: Float[np.ndarray, "filler dim"]


def planted_codes(config: PlantedConfig) -> Codes:
    """The codes and filler words that all utterances of a planted data set share."""
    axes = np.eye(config.width, dtype=np.float32) * np.float32(config.code_length)
    keys, angle = config.num_keys, math.radians(config.code_angle_degrees)
    shared = axes[:keys]
    polarity, stress, reversal = axes[keys : keys + 3]
    codes = {"text": shared}
    for index, modality in enumerate(("audio", "vision"), start=1):
        start = index * keys + 3
        codes[modality] = shared if angle == 0 else (math.cos(angle) * shared + math.sin(angle) * axes[start : start + keys]).astype(np.float32)
    generator = np.random.default_rng([config.seed, WORLD_STREAM])
    fillers = generator.standard_normal((config.num_fillers, config.width), dtype=np.float32) * np.float32(config.filler_scale)
    fillers[:, : config.code_dim] = 0.0
    return Codes(codes, polarity, stress, reversal, fillers)


def noiseless_label(bindings: tuple[Binding, ...]) -> float:
    """The label before its noise, which is the best possible prediction: `3 tanh(sum of contributions / 3)`."""
    return 3.0 * math.tanh(sum(binding.contribution for binding in bindings) / 3.0)


def generate_utterances(config: PlantedConfig, split: str) -> list[Utterance]:
    """The utterances of one split, without their bindings.

    Raises:
        DataError: there is no such split.
    """
    return [utterance for utterance, _ in generate_bound_utterances(config, split)]


def generate_bound_utterances(config: PlantedConfig, split: str) -> Iterator[tuple[Utterance, tuple[Binding, ...]]]:
    """The utterances of one split, one after another, each with its polar words and the events that belong to them.

    Raises:
        DataError: there is no such split.
    """
    if split not in SPLITS:
        raise DataError(f"Planted data: there is no split {split!r}. Choose one of {list(SPLITS)}.")
    return _generate(config, split)


def _generate(config: PlantedConfig, split: str) -> Iterator[tuple[Utterance, tuple[Binding, ...]]]:
    codes = planted_codes(config)
    size = config.sizes[split]
    for block in range(math.ceil(size / BLOCK)):
        generator = np.random.default_rng([config.seed, SPLITS.index(split), block])
        for index in range(block * BLOCK, min((block + 1) * BLOCK, size)):
            yield _make_utterance(config, codes, generator, split, index)


def _make_utterance(
    config: PlantedConfig, codes: Codes, generator: np.random.Generator, split: str, index: int
) -> tuple[Utterance, tuple[Binding, ...]]:
    num_words = int(generator.integers(config.min_words, config.max_words + 1))
    bindings = _draw_bindings(config, generator, num_words)
    chains: list[Chain] = []
    if config.chain_length > 1:
        chains = draw_chains(config, generator, num_words, [binding.word for binding in bindings])
        bindings = tuple(
            replace(binding, vision_step=chain.steps[0], chain=chain.steps[1:], is_reversed_by_chain=chain.is_reversed)
            for binding, chain in zip(bindings, chains, strict=True)
        )
    spoken = generator.integers(0, config.num_fillers, size=num_words)
    words = [f"w{filler:02d}" for filler in spoken]
    noise = {"text": config.text_noise, "audio": config.audio_noise, "vision": config.vision_noise}
    features = {
        modality: generator.standard_normal((num_words * steps, config.width), dtype=np.float32) * np.float32(noise[modality])
        for modality, steps in config.steps_per_word.items()
    }
    is_filler = np.ones((num_words, 1), dtype=np.float32)
    is_filler[[binding.word for binding in bindings] + [step for chain in chains for step in chain.steps[1::2]]] = 0.0
    features["text"] += codes.fillers[spoken] * is_filler
    for binding in bindings:
        words[binding.word] = f"{'good' if binding.polarity > 0 else 'bad'}·k{binding.key}"
        features["text"][binding.word] += codes.keys["text"][binding.key] + binding.polarity * codes.polarity
        if binding.audio_step is not None:
            features["audio"][binding.audio_step] += codes.keys["audio"][binding.key] + codes.stress
        if binding.vision_step is not None and not binding.chain:
            features["vision"][binding.vision_step] += codes.keys["vision"][binding.key] + codes.reversal
    for binding, chain in zip(bindings, chains, strict=False):  # there are none without chains
        write_chain(chain, codes.keys["vision"][binding.key], link_codes(config), codes.reversal, features)
        for place, step in enumerate(chain.steps[1::2]):
            words[step] = f"link·{2 * place + 1}·k{chain.codes[2 * place]}"
    _add_distractors(config, codes, generator, bindings, features)
    label = noiseless_label(bindings) + config.label_noise * float(generator.standard_normal())
    utterance = Utterance(
        id=f"{split}-{index:06d}",
        split=split,
        group=f"{split}-video-{index // UTTERANCES_PER_GROUP:05d}",
        features=dict(features),
        label=label,
        text=" ".join(words),
        words=tuple(words),
    )
    return utterance, bindings


def _draw_bindings(config: PlantedConfig, generator: np.random.Generator, num_words: int) -> tuple[Binding, ...]:
    num_polar = int(generator.integers(config.min_polar_words, config.max_polar_words + 1))
    places = np.sort(generator.permutation(num_words)[:num_polar])
    keys = generator.permutation(config.num_keys)[:num_polar]
    polarities = generator.integers(0, 2, size=num_polar) * 2 - 1
    stressed = generator.random(num_polar) < config.stress_probability
    contradicted = generator.random(num_polar) < config.contradiction_probability
    steps = generator.random((num_polar, 2))
    bindings = []
    for row, word in enumerate(places):
        audio_step, vision_step = (
            _event_step(config, modality, int(word), num_words, float(steps[row, column])) for column, modality in enumerate(("audio", "vision"))
        )
        bindings.append(
            Binding(
                word=int(word),
                key=int(keys[row]),
                polarity=int(polarities[row]),
                audio_step=audio_step if stressed[row] else None,
                vision_step=vision_step if contradicted[row] else None,
            )
        )
    return tuple(bindings)


def allowed_steps(config: PlantedConfig, modality: str, word: int, num_words: int) -> range:
    """The steps of `modality` where the event of a word may fall."""
    rate = config.steps_per_word[modality]
    if config.maximum_lag is None:
        return range(num_words * rate)
    return range(max(0, word * rate - config.maximum_lag), min(num_words * rate, (word + 1) * rate + config.maximum_lag))


def _event_step(config: PlantedConfig, modality: str, word: int, num_words: int, uniform: float) -> int:
    steps = allowed_steps(config, modality, word, num_words)
    return steps[int(uniform * len(steps))]


def _add_distractors(
    config: PlantedConfig,
    codes: Codes,
    generator: np.random.Generator,
    bindings: tuple[Binding, ...],
    features: dict[str, np.ndarray],
) -> None:
    free_keys = np.setdiff1d(np.arange(config.num_keys), [binding.key for binding in bindings])
    kinds = (("audio", config.audio_distractors, codes.stress), ("vision", config.vision_distractors, codes.reversal))
    for modality, expected, code in kinds:
        if expected == 0:
            continue
        for _ in range(int(generator.poisson(expected))):
            step, key = int(generator.integers(len(features[modality]))), int(generator.choice(free_keys))
            features[modality][step] += codes.keys[modality][key] + code
