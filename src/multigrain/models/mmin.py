"""MMIN: codes of the whole utterance and of single steps, side by side; attention leaves most steps at exactly zero.

Coarse: of each modality's summary h_m, a private code that shall tell the modality and a common one that shall hide it.
Fine: every modality's steps attend the others' with sparsemax, then the common codes ask the results. One Transformer layer
over all codes, concatenated, gives the prediction:

    X_m, h_m = states of all steps, one vector for the utterance                            (section 2.1: mmin_features.py)
    h_m^P = Private_m(h_m);  h_m^C = Common(h_m)                                            (Eqs. 1-2: mmin_coarse.py)
    h_m^F from all X_m, guided by all h_m^C                                                 (section 2.3: mmin_fine.py)
    y = W2 relu(W1 Transformer([h_m^P ; h_m^C ; h_m^F]_m))                                  (section 2.4)
    L = L_senti + alpha L_sep + beta L_ac + gamma L_ap                                      (Eq. 6, terms of Eqs. 3-5)

with alpha = `separation_weight`, beta = `adversarial_weight`, gamma = `private_weight`, and the modalities in the paper's order L, V, A.

Source: Fang, Liu and Zhang, "Multi-grained Multimodal Interaction Network for Sentiment Analysis", ICASSP 2024. With a
`text_encoder` the text is read by a language model, as in the paper; what it leaves open is decided in docs/decisions/mmin-open-points.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import Dropout
from multigrain.layers.gradient_reversal import reversal_weight, reverse_gradient
from multigrain.layers.transformer import TransformerSettings, TransformerStack
from multigrain.models.base import MultimodalModel, Paper, PaperResult
from multigrain.models.mmin_coarse import CoarseEncoders, Discriminator, Separation, identity_loss, separation_loss
from multigrain.models.mmin_features import LanguageStates, RecurrentFeatures, TextVectors
from multigrain.models.mmin_fine import FineNetwork
from multigrain.models.settings import require, require_heads, require_rates
from multigrain.schema import Batch, FeatureSpec, ModelOutput, Task

PAPER_ORDER = ("text", "vision", "audio")


@dataclass(frozen=True, kw_only=True)
class MMINConfig:
    """Settings of MMIN.

    Attributes:
        width: d, the common width of states and codes.
        num_heads: attention heads; divides width.
        num_layers: N, CA modules of each crossmodal stack, pairwise and coarse-guided.
        num_text_layers: self-attention layers over given word vectors and their summary; of no effect with a language model.
        num_fusion_layers: Transformer layers over the codes.
        attention: normalisation of crossmodal attention: `sparsemax` is MMIN, `softmax` shows what it is worth.
        residual: of the crossmodal layers: `plain` as published, or `normalised` as in MCMuT's Eq. 5; see `MulTConfig`.
        query_key_gain: factor on the initial query and key projections of crossmodal attention, as in `MulTConfig`; with sparsemax a
            sharper start also means fewer steps that answer at all.
        predicts_from_coarse: the prediction reads h^P and h^C; False is the paper's "w/o CIN", where their losses and the guidance stay.
        predicts_from_fine: the prediction reads h^F; False is the paper's "w/o FIN".
        separation: form of Eq. 5, `alignment`, `normalised` or `literal`; see `mmin_coarse.separation_loss`.
        separation_weight, adversarial_weight, private_weight: alpha, beta, gamma of Eq. 6; 0 takes the term away.
        attention_dropout: on attention weights.
        hidden_dropout: inside feed-forward layers, encoders and discriminator, after the ReLU.
        residual_dropout: on what attention and feed-forward layers give, before it is added.
        text_dropout, embedding_dropout, output_dropout: on the text features, on the text branch's input, in the head.
    """

    width: int = 128
    num_heads: int = 4
    num_layers: int = 3
    num_text_layers: int = 1
    num_fusion_layers: int = 1
    attention: Literal["sparsemax", "softmax"] = "sparsemax"
    residual: Literal["plain", "normalised"] = "plain"
    query_key_gain: float = 1.0
    predicts_from_coarse: bool = True
    predicts_from_fine: bool = True
    separation: Separation = "alignment"
    separation_weight: float = 0.3
    adversarial_weight: float = 0.1
    private_weight: float = 0.1
    attention_dropout: float = 0.1
    hidden_dropout: float = 0.1
    residual_dropout: float = 0.1
    text_dropout: float = 0.1
    embedding_dropout: float = 0.0
    output_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Checks every value."""
        require_heads("mmin", self.width, self.num_heads)
        for name in ("num_layers", "num_text_layers", "num_fusion_layers"):
            require(getattr(self, name) >= 1, "mmin", name, getattr(self, name), "at least 1")
        for name in ("separation_weight", "adversarial_weight", "private_weight"):
            require(getattr(self, name) >= 0.0, "mmin", name, getattr(self, name), "at least 0")
        require(self.query_key_gain > 0.0, "mmin", "query_key_gain", self.query_key_gain, "a positive number")
        reads = self.predicts_from_coarse or self.predicts_from_fine
        require(reads, "mmin", "predicts_from_fine", False, "true where predicts_from_coarse is false: the prediction must read something")
        require_rates("mmin", {name: getattr(self, name) for name in self.__dataclass_fields__ if name.endswith("dropout")})

    def settings(self, *, is_crossmodal: bool) -> TransformerSettings:
        """What the layers of one stack share."""
        return TransformerSettings(
            attention_dropout=self.attention_dropout,
            hidden_dropout=self.hidden_dropout,
            residual_dropout=self.residual_dropout,
            residual=self.residual if is_crossmodal else "plain",
            is_sparse=is_crossmodal and self.attention == "sparsemax",
            query_key_gain=self.query_key_gain if is_crossmodal else 1.0,
        )

    @property
    def has_private_codes(self) -> bool:
        """False where nothing would read or train them."""
        return self.predicts_from_coarse or self.separation_weight > 0 or self.private_weight > 0


