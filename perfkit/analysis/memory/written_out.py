"""The peak of a step of a Transformer whose operations are written out, as a course's students write it: a closed form.

Tables that others publish are of their own models, and most of them are of such a one. Its block keeps what
`forms.PLAIN_EAGER` says; cross-entropy keeps the exponentials of the logits and their logarithms, and makes two tensors
of their size more. For perfkit's own, leaner block see `model`.
"""

from __future__ import annotations

from perfkit.analysis.memory.forms import PLAIN_EAGER
from perfkit.analysis.memory.terms import Sizes, bytes_of
from perfkit.schema.config import RunConfig


def peak(config: RunConfig) -> int:
    """Bytes of tensors at the peak of a steady step in fp32 with eager attention, of a resolved configuration.

    The largest of: the end of forward; the backward of attention in the last block and in the first; the optimizer,
    which in its loop over tensors all at once (foreach) makes a temporary as large as the parameters. Without a
    backward: the larger of a block's attention, its MLP and the head.
    """
    s = Sizes(config)
    if config.step.pass_type == "forward":
        return s.weights + max(5 * s.U + 3 * s.A, 3 * s.U + 3 * s.F, 2 * s.U + s.V)
    state = 2 * s.weights if config.step.pass_type == "train" else 0
    always = s.weights + state
    block = sum(bytes_of(PLAIN_EAGER.block, s).values())
    scores = 6 * s.A + 8 * s.U  # gradients beside what attention keeps
    of_block = s.square + 3 * s.wide  # gradients made before attention's own matrices are reached
    moments = [
        always + s.layers * block + 3 * s.U + 4 * s.V,
        always + (s.layers - 1) * block + s.table + of_block + scores,
        always + s.table + (s.layers - 1) * s.block_weights + of_block + scores,
        always + s.weights + s.table,
    ]
    if config.step.pass_type == "train":
        moments.append(always + 2 * s.weights)
    return max(moments)
