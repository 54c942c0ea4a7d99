"""From the fused vector to the prediction."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from multigrain.layers.dropout import Dropout


class ResidualHead(nn.Module):
    """`out(W2 drop(relu(W1 h)) + h)`.

    Source: MulT section 3.1 "Self-Attention Transformer and Prediction", in the form of its authors' code.
    """

    def __init__(self, dim: int, out_dim: int, *, dropout: float = 0.0):
        super().__init__()
        self.first = nn.Linear(dim, dim)
        self.second = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, out_dim)
        self.dropout = Dropout(dropout)

    def forward(self, fused: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch out"], Float[Tensor, "batch dim"]]:
        """The prediction, and the last hidden vector that it is read from."""
        hidden = self.second(self.dropout(functional.relu(self.first(fused)))) + fused
        return self.output(hidden), hidden
