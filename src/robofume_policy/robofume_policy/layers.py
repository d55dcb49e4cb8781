"""Linear layers and normalisation whose gradients torch.compile turns into quick code on a processor.

The gradient of what is added to or multiplied with every row is a sum over all rows. torch's own kernels are good at
that; what inductor writes for it on a processor is not (an update with 7,936 rows took 2.3 times as long compiled as
plain). Inside torch.compile these layers therefore ask for such a sum as a product with a row of ones, which is left to
the library of matrix products, and everything else is fused. Plain, and on a GPU, they are torch's own layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """`torch.nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., out) of `input` (..., in)."""
        if self.bias is None or not _inductor_sums(input):
            return super().forward(input)
        return _Add.apply(F.linear(input, self.weight), self.bias)


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` over the last dimension. Compiled, its result has the type of `input`, with no detour
    through float32 under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """`input` (..., features), normalised, scaled and shifted."""
        if not _inductor_sums(input):
            return super().forward(input)
        precise = input.float()
        variance, mean = torch.var_mean(precise, -1, correction=0, keepdim=True)
        normal = ((precise - mean) * torch.rsqrt(variance + self.eps)).to(input.dtype)
        return _Add.apply(_Scale.apply(normal, self.weight), self.bias)


class ReLU(nn.ReLU):
    """`torch.nn.ReLU`. Compiled, its gradient is found from its result, which the next layer keeps anyhow: inductor
    would keep a mask as well, and storing bytes is what it is slow at."""

    def forward(self, input: Tensor) -> Tensor:
        """The positive part of `input`."""
        return _PositivePart.apply(input) if _inductor_sums(input) else super().forward(input)


def _inductor_sums(values: Tensor) -> bool:
    return torch.compiler.is_compiling() and values.device.type == "cpu"


def _sum_of_rows(values: Tensor, like: Tensor) -> Tensor:
    """(features,) of `values` (..., features), in the type of `like`."""
    rows = values.reshape(-1, values.shape[-1])
    return (rows.new_ones(1, len(rows)) @ rows)[0].to(like.dtype)


class _Add(torch.autograd.Function):
    """values (..., features) + vector (features,), in the type of the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, vector: Tensor) -> Tensor:
        ctx.save_for_backward(vector)
        return values + vector.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (vector,) = ctx.saved_tensors
        return gradients[0], _sum_of_rows(gradients[0], vector)


class _Scale(torch.autograd.Function):
    """values (..., features) * vector (features,), in the type of the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, vector: Tensor) -> Tensor:
        ctx.save_for_backward(values, vector)
        return values * vector.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        values, vector = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * vector.to(gradient.dtype), _sum_of_rows(gradient * values, vector)


class _PositivePart(torch.autograd.Function):
    """max(values, 0)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = values.clamp_min(0.0)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return gradients[0] * result.sign()
