"""Are explanations faithful? What happens to the score when the words, or the seconds, that they rank highest are taken away.

    python experiments/explanation_faithfulness.py RUN STORE [--split test] [--utterances 100] [--seed 0]

For each utterance with at least four words: the share of the words (10 to 50 %) with the largest contributions is taken away, and how far the
score falls is measured; likewise with the smallest (most negative) ones, and how far it rises. The mean of both stands beside the same for a
random order. The same for the moments of the voice and the face. On a planted store also: of as many links as there are events in the utterance,
the share that are planted bindings.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import multigrain
from multigrain.analysis.explain import Explanation, explain
from multigrain.analysis.variants import UtteranceInput, Variant, VariantScorer, input_from_split
from multigrain.data.language_store import open_store
from multigrain.data.planted import Binding, read_bindings
from multigrain.models.base import MultimodalModel

SHARES = (0.1, 0.2, 0.3, 0.5)
FEWEST = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run or checkpoint folder")
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--utterances", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = multigrain.load(str(options.run))
    assert isinstance(model, MultimodalModel)
    store = open_store(options.store, None if model.text_encoder is None else model.text_encoder.reader)
    split, scorer, generator = store.split(options.split), VariantScorer(model), np.random.default_rng(options.seed)
    chosen = generator.permutation(len(split))[: options.utterances].tolist()
    is_planted = "planted" in store.manifest["extra"]
    bindings = read_bindings(store.path) if is_planted else {}
    changes: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    found, planted = 0, 0
    for index in chosen:
        given = input_from_split(model, split, index)
        explanation = explain(scorer, given)
        for kind, units, contributions in ranked(explanation):
            if len(units) >= FEWEST:
                by_rank = curve(scorer, given, explanation, units, np.asarray(contributions))
                at_random = curve(scorer, given, explanation, units, generator.normal(size=len(units)))
                changes.setdefault(kind, []).append((by_rank, at_random))
        if is_planted:
            hits, number = count_links(explanation, bindings[split.ids[index]])
            found, planted = found + hits, planted + number
    print(f"| taken away | {' | '.join(f'{100 * share:.0f} %' for share in SHARES)} | mean | at random | better than random, % | utterances |")
    print(f"| {' | '.join(['---'] * (len(SHARES) + 5))} |")
    for kind, pairs in changes.items():
        by_rank, at_random = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
        better = 100 * np.mean(by_rank.mean(axis=1) > at_random.mean(axis=1))
        half = 1.96 * by_rank.mean(axis=1).std() / len(pairs) ** 0.5
        cells = " | ".join(f"{value:.2f}" for value in by_rank.mean(axis=0))
        print(f"| {kind} | {cells} | {by_rank.mean():.2f} ± {half:.2f} | {at_random.mean():.2f} | {better:.0f} | {len(pairs)} |")
    if is_planted:
        print(f"\nPlanted bindings among the strongest links: {found} of {planted} ({100 * found / max(1, planted):.0f} %)")


def ranked(explanation: Explanation) -> list[tuple[str, list[Variant], list[float]]]:
    """(kind, what takes each unit away, its contribution) of words, and of moments of the voice and of the face."""
    words = [Variant(without_words=frozenset({word})) for word in explanation.words]
    kinds = [("words", words, list(explanation.words.values()))]
    for modality in ("audio", "vision"):
        moments = [moment for moment in explanation.moments if moment.span.modality == modality]
        units = [Variant(without_steps=((modality, moment.span.start_step, moment.span.end_step),)) for moment in moments]
        kinds.append((f"moments of {modality}", units, [moment.contribution for moment in moments]))
    return kinds


def curve(scorer: VariantScorer, given: UtteranceInput, explanation: Explanation, units: Sequence[Variant], order_by: np.ndarray) -> np.ndarray:
    """(share,) how far the score falls when the units with the largest numbers are gone, and rises without the smallest; the mean of both."""
    order = np.argsort(-order_by, kind="stable").tolist()
    counts = [max(1, round(share * len(units))) for share in SHARES]
    variants = [together([units[place] for place in order[:count]]) for count in counts]
    variants += [together([units[place] for place in order[-count:]]) for count in counts]
    scores = scorer.scores(given, variants)[:, explanation.explained]
    whole = explanation.scores[explanation.explained]
    return np.asarray(((whole - scores[: len(counts)]) + (scores[len(counts) :] - whole)) / 2)


def together(units: Sequence[Variant]) -> Variant:
    return Variant(
        without_words=frozenset(word for unit in units for word in unit.without_words),
        without_steps=tuple(step for unit in units for step in unit.without_steps),
    )


def count_links(explanation: Explanation, bindings: Sequence[Binding]) -> tuple[int, int]:
    """Planted bindings among as many of the strongest links as there are bindings, at most those that are kept; and how many that is."""
    truth = {
        (one.word, modality, step) for one in bindings for modality in ("audio", "vision") if (step := getattr(one, f"{modality}_step")) is not None
    }
    strongest = explanation.links[: len(truth)]
    hits = sum(any((link.word, link.span.modality, step) in truth for step in range(link.span.start_step, link.span.end_step)) for link in strongest)
    return hits, len(truth)


if __name__ == "__main__":
    main()
