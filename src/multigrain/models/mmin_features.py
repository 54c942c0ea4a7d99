"""What MMIN reads of each modality (its section 2.1): the states X_m of all steps, and one vector h_m for the utterance.

    text:            [h_L ; X_L] = SelfAttention([c + s_r ; S]),   S = drop(sqrt(d) W X + PE)
    audio, vision:   X_m = LSTM_m(X);   h_m = its state at the step that stands for the utterance

The paper takes BERT for the text: that is `LanguageStates`, where h_L is the state of [CLS] or the mean of all states. Given word
vectors pass `TextVectors` instead, whose summary c is learned and stands where BERT has [CLS].
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import Dropout
from multigrain.layers.masking import first_step, mean_of_steps, read_step
from multigrain.layers.recurrent import precision_of_recurrence
from multigrain.layers.temporal_projection import TemporalProjection
from multigrain.layers.transformer import PositionalInput, TransformerSettings, TransformerStack
from multigrain.schema import ModalitySequence


class TextVectors(nn.Module):
    """The text branch for given word vectors: self-attention over the words and a learned summary in front of them."""

    def __init__(
        self, dim: int, width: int, num_heads: int, num_layers: int, settings: TransformerSettings, *, text_dropout: float, embedding_dropout: float
    ):
        super().__init__()
        self.text_dropout = Dropout(text_dropout)
        self.projection = TemporalProjection(dim, width)
        self.input = PositionalInput(width, dropout=embedding_dropout)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.stack = TransformerStack(width, num_heads, num_layers, settings, is_crossmodal=False)

    def forward(self, sequence: ModalitySequence) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
        """X_L and h_L. The summary starts from the readout step, so that in a video's context it is the utterance's, not the video's."""
        words = self.input(self.projection(self.text_dropout(sequence.features), sequence.mask))
        summary = self.summary + read_step(words, sequence.readout, sequence.mask)
        mask = nn.functional.pad(sequence.mask, (1, 0), value=True)
        states, _ = self.stack(torch.cat([summary.unsqueeze(1), words], dim=1), None, AttentionBias.from_mask(mask).of_target(mask))
        return states[:, 1:], states[:, 0]


class LanguageStates(nn.Module):
    """The text branch for a language model: its states, which already know their neighbours and places, brought to the model's width."""

    def __init__(self, dim: int, width: int, *, pooling: Literal["first", "mean"], text_dropout: float):
        super().__init__()
        self.pooling = pooling
        self.text_dropout = Dropout(text_dropout)
        self.states = nn.Linear(dim, width)
        self.summary = nn.Linear(dim, width)

    def forward(self, sequence: ModalitySequence) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
        """X_L and h_L; 0 where the text is absent."""
        states = self.text_dropout(sequence.features)
        pooled = (first_step if self.pooling == "first" else mean_of_steps)(states, sequence.mask)
        steps = self.states(states).masked_fill(~sequence.mask.unsqueeze(-1), 0.0)
        return steps, self.summary(pooled).masked_fill(~sequence.is_present.unsqueeze(-1), 0.0)


class RecurrentFeatures(nn.Module):
    """The audio or vision branch: an LSTM, whose state is as wide as the model."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.recurrent = nn.LSTM(dim, width, batch_first=True)

    def forward(self, sequence: ModalitySequence) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
        """X_m and h_m; it reads forwards, so that padding on the right changes no real step."""
        with precision_of_recurrence(sequence.features):
            states, _ = self.recurrent(sequence.features)
        return states, read_step(states, sequence.readout, sequence.mask)
