"""What a phase is, and which words in a range's name say one (rule 10 of docs/attribution.md).

The tables are ordered: the first pattern that matches wins. A new convention is one line here, with its source.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import msgspec

from perfkit.regex import Regex


class Phase(IntEnum):
    """What a piece of work is for. Gradient accumulation counts as backward."""

    FORWARD = 0
    RECOMPUTE = 1
    BACKWARD = 2
    OPTIMIZER = 3
    COMMUNICATION = 4
    OTHER = 5
    UNLAUNCHED = 6

    @property
    def label(self) -> str:
        """As written in tables."""
        return self.name.lower()


class Convention(msgspec.Struct, frozen=True):
    """Names of one origin, and the phase that they say. OTHER is for work that is named and is no phase of the step."""

    phase: Phase | None
    """None: the name is no word for a phase, whatever words are in it."""
    regex: Regex[str]
    """Searched in the whole name."""
    source: str


def _conventions(*rows: tuple[Phase | None, str, str]) -> tuple[Convention, ...]:
    return tuple(Convention(phase, Regex(words), source) for phase, source, words in rows)


_LIGHTNING = "Lightning, profilers/profiler.py and pytorch.py: [pl][profile]<action>, [pl][module]<class>: <name>"
_DEEPSPEED = "DeepSpeed, runtime/engine.py and zero/: instrument_w_nvtx writes the function's qualified name"
_MEGATRON = "Megatron-LM, the names of its timers, which its nvtx_range_push calls repeat"

CONVENTIONS = _conventions(
    (Phase.FORWARD, _LIGHTNING, r"^\[pl\]\[module\]"),
    (Phase.FORWARD, _LIGHTNING, r"^\[pl\]\[profile\].*\.(training|validation|test|predict)_step$"),
    (Phase.OTHER, _LIGHTNING, r"^\[pl\]\[profile\].*(_next|batch_to_device|transfer_batch_to_device)$"),
    (None, _LIGHTNING, r"^\[pl\]\[profile\]\[LightningModule\]\w+\.(on_\w+|configure_(optimizers|model|callbacks))$"),
    (None, _LIGHTNING, r"^\[pl\]\[profile\](run_\w+_(epoch|batch)|\[(Callback|Logger)\].*)$"),
    (Phase.OPTIMIZER, _DEEPSPEED, r"^DeepSpeedEngine\.(_take_model_)?step$"),
    (Phase.BACKWARD, _DEEPSPEED, r"Optimizer\w*\.\w*(reduce|partition|ipg|bucket|accumulate|scatter)\w*$"),
    (Phase.BACKWARD, f"{_DEEPSPEED}; {_MEGATRON}",
        r"(?i)(reduce|sync)\w{0,20}[-_. ]grad(s|ients?)(?![a-z])|grads?[-_](sync|[\w-]{0,20}reduce)"),
    (Phase.OPTIMIZER, _MEGATRON, r"^params-all-gather"),
    (Phase.OPTIMIZER, f"{_DEEPSPEED}; GradScaler", r"(?i)scaler?[-_. ]update"),
    (None, "scaling the loss, in backward or round it", r"(?i)loss[-_ ]?scal(e|er|ing)(?![a-z])"),
    (Phase.OPTIMIZER, "plain name", r"^(?i:optimi[sz]e|apply_grad(ient)?s)$"),
    (None, "feed-forward, the layer", r"(?i)feed[-_ ]?forward"),
)  # fmt: skip
"""Names that only their own library uses, or that mislead the general words."""

_WORDS: tuple[tuple[Phase, str], ...] = (
    (Phase.FORWARD, r"forwards?|fwd|fprop"),
    (Phase.BACKWARD, r"backwards?|bwd|bprop|back_?prop(agation)?"),
    (
        Phase.OPTIMIZER,
        r"optimi[sz]ers?|optim|opt_step|zero_grad(s|ients)?|clip_grad(s|ients?)?(_norm)?|grad(ient)?_clip(ping)?"
        r"|weights?_update|update_(weights?|parameters|params)|(parameter|param)_update",
    ),
)
"""Plain words: `forward`, `## backward ##`, `optimizer_step`, `DistributedDataParallel.forward`, FSDP's
`FSDP::pre_backward (2)` and `FullyShardedDataParallel._post_backward_hook`, DeepSpeed's `DeepSpeedEngine.backward`,
Megatron's `forward-compute` and `optimizer-inner-step`, TransformerEngine's `_Linear.backward.wgrad`."""

_OF_SOMETHING = (
    r"(?!_(norm|sizes?|stats?|mean|var|dims?|dimensions?|shapes?|index|idx|logits|loss(es)?|parallel|dependent|ptr"
    r"|types?|dtype|format|device)(?![a-z]))"
)
"""Words behind which `batch` or `data` is a part of another one: get_batch_norm, get_data_parallel_group."""
_LOADING = (
    rf"data_?load(ers?|ing)?|load_(data|batch(es)?){_OF_SOMETHING}|batch_(load(er|ing)?|generator)"
    rf"|(get|fetch|next|wait_for)_(\w+_)?batch{_OF_SOMETHING}|^data$|(get|fetch|next|wait_for)_data{_OF_SOMETHING}"
    r"|input_pipeline|collate(_fn)?"
)
"""Words for getting the next batch of data on the host."""

_WEAK: tuple[tuple[Phase, str], ...] = (
    (Phase.FORWARD, r"loss(es)?|criterion"),
    (
        Phase.OTHER,
        rf"{_LOADING}|to_device|h2d|host_to_device|data_transfer|test_(step|epoch|batch)"
        r"|eval(uat(e|ion))?|validat(e|ion)|(save|load|write)_checkpoint|checkpoint_(save|load)|logging|metrics?",
    ),
)
"""Words that say a phase where no other word does: in `loss.backward` the other one counts."""

_OPERATORS = _conventions(
    (Phase.BACKWARD, "PyTorch, native_functions.yaml: an operator's backward", r"_backward(_data|_input|_weight)?\b"),
    (Phase.OPTIMIZER, "PyTorch, torch.optim with fused=True; GradScaler's checks",
        r"^aten::_(fused_(adam|adamw|adagrad|sgd)_|amp_(foreach_non_finite_check|update_scale))"),
)  # fmt: skip
"""Dispatched operators, where no number or node says more."""

_OPTIMIZERS_OWN = Regex(r"Optimizer\.(step|zero_grad)")
"""What torch.optim calls its own ranges: `Optimizer.step#AdamW.step`."""
_FSDP = Regex(r"^(FSDP::\w+) \(.*\)$")
"""FSDP2's ranges: what it does, and the module that it does it for, whose name says no phase
(torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py, _with_fqn)."""
_DISPATCHED = Regex(r"[a-z_][a-z_0-9]*::")
_BEFORE_CAPITAL = Regex(r"(?<=[a-z])(?=[A-Z])")
_SEPARATORS = Regex(r"[\s_\-:.#/|()\[\]]+")
_LOOKED_AT = 512
"""Characters of a name."""
_LAST_PART = Regex(r"(?:\.|::)(?=[A-Za-z_]\w*\W*$)")


def _searches(words: tuple[tuple[Phase, str], ...]) -> tuple[tuple[Phase, Regex[str]], ...]:
    return tuple((phase, Regex(rf"(?<![a-z])({of_phase})(?![a-z])")) for phase, of_phase in words)


_STRONG_SEARCHES, _WEAK_SEARCHES = _searches(_WORDS), _searches(_WEAK)
_LOADING_SEARCH = _searches(((Phase.OTHER, _LOADING),))[0][1]


@cache
def of_range(name: str) -> Phase | None:
    """The phase that the words of a range's name say; None where none does, or several do.

    Of a name with a dot, such as `DeepSpeedZeroOptimizer.backward`, the last part's words come first.
    """
    if is_optimizers_own(name):
        return Phase.OPTIMIZER
    name = _FSDP.sub(r"\1", name[:_LOOKED_AT])
    for convention in CONVENTIONS:
        if convention.regex.search(name):
            return convention.phase
    parts = (name[match.end() :] for match in _LAST_PART.finditer(name))
    return next((phase for part in (*parts, name) if (phase := _said(part)) is not None), None)


@cache
def is_loading(name: str) -> bool:
    """Whether a range of this name gets data: its words say so, and say no phase of the step."""
    return of_range(name) is Phase.OTHER and _LOADING_SEARCH.search(_words(name[:_LOOKED_AT])) is not None


def _words(text: str) -> str:
    """Words in lower case, with one sign between them."""
    return _SEPARATORS.sub("_", _BEFORE_CAPITAL.sub("_", text)).lower()


def _said(text: str) -> Phase | None:
    words = _words(text)
    for searches in (_STRONG_SEARCHES, _WEAK_SEARCHES):
        said = [phase for phase, regex in searches if regex.search(words)]
        if said:
            return said[0] if len(said) == 1 else None
    return None


@cache
def of_operator(name: str) -> Phase | None:
    """The phase that an operator says by its name; a name without a namespace (`FusedAdam`) is read as a range's."""
    return _first(_OPERATORS, name) if _DISPATCHED.match(name) else of_range(name)


def is_optimizers_own(name: str) -> bool:
    """Whether torch.optim opened the range."""
    return _OPTIMIZERS_OWN.match(name) is not None


def _first(conventions: tuple[Convention, ...], name: str) -> Phase | None:
    return next((convention.phase for convention in conventions if convention.regex.search(name)), None)
