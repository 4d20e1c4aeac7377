"""Kernels that Inductor generated, by what they fuse: triton_<kind>_fused_<operators>_<number>, cpp_fused_<operators>.

The operators are those of the model's code (`torch._inductor.config.triton.descriptive_names`), sorted, with `_` between
them and within. Kinds: poi(ntwise), red(uction), per(sistent reduction), tem(plate), for(each), spl(it scan). A generated
kernel is no matmul and no convolution unless it is a template: those in its name are what it prepares or finishes.
"""

from __future__ import annotations

from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.patterns import first, table
from perfkit.regex import Regex

_NAME = Regex(r"^(?:graph_\d+_)?(?:triton|cpp)_(?:(poi|red|per|tem|for|spl|unk)_)?fused_?")
_BARE = Regex(r"^triton_{1,3}(?:\d+_?)?(?:\d+d[\dcde]*)?$")
"""Without descriptive names (`unique_kernel_names`, off until PyTorch 2.1): triton_, or with Triton's own signature."""
_NUMBER = Regex(r"(_\d+)?(_{1,3}\d+d[\dcde]*)?$")

_TEMPLATES = table(
    (kinds.ATTENTION, "torch/_inductor/kernel/flex", r"attention"),
    (kinds.CONVOLUTION, "torch/_inductor/kernel/conv.py", r"conv"),
)  # fmt: skip

WEIGHTIEST = table(
    (kinds.LOSS, "torch.nn.functional's losses", r"nll_loss|cross_entropy|(?<![a-z])loss"),
    (kinds.SOFTMAX, "softmax", r"softmax"),
    (kinds.NORMALISATION, "layer_norm and others", r"(layer|batch|group|instance|rms)_norm"),
    (kinds.ROPE, "rotary embedding as an operator of its own", r"rotary|rope(?![a-z])"),
    (kinds.EMBEDDING, "embedding, indexing", r"embedding|(^|_)(index|index_put|gather|scatter|scatter_add|index_add)(_|$)"),
    (kinds.QUANTISATION, "PyTorch's quantized_decomposed, torchao", r"quant"),
    (kinds.POOLING, "max_pool2d_with_indices and others", r"pool|upsample|grid_sampl"),
    (kinds.RANDOM, "dropout and others", r"dropout|bernoulli|(?<![a-z])rand|philox"),
)  # fmt: skip

_WRITTEN_OUT = (
    (kinds.SOFTMAX, {"amax", "exp", "sub", "sum"}),
    (kinds.NORMALISATION, {"mean", "rsqrt"}),
    (kinds.ROPE, {"cos", "sin", "mul"}),
)
"""What the model's code or a decomposition spells out: all of these operators in one kernel."""

_LAYOUT = Regex(
    r"_{0,3}(?:prims_)?(?:_to_copy|convert_element_type|slice_scatter|slice_backward|select_scatter|select_backward|as_strided"
    r"|constant_pad_nd|split_with_sizes|_unsafe_view|unsafe_view|lift_fresh|contiguous|transpose|permute|reshape|expand"
    r"|squeeze|unsqueeze|detach|select|repeat|unbind|chunk|clone|alias|stack|split|slice|copy|flip|roll|view|cat|t)(?=_|$)"
)
_FILL = Regex(r"_{0,3}(?:zeros_like|ones_like|full_like|new_zeros|new_ones|new_full|zeros|ones|full|fill)(?=_|$)")
_REDUCES = Regex(
    r"(?<![a-z])(sum|mean|max|min|amax|amin|prod|var|norm|cumsum|argmax|argmin|topk|sort|any|all)(?![a-z])"
)


def of_fused(identifier: str) -> str | None:
    """Category of a generated kernel, by its name in lower case; None for any other."""
    if _BARE.fullmatch(identifier):
        return kinds.ELEMENTWISE  # a loop of which nothing else is known
    name = _NAME.match(identifier)
    if name is None:
        return None
    operators = _NUMBER.sub("", identifier[name.end() :])
    if name[1] == "tem":
        return first(_TEMPLATES, operators) or kinds.MATMUL
    if operators and not _LAYOUT.sub("", operators):
        return kinds.CAST
    if operators and not _FILL.sub("", _LAYOUT.sub("", operators)):
        return kinds.MEMSET
    words = set(operators.split("_"))
    written_out = next((kind for kind, all_of in _WRITTEN_OUT if all_of <= words), None)
    does_reduce = name[1] in ("red", "per", "spl") or (name[1] is None and _REDUCES.search(operators))
    rest = kinds.REDUCTION if does_reduce else kinds.ELEMENTWISE
    return first(WEIGHTIEST, operators) or written_out or rest
