"""Which ranges a user put round their own work, by name: those that no library or profiler wrote round it."""

from __future__ import annotations

from perfkit.regex import Regex

_FROM_PROFILER = r"ProfilerStep#|Optimizer\.|perfkit[.:]"
"""Steps and optimizers (rule 10 knows them by other means), and perfkit's own ranges."""

_FROM_COMPILER = (
    r"Torch-Compiled Region|## Call CompiledFxGraph|CompiledFunction|TorchDynamo|TORCHDYNAMO|AOTDispatcher|Pregraph"
    r"|graph_\d+_inductor_wrapper_call"
)
"""torch.compile writes them round everything that it runs (torch/_dynamo, torch/_inductor/codegen/wrapper.py)."""

_ROUND_COLLECTIVES = r"(?:[a-z]*ccl|cncl|gloo|mpi|ucc|fake):|_?c10d(?:_functional)?::|record_param_comms"
"""A process group names its calls `backend:operation` (torch/csrc/distributed/c10d/Work.cpp): nccl, gloo, mpi and ucc
are torch's, hccl, xccl, rccl, mccl and more those of other vendors."""

_ROUND_MODELS = r"DistributedDataParallel|DataParallel\.|FullyShardedDataParallel\.forward"
"""Parallel wrappers put one range round the whole model (torch/nn/parallel, torch/distributed/fsdp)."""

_FROM_LIBRARIES = (
    r"(?:[nr]ccl|p2p|nvshmemx?|cu(?:blas|dnn|sparse|solver|fft|rand|tensor)[a-zA-Z]*)[A-Z_]\w*(?:\(|$)|(?:cub|thrust)::"
)
"""Calls of CUDA's libraries in their own NVTX domains, where an export does not name the domains."""

_NOT_OF_USERS = Regex("|".join((_FROM_PROFILER, _FROM_COMPILER, _ROUND_COLLECTIVES, _ROUND_MODELS, _FROM_LIBRARIES)))
_OF_LIBRARIES = Regex(f"{_FROM_LIBRARIES}|{_ROUND_COLLECTIVES}")


def is_of_library(name: str) -> bool:
    """Whether a library opened a range of this name by itself: it says nothing about the program round it."""
    return _OF_LIBRARIES.match(name) is not None


def is_of_user(name: str) -> bool:
    """Whether an annotation of this name stands for a part of the user's own program."""
    return not _NOT_OF_USERS.match(name)
