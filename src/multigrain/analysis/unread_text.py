"""Text that a model cannot read is taken away before it is scored, and what of a text did not reach the model is said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from multigrain.analysis.variants import UtteranceInput
from multigrain.language.readable import unreadable_reasons
from multigrain.schema import ModalitySequence, Utterance

if TYPE_CHECKING:
    from multigrain.models.base import MultimodalModel

Inputs = Sequence[tuple[Utterance, UtteranceInput]]


def without_unreadable_text(model: "MultimodalModel", inputs: Inputs) -> tuple[Inputs, list[Mapping[str, str]]]:
    """The inputs with the text absent where the checkpoint's language model cannot read it; and for each utterance why, by modality."""
    if model.text_encoder is None or "text" not in model.features:
        return inputs, [{} for _ in inputs]
    reasons = unreadable_reasons(model.text_encoder.reader, [given.words if "text" in given.present else () for _, given in inputs])
    kept = [(utterance, given if reason is None else _without_text(given)) for (utterance, given), reason in zip(inputs, reasons, strict=True)]
    return kept, [{} if reason is None else {"text": f"the words are not read: {reason}"} for reason in reasons]


def _without_text(given: UtteranceInput) -> UtteranceInput:
    text = given.batch.text
    assert text is not None
    like = torch.zeros(1)
    absent = ModalitySequence.absent(1, text.features.shape[-1], like)
    tokens = given.batch.tokens
    if tokens is not None:
        tokens = replace(tokens, ids=tokens.ids[:, :1], mask=torch.zeros_like(tokens.mask[:, :1]), word=torch.full_like(tokens.word[:, :1], -1))
    return replace(given, batch=replace(given.batch, text=absent, tokens=tokens), word_of_step=np.zeros(0, np.int64))


def unreadable_notes(unread: Sequence[Mapping[str, str]]) -> list[str]:
    """A sentence for each reason for which text was not read."""
    counts: dict[str, int] = {}
    for entry in unread:
        if "text" in entry:
            counts[entry["text"]] = counts.get(entry["text"], 0) + 1
    return [f"{_utterances(count, len(unread))}: {reason}. The text had no part in the score." for reason, count in counts.items()]


def beyond_notes(inputs: Sequence[UtteranceInput], unread: Sequence[Mapping[str, str]]) -> list[str]:
    """A sentence that says how many words were beyond what the language model takes, where there are any."""
    beyond = []
    for given, entry in zip(inputs, unread, strict=True):
        if given.batch.tokens is not None and "text" not in entry and given.words_read:
            beyond.append(len(given.words) - 1 - max(given.words_read))
    long = [count for count in beyond if count > 0]
    if not long:
        return []
    which = "the last word is" if sum(long) == 1 else f"the last {sum(long)} words are"
    return [f"{_utterances(len(long), len(inputs))}: {which} beyond what the language model takes, and not read."]


def _utterances(count: int, total: int) -> str:
    return "In this utterance" if total == 1 else f"In {count} of the {total} utterances"