class MMIN(MultimodalModel):
    """The multi-grained multimodal interaction network."""

    name: ClassVar[str] = "mmin"
    config_class: ClassVar[type] = MMINConfig
    paper: ClassVar[Paper] = Paper(
        "Multi-grained Multimodal Interaction Network for Sentiment Analysis", "ICASSP", 2024, "https://doi.org/10.1109/ICASSP48485.2024.10446351"
    )

    def __init__(self, config: MMINConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None):
        super().__init__(config, task, features, normalise=normalise, clip=clip)
        self.order = tuple(name for name in PAPER_ORDER if name in self.features)
        count, width, hidden_dropout = len(self.order), config.width, config.hidden_dropout
        dense = config.settings(is_crossmodal=False)
        self.branches = nn.ModuleDict({name: RecurrentFeatures(self.features[name].dim, width) for name in self.order if name != "text"})
        pooling = self.features["text"].pooling if "text" in self.order else None
        if pooling is not None:  # a language model's states, as in the paper
            self.branches["text"] = LanguageStates(self.features["text"].dim, width, pooling=pooling, text_dropout=config.text_dropout)
        elif "text" in self.order:
            dropouts = {"text_dropout": config.text_dropout, "embedding_dropout": config.embedding_dropout}
            self.branches["text"] = TextVectors(self.features["text"].dim, width, config.num_heads, config.num_text_layers, dense, **dropouts)
        self.encoders = CoarseEncoders(self.order, width, hidden_dropout=hidden_dropout, has_private=config.has_private_codes)
        tells_apart = count > 1 and (config.adversarial_weight > 0 or config.private_weight > 0)
        self.discriminator = Discriminator(count, width, hidden_dropout=hidden_dropout) if tells_apart else None
        self.reversal_weight = reversal_weight(0.0)
        crossmodal = config.settings(is_crossmodal=True)
        self.fine = FineNetwork(self.order, width, config.num_heads, config.num_layers, crossmodal) if config.predicts_from_fine else None
        self.fusion = TransformerStack(width, config.num_heads, config.num_fusion_layers, dense, is_crossmodal=False)
        num_codes = count * (2 * config.predicts_from_coarse + config.predicts_from_fine)
        self.hidden = nn.Linear(num_codes * width, width)
        self.output_dropout = Dropout(config.output_dropout)
        self.output = nn.Linear(width, task.head_dim)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; `attention["audio_to_text"]` holds one tensor per CA module of that pair."""
        sequences = self.prepare(batch)
        read = {name: self.branches[name](sequences[name]) for name in self.order}  # section 2.1
        present = torch.stack([sequences[name].is_present for name in self.order])
        summaries = torch.stack([summary for _, summary in read.values()])
        private, common = self.encoders(summaries, present)  # Eqs. 1-2
        losses = self._constraints(private, common, present)  # Eqs. 3-5, weighted as in Eq. 6
        codes = {"private": private, "common": common} if self.config.predicts_from_coarse else {}
        attention: dict[str, list[Tensor]] = {}
        if self.fine is not None:  # section 2.3
            states = {name: steps for name, (steps, _) in read.items()}
            biases = {name: AttentionBias.from_mask(sequences[name].mask) for name in self.order}
            masks = {name: sequences[name].mask for name in self.order}
            fine, attention = self.fine(states, common, biases, masks, with_weights=with_attention)
            codes["fine"] = fine.masked_fill(~present.unsqueeze(-1), 0.0)
        fused = self._fuse(torch.cat(list(codes.values())), self._read(list(codes), present))  # section 2.4
        hidden = self.hidden(fused).relu()
        named = {f"{kind}_{name}": code for kind, stacked in codes.items() for name, code in zip(self.order, stacked, strict=True)}
        prediction = self.output(self.output_dropout(hidden))
        return ModelOutput(prediction, losses=losses, representations={**named, "fused": fused, "hidden": hidden}, attention=attention)

    @property
    def has_sparse_attention(self) -> bool:
        """True with sparsemax."""
        return self.config.attention == "sparsemax" and self.config.predicts_from_fine

    def set_progress(self, progress: float) -> None:
        """Lets the discriminator push the common encoder more as training goes on."""
        self.reversal_weight = reversal_weight(progress)

    def _constraints(self, private: Tensor | None, common: Tensor, present: Tensor) -> dict[str, Tensor]:
        config, losses = self.config, {}
        if private is not None and config.separation_weight > 0:
            losses["separation"] = config.separation_weight * separation_loss(common, private, present, config.separation)  # Eq. 5
        if self.discriminator is not None and config.adversarial_weight > 0:
            hidden_identity = self.discriminator(reverse_gradient(common, self.reversal_weight))
            losses["adversarial"] = config.adversarial_weight * identity_loss(hidden_identity, present)  # Eq. 3
        if self.discriminator is not None and private is not None and config.private_weight > 0:
            losses["private"] = config.private_weight * identity_loss(self.discriminator(private), present)  # Eq. 4
        return losses

    @property
    def ablations(self) -> dict[str, frozenset[str]]:
        """The prediction without CIN's codes or FIN's, and without each guided code of FIN; as the paper's "w/o CIN", but of the same weights."""
        kinds = ("private", "common") if self.config.predicts_from_coarse else ()
        found: dict[str, frozenset[str]] = {}
        if kinds and self.fine is not None:
            found |= {"without CIN": frozenset(kinds), "without FIN": frozenset({"fine"})}
        found |= {f"without {kind} codes": frozenset({kind}) for kind in kinds if len(kinds) + (self.fine is not None) > 1}
        if self.fine is not None and len(self.order) * (len(kinds) + 1) > 1:
            found |= {f"without the guided code of {name}": frozenset({f"fine {name}"}) for name in self.order}
        return found

    def _read(self, kinds: list[str], present: Tensor) -> Tensor:
        """Which codes are read: those of modalities that are there, less what `without` leaves out."""
        if not self.left_out:
            return present.repeat(len(kinds), 1)
        rows = [
            row & torch.tensor(not {kind, f"{kind} {name}"} & self.left_out, device=row.device)
            for kind in kinds
            for row, name in zip(present, self.order, strict=True)
        ]
        return torch.stack(rows)

    def _fuse(self, codes: Tensor, present: Tensor) -> Tensor:
        """All codes (code, batch, dim) through the Transformer, one after another; absent ones neither ask nor answer."""
        states, _ = self.fusion(codes.transpose(0, 1), None, AttentionBias.from_mask(present.T))
        return states.masked_fill(~present.T.unsqueeze(-1), 0.0).flatten(1)

    paper_results: ClassVar[tuple[PaperResult, ...]] = tuple(
        PaperResult(
            dataset,
            "unaligned; BERT, COVAREP, Facet",
            "mmsa",
            {"mae": mae, "correlation": corr, "accuracy_2_has0": acc_has0, "accuracy_2_non0": acc_non0, "f1_has0": f1_has0, "f1_non0": f1_non0},
            f"MMIN paper, {table}",
            variant,
        )
        for dataset, table, variant, mae, corr, acc_has0, acc_non0, f1_has0, f1_non0 in (
            ("MOSI", "Table 1", "", 0.741, 0.795, 83.53, 85.52, 83.46, 85.51),
            ("MOSEI", "Table 1", "", 0.542, 0.761, 83.84, 85.88, 83.91, 85.76),
            ("MOSI", "Table 2", "without_coarse", 0.773, 0.777, 82.07, 83.84, 82.03, 83.86),
            ("MOSI", "Table 2", "without_fine", 0.769, 0.783, 82.43, 84.27, 82.31, 84.45),
            ("MOSI", "Table 2", "without_text", 1.313, 0.554, 75.80, 78.05, 75.22, 77.62),
            ("MOSI", "Table 2", "without_vision", 0.775, 0.786, 81.92, 83.99, 81.86, 84.00),
            ("MOSI", "Table 2", "without_audio", 0.801, 0.789, 81.63, 83.54, 81.68, 83.63),
            ("MOSI", "Table 2", "without_separation", 0.755, 0.785, 82.49, 84.38, 82.50, 84.45),
            ("MOSI", "Table 2", "without_adversarial", 0.784, 0.763, 82.97, 83.80, 81.98, 83.76),
            ("MOSI", "Table 2", "without_private", 0.754, 0.789, 82.94, 84.45, 82.94, 84.50),
        )
    )
