"""Which word a model read together with which seconds of the voice or the face.

A pair of a word w and a span s is judged by what the model does without them, the interaction of the two:

    effect(w, s) = (f(x) - f(x without w)) - (f(x without s) - f(x without w and s)),

by how much the word's contribution differs with the span there and with it gone. Attention alone is not trusted: it only says where to look.
Where the model has attention from words, the pairs with the most `attention x |word's contribution|` are measured; attention is
the mean over layers, scales and heads, which found planted bindings better than the last layer or attention times its gradient did.
A model without attention is searched by interaction alone, and not at all where it adds its modalities up, for then nothing can interact.
Decisions and measurements: docs/decisions/explanations.md.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from multigrain.analysis.result import AttentionMap, Link, Span
from multigrain.analysis.spans import spans_of
from multigrain.analysis.variants import UtteranceInput, Variant, VariantScorer

MOST_COLUMNS = 32
SHORTEST_COLUMN_SECONDS = 0.25
"""Of an attention map, whose columns are also the spans that are linked."""
CANDIDATES = 8
"""Pairs of each modality that are measured."""
SEARCHED_WORDS, SEARCHED_SPANS = 4, 10
"""Of a model without attention: its strongest words, with so many spans of each modality."""
MOST_LINKS = 5
SHARE_OF_STRONGEST = 0.1
"""An effect below this share of the strongest one's is left out."""
NOTHING = 1e-3
"""An effect below this share of the label's range is none."""


def attention_maps(scorer: VariantScorer, given: UtteranceInput) -> tuple[AttentionMap, ...]:
    """Where each word looked in the voice and in the face; none for a model whose words attend neither, or an utterance without them."""
    with torch.no_grad(), scorer.remembering():
        device = next(iter(scorer.model.parameters())).device
        attention = scorer.model(given.batch.to(device), with_attention=True).attention
    maps = []
    for modality in ("audio", "vision"):
        layers = attention.get(f"{modality}_to_text")
        if layers and given.num_steps(modality) and given.words_read:
            weights = np.mean([layer[0].float().mean(dim=(0, 1)).cpu().numpy() for layer in layers], axis=0)
            maps.append(_by_word_and_span(given, modality, weights))
    return tuple(maps)


def words_attend(scorer: VariantScorer, given: UtteranceInput) -> bool:
    """Whether words attend the voice or the face in this model at all."""
    with torch.no_grad(), scorer.remembering():
        attention = scorer.model(given.batch.to(next(iter(scorer.model.parameters())).device), with_attention=True).attention
    return any(attention.get(f"{modality}_to_text") for modality in ("audio", "vision"))


def _by_word_and_span(given: UtteranceInput, modality: str, weights: Float[np.ndarray, "target source"]) -> AttentionMap:
    """Attention of steps as that of words (mean over a word's pieces) on spans (sum over a span's steps)."""
    spans = spans_of(given, modality, most=MOST_COLUMNS, shortest_seconds=SHORTEST_COLUMN_SECONDS)
    on_spans = np.stack([weights[:, span.start_step : span.end_step].sum(axis=1) for span in spans], axis=1)
    rows = np.zeros((len(given.words), len(spans)))
    for word in given.words_read:
        rows[word] = on_spans[: len(given.word_of_step)][given.word_of_step == word].mean(axis=0)
    return AttentionMap(modality=modality, spans=spans, weights=tuple(tuple(row) for row in rows.tolist()))


def strongest_links(
    scorer: VariantScorer,
    given: UtteranceInput,
    maps: Sequence[AttentionMap],
    *,
    score: float,
    word_contributions: Mapping[int, float],
    subset_scores: Mapping[frozenset[str], float],
    explained: int = 0,
) -> tuple[Link, ...]:
    """The strongest links, strongest first.

    Args:
        scorer: of the model.
        given: the utterance.
        maps: its attention, from `attention_maps`.
        score: of the whole utterance.
        word_contributions: word -> its contribution.
        subset_scores: subset of the present modalities -> score.
        explained: which of the task's scores is meant.
    """
    task = scorer.model.task
    least = NOTHING * (1.0 if task.kind == "emotions" else task.maximum - task.minimum)
    pairs: list[tuple[int, Span, float | None]] = []
    for entry in maps:
        pairs += _candidates(entry, word_contributions)
    if not maps and word_contributions:
        strongest = sorted(word_contributions, key=lambda word: -abs(word_contributions[word]))[:SEARCHED_WORDS]
        for modality in ("audio", "vision"):
            if modality in given.present and _interacts(subset_scores, modality, least):
                spans = spans_of(given, modality, most=SEARCHED_SPANS, shortest_seconds=SHORTEST_COLUMN_SECONDS)
                pairs += [(word, span, None) for word in strongest for span in spans]
    if not pairs:
        return ()
    effects = _effects(scorer, given, [(word, span) for word, span, _ in pairs], score, word_contributions, explained)
    least = max(least, SHARE_OF_STRONGEST * max(abs(effect) for effect in effects))
    links = [
        Link(word=word, span=span, effect=effect, attention=attention, method="interaction" if attention is None else "attention")
        for (word, span, attention), effect in zip(pairs, effects, strict=True)
        if abs(effect) >= least
    ]
    return tuple(sorted(links, key=lambda link: -abs(link.effect))[:MOST_LINKS])


def _candidates(entry: AttentionMap, word_contributions: Mapping[int, float]) -> list[tuple[int, Span, float | None]]:
    weights = np.asarray(entry.weights)
    size = np.array([abs(word_contributions.get(word, 0.0)) for word in range(len(weights))])
    product = weights * size[:, None]
    order = np.argsort(-product, axis=None, kind="stable")[:CANDIDATES]
    places = [(int(word), int(column)) for word, column in zip(*np.unravel_index(order, product.shape), strict=True)]
    return [(word, entry.spans[column], float(weights[word, column])) for word, column in places if product[word, column] > 0]


def _interacts(subset_scores: Mapping[frozenset[str], float], modality: str, least: float) -> bool:
    """Whether text and another modality do together what they do not do one by one, beside any of the rest."""
    text, other = frozenset({"text"}), frozenset({modality})
    rests = [some for some in subset_scores if not some & (text | other)]
    return any(
        abs(subset_scores[rest | text | other] - subset_scores[rest | text] - subset_scores[rest | other] + subset_scores[rest]) >= least
        for rest in rests
    )


def _effects(
    scorer: VariantScorer,
    given: UtteranceInput,
    pairs: Sequence[tuple[int, Span]],
    score: float,
    word_contributions: Mapping[int, float],
    explained: int,
) -> list[float]:
    spans = list(dict.fromkeys(span for _, span in pairs))
    without_span = [Variant(without_steps=(_steps(span),)) for span in spans]
    without_both = [Variant(without_words=frozenset({word}), without_steps=(_steps(span),)) for word, span in pairs]
    scores = scorer.scores(given, [*without_span, *without_both])[:, explained]
    alone = dict(zip(spans, scores[: len(spans)].tolist(), strict=True))
    return [word_contributions[word] - (alone[span] - both) for (word, span), both in zip(pairs, scores[len(spans) :].tolist(), strict=True)]


def _steps(span: Span) -> tuple[str, int, int]:
    return span.modality, span.start_step, span.end_step
