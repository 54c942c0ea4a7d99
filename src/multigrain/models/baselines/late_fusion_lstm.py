"""LF-LSTM: an LSTM per modality, their states concatenated, a head. No modality sees another before the end.

    h_m = LSTM_m(X_m);  y = head([h_L, h_A, h_V])

Source: the late-fusion baseline of the tables of MulT (ACL 2019) and MCMuT (AAAI 2023).
Departure from public code: the state is read at the last *real* step, not after the padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from multigrain.layers.dropout import Dropout
from multigrain.layers.head import ResidualHead
from multigrain.layers.masking import read_step
from multigrain.layers.recurrent import precision_of_recurrence
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.settings import require, require_rates
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class LateFusionLSTMConfig:
    """Settings of the late-fusion LSTM.

    Attributes:
        width: of each LSTM's state (per direction).
        num_layers: stacked LSTM layers.
        is_bidirectional: also read each sequence backwards; the forward and backward states at the readout step and
            the backward state at the first step are then concatenated.
        input_dropout: on the features.
        hidden_dropout: between stacked layers and on the states that are read.
        output_dropout: in the head.
    """

    width: int = 64
    num_layers: int = 1
    is_bidirectional: bool = False
    input_dropout: float = 0.0
    hidden_dropout: float = 0.1
    output_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Checks every value."""
        require(self.width >= 1, "lf_lstm", "width", self.width, "at least 1")
        require(self.num_layers >= 1, "lf_lstm", "num_layers", self.num_layers, "at least 1")
        require_rates("lf_lstm", {name: getattr(self, name) for name in self.__dataclass_fields__ if name.endswith("dropout")})


class LateFusionLSTM(MultimodalModel):
    """One LSTM a modality, fused at the end."""

    name: ClassVar[str] = "lf_lstm"
    reads_shared_contexts: ClassVar[bool] = True
    config_class: ClassVar[type] = LateFusionLSTMConfig
    paper: ClassVar[Paper] = Paper(
        "Multimodal Transformer for Unaligned Multimodal Language Sequences (late-fusion baseline)",
        "ACL",
        2019,
        "https://aclanthology.org/P19-1656",
    )

    def __init__(
        self,
        config: LateFusionLSTMConfig,
        task: Task,
        features: Mapping[str, FeatureSpec],
        *,
        normalise: bool = False,
        clip: float | None = None,
    ):
        super().__init__(config, task, features, normalise=normalise, clip=clip)
        self.recurrent = nn.ModuleDict(
            {
                name: nn.LSTM(
                    spec.dim,
                    config.width,
                    num_layers=config.num_layers,
                    batch_first=True,
                    bidirectional=config.is_bidirectional,
                    dropout=config.hidden_dropout if config.num_layers > 1 else 0.0,
                )
                for name, spec in self.features.items()
            }
        )
        self.input_dropout = Dropout(config.input_dropout)
        self.state_dropout = Dropout(config.hidden_dropout)
        code_width = config.width * (3 if config.is_bidirectional else 1)
        self.head = ResidualHead(code_width * len(self.features), task.head_dim, dropout=config.output_dropout)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; there is no attention to return."""
        codes = {name: self._code(name, sequence) for name, sequence in self.prepare(batch).items()}
        fused = torch.cat(list(codes.values()), dim=-1)
        prediction, hidden = self.head(self.state_dropout(fused))
        return ModelOutput(prediction, representations={**codes, "fused": fused, "hidden": hidden})

    def _code(self, name: str, sequence: ModalitySequence) -> Tensor:
        lengths = sequence.lengths.clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.input_dropout(sequence.features), lengths, batch_first=True, enforce_sorted=False)
        with precision_of_recurrence(sequence.features):
            answers, _ = self.recurrent[name](packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(answers, batch_first=True, total_length=sequence.features.shape[1])
        code = read_step(states, sequence.readout, sequence.mask, sequence.rows)
        if not self.config.is_bidirectional:
            return code
        first = read_step(states, torch.zeros_like(sequence.readout), sequence.mask, sequence.rows)
        return torch.cat([code, first[:, self.config.width :]], dim=-1)
