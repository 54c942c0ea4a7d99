"""MMIN's Coarse-grained Interaction Network (its section 2.2): what each modality says alone, and what all of them say.

    h_m^P = Private_m(h_m);   h_m^C = Common(h_m)                                                  (Eqs. 1-2)
    L_ac = -1/n sum_m sum_i y_m log D(R(h_m^C))      D shall not tell the modality: R reverses the gradient     (Eq. 3)
    L_ap = -1/n sum_m sum_i y_m log D(h_m^P)         D shall tell the modality                                  (Eq. 4)
    L_sep = sum_m ||H_m^C^T H_m^P||_F^2 + sum_{m1 < m2} ||H_m1^P^T H_m2^P||_F^2                    (Eq. 5)

Codes of all modalities are held as one tensor (modality, batch, dim). Where an utterance lacks a modality, its codes are zero and count
in no loss.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from multigrain.layers.dropout import Dropout

Separation = Literal["alignment", "normalised", "literal"]


class CoarseEncoders(nn.Module):
    """A private encoder per modality and one that all share; each is Linear, LayerNorm, ReLU, dropout, Linear."""

    def __init__(self, modalities: tuple[str, ...], width: int, *, hidden_dropout: float, has_private: bool):
        super().__init__()
        self.private = nn.ModuleList(_encoder(width, hidden_dropout) for _ in modalities) if has_private else None
        self.common = _encoder(width, hidden_dropout)

    def forward(
        self, summaries: Float[Tensor, "modality batch dim"], present: Bool[Tensor, "modality batch"]
    ) -> tuple[Float[Tensor, "modality batch dim"] | None, Float[Tensor, "modality batch dim"]]:
        """H^P and H^C."""
        absent = ~present.unsqueeze(-1)
        common = self.common(summaries).masked_fill(absent, 0.0)  # Eq. 2
        if self.private is None:
            return None, common
        private = torch.stack([encoder(summary) for encoder, summary in zip(self.private, summaries, strict=True)])  # Eq. 1
        return private.masked_fill(absent, 0.0), common


def _encoder(width: int, hidden_dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), Dropout(hidden_dropout), nn.Linear(width, width))


class Discriminator(nn.Sequential):
    """D: which modality is a code from? Linear, ReLU, dropout, Linear."""

    def __init__(self, num_modalities: int, width: int, *, hidden_dropout: float):
        super().__init__(nn.Linear(width, width), nn.ReLU(), Dropout(hidden_dropout), nn.Linear(width, num_modalities))


def identity_loss(logits: Float[Tensor, "modality batch modality"], present: Bool[Tensor, "modality batch"]) -> Float[Tensor, ""]:
    """`-1/n sum_m sum_i log softmax(logits_m,i)_m` in nats: how badly D tells each code's modality (Eqs. 3-4).

    The sum runs over the modalities that an utterance has, n counts all utterances.
    """
    own = logits.log_softmax(dim=-1).diagonal(dim1=0, dim2=2).T
    return -own.masked_fill(~present, 0.0).sum() / own.shape[1]


def separation_loss(
    common: Float[Tensor, "modality batch dim"],
    private: Float[Tensor, "modality batch dim"],
    present: Bool[Tensor, "modality batch"],
    form: Separation,
) -> Float[Tensor, ""]:
    """Eq. 5: the products of codes that shall say different things, squared.

    `||H^C^T H^P||_F^2 = sum_ij (h_i^C . h_j^C)(h_i^P . h_j^P)` over pairs of utterances: large where utterances that are alike in one code are
    alike in the other. As `alignment` it is that sum over different utterances, centred so that unrelated codes give 0 on average, over what
    either code has with itself: 1 for equal codes, 0 on average for unrelated ones, whatever the width, the codes' scale and the size of the
    batch, so that processes that train together, each on its part of a batch, estimate the same thing. It is no square and can fall below 0
    (codes that are unlike exactly where the others are alike), which Eq. 5 cannot; trained for nothing else it does.

    Args:
        common: H^C; zero where the modality is absent.
        private: H^P; zero where the modality is absent.
        present: which modalities an utterance has.
        form: `alignment` as above, over the utterances that have both modalities, 0 where they are fewer than 4 (Song et al. 2012, "Feature
            selection via dependence maximization", Eq. 5, as the ratio of Kornblith et al. 2019, "Similarity of neural network
            representations revisited"). `literal` sums all squares, as printed, and so grows with the batch and with the codes' scale.
            `normalised` centres codes over the batch, scales each to length 1, and takes the mean of the squares of each product; 0 for a
            single utterance.
    """
    if form == "normalised":
        common, private = _centred_units(common, present), _centred_units(private, present)
    first, second = torch.triu_indices(len(private), len(private), offset=1, device=private.device)
    left, right = torch.cat([common, private[first]]), torch.cat([private, private[second]])
    if form == "alignment":
        return _alignment(left, right, torch.cat([present, present[first] & present[second]])).sum()
    squares = (left.transpose(1, 2) @ right).square()
    return squares.sum() if form == "literal" else squares.mean(dim=(1, 2)).sum()


def _alignment(
    left: Float[Tensor, "pair batch dim"], right: Float[Tensor, "pair batch dim"], present: Bool[Tensor, "pair batch"]
) -> Float[Tensor, " pair"]:
    """How alike two codes of the same utterances are: the cosine of their tables of likeness, 1 where equal, 0 on average where unrelated."""
    left, right = (_likeness(codes, present) for codes in (left, right))
    size = torch.linalg.vector_norm(left, dim=(1, 2)) * torch.linalg.vector_norm(right, dim=(1, 2))
    return (left * right).sum(dim=(1, 2)) / (size + 1e-12)


def _likeness(codes: Float[Tensor, "pair batch dim"], present: Bool[Tensor, "pair batch"]) -> Float[Tensor, "pair batch batch"]:
    """Products of the codes of two different utterances, less what either has with all others on average ("U-centred"); 0 for fewer than 4."""
    count = present.sum(dim=1)[:, None, None].to(codes.dtype)
    different = present.unsqueeze(1) & present.unsqueeze(2) & ~torch.eye(codes.shape[1], dtype=torch.bool, device=codes.device)
    products = (codes @ codes.transpose(1, 2)).masked_fill(~different, 0.0)
    rows, total = products.sum(dim=2, keepdim=True), products.sum(dim=(1, 2), keepdim=True)
    others = (count - 2.0).clamp(min=1.0)
    centred = products - rows / others - rows.transpose(1, 2) / others + total / ((count - 1.0).clamp(min=1.0) * others)
    return centred.masked_fill(~different | (count < 4.0), 0.0)


def _centred_units(codes: Float[Tensor, "modality batch dim"], present: Bool[Tensor, "modality batch"]) -> Float[Tensor, "modality batch dim"]:
    """Each modality's codes, less their mean over the utterances that have it, at length 1."""
    count = present.sum(dim=1).clamp(min=1)[:, None, None]
    centred = (codes - codes.sum(dim=1, keepdim=True) / count).masked_fill(~present.unsqueeze(-1), 0.0)
    return centred / (torch.linalg.vector_norm(centred, dim=-1, keepdim=True) + 1e-6)
