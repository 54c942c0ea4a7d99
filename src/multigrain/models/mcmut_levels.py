"""Which level of a stream asks which levels of the other: the interaction graph of MCMuT, without any tensor.

A stream of depth D has levels 0..D; level 0 is the target's low-level feature. Blocks of L layers are counted from 1:
block b holds levels (b-1)L+1 .. bL, and "the output of block b" is level bL.
"""

from collections.abc import Mapping
from typing import Literal

Interaction = Literal["block", "dense", "local_dense", "global"]
SourceScales = Literal["all", "lowest"]


def stream_depth(interaction: Interaction, num_blocks: int, layers_per_block: int) -> int:
    """Levels above the low-level one: B*L, or B for `global`, whose local layers are cut out."""
    return num_blocks if interaction == "global" else num_blocks * layers_per_block


def source_levels(
    interaction: Interaction,
    level: int,
    layers_per_block: int,
    source_depth: int,
    source_scales: SourceScales = "all",
    source_layers_per_block: int | None = None,
) -> tuple[int, ...]:
    """The source stream's levels that `level` of a target stream attends; more than one makes it a MACT layer.

    - `block` (MCMuT): a block's first layer attends the block outputs 0, L, 2L, ... below it; its other layers attend
      the source's first layer of the same block.
    - `dense`: every layer attends all levels below it.
    - `local_dense`: first layers as `block`; the others attend all the source's levels below them within the block.
    - `global`: only first layers exist, one a block.

    A source stream that is shallower (fewer blocks for that modality) answers with all the levels that it has, and its
    last block stands in where the target's block has no counterpart. Where its blocks have another number of layers
    (`source_layers_per_block`), blocks still answer blocks: their outputs and first layers are where that number puts them.

    >>> [source_levels("block", level, 3, 12) for level in (1, 2, 3, 4, 5, 7)]
    [(0,), (1,), (1,), (0, 3), (4,), (0, 3, 6)]
    >>> source_levels("local_dense", 6, 3, 12)
    (4, 5)
    >>> [source_levels("block", level, 2, 9, source_layers_per_block=3) for level in (3, 4, 5)]
    [(0, 3), (4,), (0, 3, 6)]
    """
    source_layers = source_layers_per_block or layers_per_block
    if source_scales == "lowest":
        return (0,)
    if interaction in ("dense", "global"):
        return tuple(range(min(level, source_depth + 1)))
    block, layer = divmod(level - 1, layers_per_block)
    if layer == 0:
        return tuple(range(0, min(block * source_layers, source_depth) + 1, source_layers))
    first = min(block, source_depth // source_layers - 1) * source_layers + 1
    return (first,) if interaction == "block" else tuple(range(first, first + min(layer, source_layers)))


def level_turn(interaction: Interaction, level: int, layers_per_block: int) -> tuple[int, int]:
    """When a level is computed: levels with a smaller turn first, since none asks one of a larger turn.

    Block by block and within a block layer by layer, so that blocks may have more layers in one stream than in the other.
    """
    return (level, 0) if interaction in ("dense", "global") else divmod(level - 1, layers_per_block)


def needed_levels(outputs: tuple[str, ...], sources: Mapping[str, Mapping[int, tuple[int, ...]]], depths: Mapping[str, int]) -> dict[str, set[int]]:
    """The levels of each stream that the outputs depend on, so that no layer is built that nothing reads.

    Args:
        outputs: streams whose last level is read, such as "audio_to_text".
        sources: stream -> level -> levels of the reverse stream that it attends.
        depths: stream -> its depth.
    """
    needed: dict[str, set[int]] = {stream: set() for stream in depths}
    pending = [(stream, depths[stream]) for stream in outputs]
    while pending:
        stream, level = pending.pop()
        if level == 0 or level in needed[stream]:
            continue
        needed[stream].add(level)
        pending.append((stream, level - 1))
        pending.extend((reverse(stream), below) for below in sources[stream][level])
    return needed


def reverse(stream: str) -> str:
    """The other stream of the same tower: "audio_to_text" -> "text_to_audio"."""
    source, _, target = stream.partition("_to_")
    return f"{target}_to_{source}"
