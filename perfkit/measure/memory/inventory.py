"""Which storages are parameters, gradients, the optimizer's state, or the batch and buffers: by address, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from perfkit.schema.memory.notes import Held, HeldKind
from perfkit.workload.protocol import Workload

_Named = tuple[HeldKind, str, str, object]
"""Kind, name, scope, and what may be a tensor."""


def held(workload: Workload, device: str) -> tuple[Held, ...]:
    """All storages on a device ("cpu", "cuda", "cuda:N") that can be named now. Reads addresses, allocates nothing.

    The model's parameters, gradients and buffers; and, of the workload's own attributes, the state of optimizers and
    the tensors: a batch, a scaler's scale. A storage that has several names goes by the first.
    """
    known: dict[int, Held] = {}
    kind_of_device = torch.device(device).type
    for kind, name, scope, given in _named(workload):
        value = getattr(given, "_local_tensor", given)  # a DTensor has no storage but that of its part here
        if isinstance(value, Tensor) and value.device.type == kind_of_device and value.layout == torch.strided:
            storage = value.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            if address and size and address not in known:
                known[address] = Held(address=address, size=size, kind=kind, name=name, scope=scope)
    return tuple(known.values())


def _named(workload: Workload) -> Iterator[_Named]:
    names: dict[Tensor, str] = {one: plain(name) for name, one in workload.model.named_parameters()}
    for parameter, name in names.items():
        yield "parameters", name, _owner(name), parameter
    for parameter, name in names.items():
        yield "gradients", name, _owner(name), parameter.grad
    own: dict[str, object] = getattr(workload, "__dict__", {})
    for value in own.values():
        if isinstance(value, torch.optim.Optimizer):
            for parameter, state in value.state.items():
                of = names.get(parameter, "")
                yield from (("optimizer state", f"{of} {key}", _owner(of), one) for key, one in state.items())
    for path, buffer in workload.model.named_buffers():
        yield "batch and constants", plain(path), _owner(plain(path)), buffer
    for name, value in own.items():
        inside: Iterable[object] = vars(value).values() if isinstance(value, torch.amp.GradScaler) else (value,)
        yield from (("batch and constants", name, "", leaf) for one in inside for leaf in tree_iter(one))


def plain(name: str) -> str:
    """A qualified name without the wrappers of torch.compile."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
