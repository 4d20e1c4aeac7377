"""All that a profile could leave behind on modules, parameters and in PyTorch."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer
from torch.utils.data.dataloader import _BaseDataLoaderIter


def state(*models: nn.Module) -> dict[Any, Any]:
    """Key -> what is there now: to be compared before and after."""
    found: dict[Any, Any] = {
        "backward": vars(torch.autograd)["_engine_run_backward"],
        "next": _BaseDataLoaderIter.__next__,
        "zero_grad": torch.optim.Optimizer.zero_grad,
        "call": nn.Module.__call__,
        "loops": sorted(
            (name, id(one))
            for key, module in sys.modules.items()
            if key.startswith("torch.optim.")
            for name, one in vars(module).items()
            if name.startswith("_single_tensor_")
        ),
    }
    for holder in (torch_module, torch_optimizer):
        for name, value in vars(holder).items():
            if name.startswith("_global_"):
                found[holder.__name__, name] = dict(value) if isinstance(value, dict) else value
    for which, model in enumerate(models):
        for path, module in model.named_modules(remove_duplicate=False):
            for name, value in module.__dict__.items():
                known = [(key, id(one)) for key, one in value.items()] if isinstance(value, dict) else id(value)
                found[which, path, name] = known if not isinstance(value, (bool, int)) else value
            found[which, path, "class"] = type(module)
        for path, parameter in model.named_parameters():
            hooks = [parameter._post_accumulate_grad_hooks, parameter._backward_hooks]
            found[which, path, "hooks"] = [None if one is None else list(one) for one in hooks]
            found[which, path, "attributes"] = [name for name in vars(parameter) if not name.startswith("_dynamo")]
    return found
