"""MCMuT: two modalities climb together, each level asking several of the other's levels.

For each unordered pair of modalities two streams grow in step: Z_{beta->alpha} (alpha asks, beta answers) and
Z_{alpha->beta}. Level i of one attends levels j < i of the other:

    X^_m = Conv1D(X_m, k_m);  Z_m^[0] = X^_m + PE(T_m)                                        (Eqs. 1-2)
    H^[i] = { CM(Z_{beta->alpha}^[i-1], Z_{alpha->beta}^[j]) }_j                              (Eqs. 3-4)
    A^[i] = multi-scale attention over H^[i]
    R = A^[i] + LN(Z_{beta->alpha}^[i-1]);  Z_{beta->alpha}^[i] = R + f(LN(R))                (Eq. 5)

Which j: see `mcmut_levels.source_levels` (blocks of one multi-scale layer and L-1 single-scale layers; three variants).

Two things stand beside the equations as printed, both as in MulT's code: X^ is multiplied by sqrt(d) before positions are added, and what enters
CM passes a layer norm first (Eqs. 3-4 have none; Eq. 5's residual is LN(Z_{beta->alpha}^[i-1])).

Source: Ma, Yao, Liang and Liu, "Multi-scale Cooperative Multimodal Transformers for Multimodal Sentiment Analysis in
Videos", AAAI 2023. What the paper leaves open is decided in docs/decisions/mcmut-open-points.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from multigrain.layers.attention import AttentionBias
from multigrain.layers.dropout import Dropout
from multigrain.layers.feed_forward import FeedForward
from multigrain.layers.head import ResidualHead
from multigrain.layers.multi_scale import MultiScaleAttention, ScaleAggregation, ScaleMean, draw_kept_scales
from multigrain.layers.native.layer import LayerCall, Rates, is_native, layer_call, native_layers
from multigrain.layers.temporal_projection import TemporalProjection
from multigrain.layers.transformer import PositionalInput, Reading, TransformerSettings, TransformerStack, read_together
from multigrain.models.base import MultimodalModel, Paper
from multigrain.models.mcmut_levels import Interaction, SourceScales, level_turn, needed_levels, reverse, source_levels, stream_depth
from multigrain.models.settings import directions, number_for, require, require_heads, require_per_modality, require_rates, require_targets
from multigrain.schema import Batch, FeatureSpec, ModalitySequence, ModelOutput, Task


@dataclass(frozen=True, kw_only=True)
class MCMuTConfig:
    """Settings of MCMuT.

    Attributes:
        width: d, the common width of the modalities.
        num_heads: attention heads; divides width.
        num_blocks: B, blocks of a stream; or one number per modality, as `{text: 4, audio: 2, vision: 2}`.
        layers_per_block: L; or one number per modality.
        interaction: `block` is MCMuT; `dense`, `local_dense` and `global` are the paper's variants.
        source_scales: `all`, or `lowest`: attend level 0 alone, which makes `dense` a MulT.
        uses_scale_attention: weigh scales by attention; otherwise their plain mean.
        targets: the modalities whose streams are read for the prediction; None for all that the data has.
        scales_low_level: multiply X^ of Eq. 2 by sqrt(d), as MulT's code does; False is the equation as printed.
        num_summary_layers: layers of the self-attention stack over each target's concatenated streams.
        kernel_size: k of Eq. 1, of the convolution over time, odd; or one per modality, as `{text: 1, audio: 3, vision: 3}`.
        attention_dropout: on all attention weights (0.2 in the paper).
        scale_dropout: probability that a scale above the lowest is left out of a layer, for an utterance, in training; it stays for
            three quarters of the training and then falls linearly to 0. 0 as in the paper; at 1 those quarters train, and are validated,
            with the lowest scale alone, and what is left out is not computed.
        residual: what an attention's result is added to: `normalised` is Eq. 5's LN(Z^[i-1]), `plain` Z^[i-1] itself, as MulT has it, with
            which 12 levels learned the planted set in 12 epochs and without which they did not (docs/decisions/planted-experiments.md).
        query_key_gain: factor on the initial query and key projections of crossmodal attention; above 1, steps are told apart from
            the start, and matching by content is found sooner (docs/decisions/planted-experiments.md).
        hidden_dropout: inside feed-forward layers, after the ReLU (0.1 in the paper: "full-connection layers").
        residual_dropout: on what attention and feed-forward layers give, before it is added (the same 0.1).
        text_dropout, embedding_dropout, output_dropout: on the text features, on low-level features, in the head.
    """

    width: int = 40
    num_heads: int = 5
    num_blocks: int | dict[str, int] = 4
    layers_per_block: int | dict[str, int] = 3
    interaction: Interaction = "block"
    source_scales: SourceScales = "all"
    uses_scale_attention: bool = True
    targets: tuple[str, ...] | None = None
    scales_low_level: bool = True
    num_summary_layers: int = 3
    kernel_size: int | dict[str, int] = 1
    attention_dropout: float = 0.2
    scale_dropout: float = 0.0
    residual: Literal["plain", "normalised"] = "normalised"
    query_key_gain: float = 1.0
    hidden_dropout: float = 0.1
    residual_dropout: float = 0.1
    text_dropout: float = 0.0
    embedding_dropout: float = 0.0
    output_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Checks every value."""
        require_heads("mcmut", self.width, self.num_heads)
        require_per_modality("mcmut", "num_blocks", self.num_blocks, lambda number: number >= 1, "at least 1")
        require_per_modality("mcmut", "layers_per_block", self.layers_per_block, lambda number: number >= 1, "at least 1")
        require_per_modality("mcmut", "kernel_size", self.kernel_size, lambda number: number % 2 == 1 and number > 0, "an odd number")
        require(self.num_summary_layers >= 1, "mcmut", "num_summary_layers", self.num_summary_layers, "at least 1")
        require(self.query_key_gain > 0.0, "mcmut", "query_key_gain", self.query_key_gain, "a positive number")
        require_targets("mcmut", self.targets)
        rates = {name: getattr(self, name) for name in self.__dataclass_fields__ if name.endswith("dropout") and name != "scale_dropout"}
        require_rates("mcmut", rates)
        require(0.0 <= self.scale_dropout <= 1.0, "mcmut", "scale_dropout", self.scale_dropout, "a probability")

    def of(self, setting: Literal["num_blocks", "layers_per_block", "kernel_size"], modality: str) -> int:
        """A setting that may have a number per modality; of blocks and layers, that of the streams whose target it is."""
        return number_for("mcmut", setting, getattr(self, setting), modality)

    def depth(self, modality: str) -> int:
        """Levels above the low-level one of the streams whose target is `modality`."""
        return stream_depth(self.interaction, self.of("num_blocks", modality), self.of("layers_per_block", modality))

    def asked_levels(self, stream: str) -> dict[int, tuple[int, ...]]:
        """Level of a stream such as "audio_to_text" -> the levels of the reverse stream that it asks."""
        source, _, target = stream.partition("_to_")
        layers, source_layers = self.of("layers_per_block", target), self.of("layers_per_block", source)
        return {
            level: source_levels(self.interaction, level, layers, self.depth(source), self.source_scales, source_layers)
            for level in range(1, self.depth(target) + 1)
        }


