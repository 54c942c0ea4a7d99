"""One utterance explained: modalities by exact Shapley values, words and moments by taking them away, links by what they do together."""

from dataclasses import dataclass

import numpy as np

from multigrain.analysis.links import attention_maps, strongest_links
from multigrain.analysis.result import AttentionMap, Link, ModalityContribution, Moment, Span
from multigrain.analysis.shapley import shapley_values, subset_name, subsets
from multigrain.analysis.spans import spans_of
from multigrain.analysis.variants import WHOLE, UtteranceInput, Variant, VariantScorer

MOST_MOMENTS = 12
SHORTEST_MOMENT_SECONDS = 0.5
WORD_METHOD = "the score less the score of the same utterance without the word"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found out about one utterance; fields as in `UtteranceAnalysis`.

    Attributes:
        words: index of a word -> its contribution; words that did not reach the model are left out.
    """

    scores: tuple[float, ...]
    explained: int
    baseline: float
    subset_scores: dict[str, float]
    modalities: tuple[ModalityContribution, ...]
    words: dict[int, float]
    moments: tuple[Moment, ...]
    attention: tuple[AttentionMap, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an explanation takes away, in order: nothing, each subset of the modalities, words one by one, spans one by one."""

    subsets: tuple[frozenset[str], ...]
    words: tuple[int, ...]
    spans: tuple[Span, ...]

    @property
    def variants(self) -> list[Variant]:
        """A variant each."""
        return [
            WHOLE,
            *(Variant(modalities=chosen) for chosen in self.subsets),
            *(Variant(without_words=frozenset({word})) for word in self.words),
            *(Variant(without_steps=((span.modality, span.start_step, span.end_step),)) for span in self.spans),
        ]


def plan_of(given: UtteranceInput, *, with_words: bool = True) -> Plan:
    """What is taken away to explain an utterance.

    Args:
        given: the utterance; any subset of its modalities may be there, even none.
        with_words: False leaves its words unweighed, which are most of the work.
    """
    present = given.present
    spans = [
        span
        for modality in ("audio", "vision")
        if modality in present
        for span in spans_of(given, modality, most=MOST_MOMENTS, shortest_seconds=SHORTEST_MOMENT_SECONDS)
    ]
    return Plan(subsets=tuple(subsets(present)), words=tuple(given.words_read) if with_words else (), spans=tuple(spans))


def explain(scorer: VariantScorer, given: UtteranceInput, *, with_words: bool = True) -> Explanation:
    """Explains one utterance.

    Args:
        scorer: of the model.
        given: the utterance; any subset of its modalities may be there, even none.
        with_words: False leaves its words without contributions, and with them the links.
    """
    plan, present = plan_of(given, with_words=with_words), given.present
    some, words, spans, variants = plan.subsets, plan.words, plan.spans, plan.variants
    scores = scorer.scores(given, variants)
    explained = int(np.argmax(scores[0])) if scorer.model.task.kind == "emotions" else 0
    own = scores[:, explained].tolist()
    score, values, rest = own[0], dict(zip(some, own[1 : 1 + len(some)], strict=True)), own[1 + len(some) :]
    contributions = {word: score - without for word, without in zip(words, rest[: len(words)], strict=True)}
    maps = attention_maps(scorer, given)
    return Explanation(
        scores=tuple(scores[0].tolist()),
        explained=explained,
        baseline=values[frozenset()],
        subset_scores={subset_name(chosen, present): value for chosen, value in values.items()},
        modalities=_modalities(values, present),
        words=contributions,
        moments=tuple(Moment(span=span, contribution=score - without) for span, without in zip(spans, rest[len(words) :], strict=True)),
        attention=maps,
        links=strongest_links(scorer, given, maps, score=score, word_contributions=contributions, subset_scores=values, explained=explained),
    )


def _modalities(values: dict[frozenset[str], float], present: tuple[str, ...]) -> tuple[ModalityContribution, ...]:
    everything = frozenset(present)
    shares = shapley_values(values, present) if present else {}
    return tuple(
        ModalityContribution(modality=name, value=shares[name], alone=values[frozenset({name})], without=values[everything - {name}])
        for name in present
    )
