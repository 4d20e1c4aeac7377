"""What to change after running out of memory: flags that lower the peak of the configuration that failed."""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.schema.config import SIZES, RunConfig

_COUNT = 2
_PARAMETER_BYTES = 4


def suggestions(config: RunConfig, phase: str, requested: int | None, available: int) -> tuple[str, ...]:
    """Two flag changes, the one that gives up least first. Needs a resolved configuration.

    `requested` is the allocation that failed. Where it alone exceeds what was available, only making that very
    tensor smaller helps, and by more than half if need be.
    """
    oversized = requested is not None and requested > available
    divisor = 2
    while requested is not None and requested / divisor > max(available, 1) / 2:
        divisor *= 2
    if phase == "model":
        ideas = list(_smaller_mask(config, divisor))
    else:
        ideas = list(_smaller_activations(config, divisor, oversized=oversized))
    ideas += _smaller_model(config, divisor, available, oversized=oversized)
    return tuple(dict.fromkeys(ideas))[:_COUNT]


def _smaller_mask(config: RunConfig, divisor: int) -> Iterator[str]:
    """Eager attention's mask of one byte a pair of positions, made with the model, where it outweighs the weights."""
    length = _context(config)
    if config.attention == "eager" and length**2 > _bytes(config):
        yield "--attention sdpa"
        yield f"--context-length {max(1, length // divisor)}"


def _smaller_activations(config: RunConfig, divisor: int, *, oversized: bool) -> Iterator[str]:
    many_layers = config.shape.num_layers > 1
    if config.pass_type != "forward" and not config.checkpoint and many_layers and not oversized:
        yield "--checkpoint"
    if config.attention == "eager" and oversized:
        yield "--attention sdpa"
    if config.batch_size > 1:
        yield f"--batch-size {max(1, config.batch_size // divisor)}"
    if config.attention == "eager":
        yield "--attention sdpa"
    if _context(config) > 1:
        yield f"--context-length {max(1, _context(config) // divisor)}"


def _smaller_model(config: RunConfig, divisor: int, available: int, *, oversized: bool) -> Iterator[str]:
    shape, vocabulary = config.shape, config.vocab_size
    if shape == SIZES.get(config.model_size or ""):  # else the flags that override the size would stay
        limit = min(available / 2, _bytes(config))
        smaller = [name for name, other in SIZES.items() if other.parameters(vocabulary) * _PARAMETER_BYTES < limit]
        yield from (f"--model-size {name}" for name in smaller[-1:])
    if 2 * vocabulary * shape.d_model > config.parameters / 2:
        yield f"--vocab-size {max(1, vocabulary // divisor)}"
    fewer_layers = [f"--num-layers {max(1, shape.num_layers // divisor)}"] if shape.num_layers > 1 else []
    if not oversized:
        yield from fewer_layers
    pairs = 2 * shape.num_heads  # the width is a multiple of this
    narrower = max(pairs, shape.d_model // divisor // pairs * pairs)
    if narrower < shape.d_model:
        yield f"--d-model {narrower}"
    if shape.d_ff > shape.d_model:
        yield f"--d-ff {max(1, shape.d_ff // divisor)}"
    yield from fewer_layers


def _context(config: RunConfig) -> int:
    assert config.context_length is not None, "resolve the configuration first"
    return config.context_length


def _bytes(config: RunConfig) -> int:
    return config.parameters * _PARAMETER_BYTES