class MultiScaleLayer(nn.Module):
    """One level of a stream: a MACT layer, or a CT layer where it attends a single scale."""

    def __init__(self, config: MCMuTConfig, num_scales: int):
        super().__init__()
        self.target_norm = nn.LayerNorm(config.width)
        self.source_norm = nn.LayerNorm(config.width)
        self.crossmodal = MultiScaleAttention(
            config.width, config.num_heads, num_scales, dropout=config.attention_dropout, query_key_gain=config.query_key_gain
        )
        self.scale_dropout, self.left_out, self.adds_to_normalised = config.scale_dropout, frozenset[int](), config.residual == "normalised"
        self.aggregation: nn.Module = ScaleMean()
        if num_scales > 1 and config.uses_scale_attention:
            self.aggregation = ScaleAggregation(config.width, config.num_heads, num_scales, dropout=config.attention_dropout)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = FeedForward(config.width, hidden_dropout=config.hidden_dropout)
        self.residual_dropout = Dropout(config.residual_dropout)

    @property
    def has_lowest_only(self) -> bool:
        """Whether scale dropout leaves every higher scale of every utterance out, in validation too: they are not trained yet."""
        return self.scale_dropout >= 1.0

    def forward(
        self, target: Float[Tensor, "batch target dim"], sources: list[Tensor], bias: AttentionBias, *, with_weights: bool = False
    ) -> tuple[Float[Tensor, "batch target dim"], Float[Tensor, "batch scale head target source"] | None]:
        """The target stream's next level, from its last one and the source stream's levels."""
        if self.has_lowest_only:
            sources = sources[:1]  # those left out need not be computed
        if not with_weights and self.is_native(target, sources, bias):
            return native_layers([target, *sources], [self.native_call(0, range(1, 1 + len(sources)), bias, len(target))])[0], None
        kept = self._kept_scales(len(sources), target.shape[0], target.device)
        normalised = self.target_norm(target)
        candidates, weights = self.crossmodal(normalised, sources, bias, source_norm=self.source_norm, with_weights=with_weights)  # Eqs. 3-4
        aggregated = candidates[0] if self.crossmodal.num_scales == 1 else self.aggregation(candidates, kept)  # multi-scale attention, or the mean
        residual = self.residual_dropout.add_to(normalised if self.adds_to_normalised else target, aggregated)
        return self.feed_forward.add_to(residual, self.feed_forward_norm, self.residual_dropout), weights  # Eq. 5

    def _kept_scales(self, scales: int, batch: int, device: torch.device) -> Tensor | None:
        """Which scales are used, where scale dropout or an ablation leaves any out; an ablation leaves the last one that a layer has."""
        if self.training and self.scale_dropout > 0.0 and not self.has_lowest_only and self.crossmodal.num_scales > 1:
            return draw_kept_scales(scales, batch, self.scale_dropout, device)
        kept = [scale not in self.left_out for scale in range(scales)]
        if all(kept) or not any(kept):
            return None
        return torch.tensor(kept, device=device).unsqueeze(1).repeat(1, batch)

    def is_native(self, target: Tensor, sources: list[Tensor], bias: AttentionBias) -> bool:
        """Whether this can be computed by the compiled layer."""
        return is_native(target, sources, bias.allowed, self.crossmodal.num_heads, self.target_norm.weight)

    def native_call(self, target: int, sources: Sequence[int], bias: AttentionBias, batch: int) -> LayerCall:
        """This layer for `native_layers`, from numbers of states."""
        aggregation, rate = self.aggregation, self.crossmodal.dropout
        rates = Rates(attention=rate, aggregation=rate, hidden=self.feed_forward.hidden_dropout.rate, residual=self.residual_dropout.rate)
        return layer_call(
            target,
            sources,
            target_norm=self.target_norm,
            source_norm=self.source_norm,
            attention=self.crossmodal.native_parameters(len(sources)),
            scales=aggregation.native_parameters(len(sources)) if isinstance(aggregation, ScaleAggregation) else None,
            feed_forward=self.feed_forward,
            feed_forward_norm=self.feed_forward_norm,
            num_heads=self.crossmodal.num_heads,
            rates=rates if self.training else Rates(),
            adds_to_normalised=self.adds_to_normalised,
            allowed=bias.allowed,
            present=bias.present,
            kept=self._kept_scales(len(sources), batch, torch.device("cpu")),
            asking=bias.asking,
        )


