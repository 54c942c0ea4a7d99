"""From a modality's own width to the common one, with a convolution over time."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class TemporalProjection(nn.Module):
    """`Conv1d(kernel, no bias)` from `in_dim` to `out_dim`; the length is kept and padding reads as silence.

    Steps beyond the ends are zeros (the reference implementation shortens the sequence instead, which would make masks
    and word positions drift), so that with kernel 1 the two are the same.

    Source: MulT section 3.1, MCMuT Eq. 1.
    """

    def __init__(self, in_dim: int, out_dim: int, *, kernel_size: int = 1):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; expected an odd number, so that steps keep their places")
        self.kernel_size = kernel_size
        self.convolution = nn.Conv1d(in_dim, out_dim, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, features: Float[Tensor, "batch time in_dim"], mask: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch time out_dim"]:
        """Projects each step (with its neighbours, when the kernel is wider than 1); padded steps must be zero."""
        if self.kernel_size == 1:
            return nn.functional.linear(features, self.convolution.weight[:, :, 0])
        projected = self.convolution(features.transpose(1, 2)).transpose(1, 2)
        return projected.masked_fill(~mask.unsqueeze(-1), 0.0)
