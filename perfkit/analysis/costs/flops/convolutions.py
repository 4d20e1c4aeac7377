"""Convolutions, counted as the direct algorithm: for each element of the result, a multiply and an add with each
element of its filter. Other algorithms (Winograd, FFT) do fewer, and a trace does not tell them apart.

A weight is (channels out, channels in / groups, kernel...), transposed (channels in, channels out / groups, kernel...).
So its other dimensions are one filter, groups included, and the work is 2 x filter x elements of that side which has
the first dimension's channels: the result, or what is given to a transposed one. Each gradient is as much again. This
is what torch.utils.flop_counter counts, too.
"""

from __future__ import annotations

from math import prod

import msgspec

from perfkit.analysis.costs.flops.call import Call, NotToldError, Tensor
from perfkit.analysis.costs.flops.formula import Count, Counted, Formula, Level, moved
from perfkit.analysis.kernels import kinds


class _Places(msgspec.Struct, frozen=True):
    """Which argument says what."""

    stride: int
    padding: int
    dilation: int
    groups: int
    transposed: int = -1
    """-1: it is not transposed."""
    output_padding: int = -1


def _filter(weight: Tensor) -> int:
    return prod(weight.shape[1:])


def _each(call: Call, place: int, dims: int) -> tuple[int, ...]:
    """A number for each dimension of the kernel; one number holds for all."""
    numbers = call.integers(place)
    numbers = numbers * dims if len(numbers) == 1 else numbers
    if len(numbers) != dims:
        raise NotToldError
    return numbers


def _forward(places: _Places) -> Count:
    def count(call: Call) -> Counted:
        given, weight = call.tensor(0), call.tensor(1)
        dims = len(weight.shape) - 2
        if dims < 1 or len(given.shape) not in (dims + 1, dims + 2):
            raise NotToldError
        is_transposed = places.transposed >= 0 and call.flags(places.transposed)[0]
        size = _grown if is_transposed else _shrunk
        more = _each(call, places.output_padding, dims) if is_transposed else (0,) * dims
        steps = (_each(call, place, dims) for place in (places.stride, places.padding, places.dilation))
        sizes = map(size, given.shape[-dims:], weight.shape[2:], *steps, more)
        channels = weight.shape[1] * call.integers(places.groups)[0] if is_transposed else weight.shape[0]
        result = given.like((*given.shape[: -dims - 1], channels, *sizes))
        side = given if is_transposed else result
        return Counted(2 * side.size * _filter(weight), moved(given, weight, call.optional(2), result))

    return count


def _shrunk(size: int, kernel: int, stride: int, padding: int, dilation: int, _: int) -> int:
    """Size of a dimension of the result (torch.nn.Conv2d's formula)."""
    return max((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1, 0)


def _grown(size: int, kernel: int, stride: int, padding: int, dilation: int, more: int) -> int:
    """The same where it is transposed (torch.nn.ConvTranspose2d's formula)."""
    return max((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1, 0)


def _backward(call: Call) -> Counted:
    """Gradients of what was given and of the weight, as far as the mask asks for them."""
    gradient, given, weight = (call.tensor(place) for place in range(3))
    side = given if call.flags(7)[0] else gradient
    wanted = call.flags(10)[:2]
    written = [part for part, is_wanted in zip((given, weight), wanted, strict=True) if is_wanted]
    return Counted(2 * side.size * _filter(weight) * sum(wanted), moved(gradient, given, weight, *written))


def _old_weight(call: Call) -> Counted:
    """Until PyTorch 1.10, an operator of the library that calls one for each gradient: that of the weight is here."""
    given, gradient, weight = (call.tensor(place) for place in range(3))
    return Counted(2 * gradient.size * _filter(weight), moved(gradient, given, weight))


def _old_input(call: Call) -> Counted:
    """And that of what was given. Its own shape is a list of numbers, which such traces lack: the gradient's bytes."""
    gradient, weight = call.tensor(1), call.tensor(2)
    return Counted(2 * gradient.size * _filter(weight), moved(gradient, weight, gradient))


def _formula(count: Count, level: Level = Level.PRODUCT) -> Formula:
    return Formula(kinds.CONVOLUTION, level, count)


_GENERAL = _formula(_forward(_Places(stride=3, padding=4, dilation=5, transposed=6, output_padding=7, groups=8)))
_OLD = ("cudnn_convolution", "miopen_convolution", "mkldnn_convolution")
FORMULAS = {
    "aten::convolution": _GENERAL,
    "aten::_convolution": _GENERAL,
    "aten::cudnn_convolution_relu": _formula(_forward(_Places(stride=3, padding=4, dilation=5, groups=6))),
    "aten::cudnn_convolution_add_relu": _formula(_forward(_Places(stride=5, padding=6, dilation=7, groups=8))),
    "mkldnn::_convolution_pointwise": _formula(_forward(_Places(padding=3, stride=4, dilation=5, groups=6))),
    "aten::convolution_backward": _formula(_backward),
    **{f"aten::{name}_backward": _formula(_old_weight, Level.BESIDE) for name in _OLD},
    **{f"aten::{name}_backward_input": _formula(_old_input) for name in _OLD},
}
"""By operator. Those of a library (aten::cudnn_convolution) run inside aten::_convolution, which counts for them."""