class _Step(NamedTuple):
    """One level of one stream: its layer, and the numbers of the states that it continues and asks."""

    stream: str
    layer: MultiScaleLayer
    below: int
    asked: list[int]


class MCMuT(MultimodalModel):
    """The multi-scale cooperative multimodal Transformer."""

    name: ClassVar[str] = "mcmut"
    reads_shared_contexts: ClassVar[bool] = True
    config_class: ClassVar[type] = MCMuTConfig
    paper: ClassVar[Paper] = Paper(
        "Multi-scale Cooperative Multimodal Transformers for Multimodal Sentiment Analysis in Videos",
        "AAAI",
        2023,
        "https://arxiv.org/abs/2206.07981",
    )

    def __init__(self, config: MCMuTConfig, task: Task, features: Mapping[str, FeatureSpec], *, normalise: bool = False, clip: float | None = None):
        super().__init__(config, task, features, normalise=normalise, clip=clip)
        self.sources = directions("mcmut", config.targets, self.features)
        outputs = tuple(f"{source}_to_{target}" for target, sources in self.sources.items() for source in sources)
        streams = tuple(f"{source}_to_{target}" for source in self.features for target in self.features if source != target)
        depths = {stream: config.depth(stream.partition("_to_")[2]) for stream in streams}
        self.asks = {stream: config.asked_levels(stream) for stream in streams}
        needed = needed_levels(outputs, self.asks, depths)
        lowest = {stream: {level: asked[:1] for level, asked in levels.items()} for stream, levels in self.asks.items()}
        self.needed_by_lowest = needed_levels(outputs, lowest, depths)
        self.skips_parameters = config.scale_dropout >= 1.0
        if config.scale_dropout > 0.0:  # a checkpoint of an epoch without the higher scales predicts without them
            self.register_buffer("scale_dropout", torch.tensor(config.scale_dropout))
            self.register_load_state_dict_post_hook(_read_scale_dropout)  # type: ignore[no-untyped-call]
        self.current_scale_dropout = config.scale_dropout  # what the buffer holds; a GPU would have to be waited for to read it
        self.projections = nn.ModuleDict(
            {name: TemporalProjection(spec.dim, config.width, kernel_size=config.of("kernel_size", name)) for name, spec in self.features.items()}
        )
        self.text_dropout = Dropout(config.text_dropout)
        self.low_level_input = PositionalInput(config.width, dropout=config.embedding_dropout, is_scaled=config.scales_low_level)
        self.streams = nn.ModuleDict(
            {
                stream: nn.ModuleList(MultiScaleLayer(config, len(self.asks[stream][level])) for level in sorted(needed[stream]))
                for stream in streams
                if needed[stream]
            }
        )
        self.final_norms = nn.ModuleDict({stream: nn.LayerNorm(config.width) for stream in outputs})
        target_width = config.width * (len(self.features) - 1)
        settings = TransformerSettings(
            attention_dropout=config.attention_dropout, hidden_dropout=config.hidden_dropout, residual_dropout=config.residual_dropout
        )
        self.summary_input = PositionalInput(target_width, dropout=config.embedding_dropout)
        self.summary = nn.ModuleDict(
            {
                target: TransformerStack(target_width, config.num_heads, config.num_summary_layers, settings, is_crossmodal=False)
                for target in self.sources
            }
        )
        self.head = ResidualHead(target_width * len(self.sources), task.head_dim, dropout=config.output_dropout)

    def forward(self, batch: Batch, with_attention: bool = False) -> ModelOutput:
        """Predicts a batch; `attention["audio_to_text"]` holds one tensor per level of that stream."""
        sequences = self.prepare(batch)
        low_level = {name: self._low_level(name, sequence) for name, sequence in sequences.items()}  # Eqs. 1-2
        biases = {name: AttentionBias.from_mask(sequence.mask) for name, sequence in sequences.items()}
        of_streams = {stream: biases[stream.partition("_to_")[0]].of_target(sequences[stream.partition("_to_")[2]].mask) for stream in self.asks}
        tops, attention = self._climb(low_level, of_streams, with_attention)  # Eqs. 3-5
        readings = []
        for target, sources in self.sources.items():
            streams = [self.final_norms[f"{source}_to_{target}"](tops[f"{source}_to_{target}"]) for source in sources]
            sequence, stack = sequences[target], cast(TransformerStack, self.summary[target])
            states, bias = self.summary_input(torch.cat(streams, dim=-1)), biases[target].of_target(sequence.mask)
            readings.append(Reading(stack, states, bias, sequence.readout, sequence.mask, sequence.rows))
        summaries = read_together(readings)
        fused = torch.cat(summaries, dim=-1)
        prediction, hidden = self.head(fused)
        return ModelOutput(prediction, representations={"fused": fused, "hidden": hidden}, attention=attention)

    @property
    def _layers(self) -> dict[str, list[nn.Module]]:
        return {stream: list(cast(nn.ModuleList, layers)) for stream, layers in self.streams.items()}

    def set_progress(self, progress: float) -> None:
        """Lets the higher scales in over the last quarter of training."""
        if self.config.scale_dropout > 0.0:
            self.current_scale_dropout = self.config.scale_dropout * min(1.0, 4.0 * (1.0 - progress))
            cast(Tensor, self.scale_dropout).fill_(self.current_scale_dropout)

    @property
    def ablations(self) -> dict[str, frozenset[str]]:
        """Only the lowest scale, and each one left out, in all layers that ask several."""
        scales = [f"scale {number}" for number in range(max(len(asked) for levels in self.asks.values() for asked in levels.values()))]
        if len(scales) == 1:
            return {}
        found = {"only scale 0": frozenset(scales[1:]), **{f"without {scale}": frozenset({scale}) for scale in scales}}
        if len(scales) == 2:
            del found["without scale 1"]  # the same thing
        return found

    def _low_level(self, name: str, sequence: ModalitySequence) -> Tensor:
        features = self.text_dropout(sequence.features) if name == "text" else sequence.features
        return self.low_level_input(self.projections[name](features, sequence.mask))

    def _climb(
        self, low_level: dict[str, Tensor], biases: dict[str, AttentionBias], with_attention: bool
    ) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
        """The last level of every stream; all layers in one call where they are compiled."""
        self._tell_layers_what_is_left_out()
        states = list(low_level.values())
        attention: dict[str, list[Tensor]] = {}
        steps, tops = self._plan(list(low_level))
        if not with_attention and all(
            step.layer.is_native(low_level[target], [low_level[source]] * len(step.asked), biases[step.stream])
            for step in steps
            for source, _, target in [step.stream.partition("_to_")]
        ):
            calls = [step.layer.native_call(step.below, step.asked, biases[step.stream], len(states[0])) for step in steps]
            return dict(zip(tops, native_layers(states, calls, list(tops.values())), strict=True)), {}
        for step in steps:
            result, weights = step.layer(
                states[step.below], [states[asked] for asked in step.asked], biases[step.stream], with_weights=with_attention
            )
            states.append(result)
            if weights is not None:
                attention.setdefault(step.stream, []).append(weights)
        return {stream: states[top] for stream, top in tops.items()}, attention

    def _tell_layers_what_is_left_out(self) -> None:
        left_out = frozenset(int(part.removeprefix("scale ")) for part in self.left_out)
        for layer in (cast(MultiScaleLayer, layer) for layers in self._layers.values() for layer in layers):
            layer.scale_dropout, layer.left_out = self.current_scale_dropout, left_out

    def _plan(self, low_level: list[str]) -> tuple[list[_Step], dict[str, int]]:
        """All streams level by level (see `level_turn`), each level a state with the next number after the low levels; and each stream's last one.

        Both of a tower are computed from levels below, then both move on.
        """
        levels = {stream: [low_level.index(stream.partition("_to_")[2])] for stream in self.asks}
        turns = {
            (stream, level): level_turn(self.config.interaction, level, self.config.of("layers_per_block", stream.partition("_to_")[2]))
            for stream, layers in self._layers.items()
            for level in range(1, len(layers) + 1)
        }
        steps: list[_Step] = []
        for stream, level in sorted(turns, key=turns.__getitem__):  # those of equal turn stay as they are
            layer = cast(MultiScaleLayer, self._layers[stream][level - 1])
            if layer.has_lowest_only and level not in self.needed_by_lowest[stream]:
                continue
            asked = [levels[reverse(stream)][below] for below in self.asks[stream][level][: 1 if layer.has_lowest_only else None]]
            steps.append(_Step(stream, layer, levels[stream][level - 1], asked))
            levels[stream].append(len(low_level) + len(steps) - 1)
        return steps, {stream: numbers[-1] for stream, numbers in levels.items()}


def _read_scale_dropout(model: nn.Module, keys: object) -> None:
    """After weights are loaded: how many scales the epoch left out that they are of."""
    assert isinstance(model, MCMuT)
    model.current_scale_dropout = float(cast(Tensor, model.scale_dropout))
