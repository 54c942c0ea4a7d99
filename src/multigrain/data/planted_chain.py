"""Chains in the planted data set: who reverses a word is told by an event that names a word that names an event, and so on.

With `chain_length = N` of 2 or more, whether a polar word is contradicted is not said by the face's event that carries its key. That event is
there for every polar word, and carries the code of another step, which carries the next, in turns of vision and text; the `N`th carries the
reversal, with `contradiction_probability`:

    polar word   key k                    text, as without chains
    link 1       key k     + link code a  vision
    link 2       code a    + link code b  text: a word that says nothing else
    ...
    link N       last code [+ reversal]

Each place in the chain has codes of its own, of which the chains of one utterance take different ones.

**Why a model that asks raw sources alone cannot follow a chain of 3 or more.** Number the places of a chain from the polar word, 0, to the
reversal, N; even ones are text, odd ones vision, and each knows by its codes only the places before and after it. The label needs the polarity at
0 and the reversal at N. In MulT a crossmodal layer's step sees itself and the raw other modality, at every layer, so that whatever the depth its
state is a function of its own place and of the two beside it: no step knows both ends once N is 3. What is left is the self-attention that
follows, whose last layer must bring the answer to the step that is read. With one such layer the ends can only be matched after a sum over all
steps: the sum may hold every pair of neighbouring codes, of which the head would have to join the chain, by heart rather than by asking. With
two, a step hears of those that two beside it know, and a chain of up to 6 can be followed. In MCMuT the other modality's stream has asked before
it answers: at level 2 a step hears of the two places on either side, at level i of i. So N levels are enough, whatever the self-attention.
(Where only text is a target, MulT knows no chain of 2 either.)
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from multigrain.data.planted_generator import PlantedConfig


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The links of one polar word.

    Attributes:
        steps: of the links, in vision and text by turns.
        codes: index of the code from each link to the next, one fewer than links.
        is_reversed: the last link carries the reversal.
    """

    steps: tuple[int, ...]
    codes: tuple[int, ...]
    is_reversed: bool


def link_modality(place: int) -> str:
    """Where a chain's link is, counted from 0."""
    return "vision" if place % 2 == 0 else "text"


def words_of_chain(chain_length: int) -> int:
    """Words that a chain takes beside its polar word."""
    return chain_length // 2


def link_codes(config: "PlantedConfig") -> Float[np.ndarray, "link key dim"]:
    """The codes from each place of a chain to the next, on axes of their own."""
    axes = np.eye(config.width, dtype=np.float32) * np.float32(config.code_length)
    first = config.num_keys * (3 if config.code_angle_degrees > 0 else 1) + 3
    number = config.chain_length - 1
    return axes[first : first + number * config.num_keys].reshape(number, config.num_keys, config.width)


def draw_chains(config: "PlantedConfig", generator: np.random.Generator, num_words: int, polar_words: list[int]) -> list[Chain]:
    """A chain for each polar word: links on different steps, codes that no other chain of the utterance has."""
    count, length = len(polar_words), config.chain_length
    others = np.setdiff1d(np.arange(num_words), polar_words)
    places = {"text": generator.permutation(others), "vision": generator.permutation(num_words * config.steps_per_word["vision"])}
    steps = np.empty((count, length), dtype=np.int64)
    for place in range(length):
        modality, turn = link_modality(place), place // 2
        steps[:, place] = places[modality][turn * count : (turn + 1) * count]
    codes = [generator.permutation(config.num_keys)[:count] for _ in range(length - 1)]
    is_reversed = generator.random(count) < config.contradiction_probability
    return [
        Chain(
            steps=tuple(int(step) for step in steps[row]),
            codes=tuple(int(part[row]) for part in codes),
            is_reversed=bool(is_reversed[row]),
        )
        for row in range(count)
    ]


def write_chain(
    chain: Chain,
    key: Float[np.ndarray, " dim"],
    links: Float[np.ndarray, "link key dim"],
    reversal: Float[np.ndarray, " dim"],
    features: dict[str, np.ndarray],
) -> None:
    """Adds the codes of a chain to the features of its utterance.

    Args:
        chain: whose links.
        key: the polar word's key as vision has it.
        links: of `link_codes`.
        reversal: the code of a reversal.
        features: modality -> (time, dim), changed in place.
    """
    incoming = key
    for place, step in enumerate(chain.steps):
        is_last = place == len(chain.steps) - 1
        outgoing = reversal * np.float32(chain.is_reversed) if is_last else links[place, chain.codes[place]]
        features[link_modality(place)][step] += incoming + outgoing
        incoming = outgoing
