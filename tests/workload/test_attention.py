"""Attention alone: the same numbers as PyTorch's own, and what is said of a function that computes something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import Tensor

from perfkit.errors import UsageError
from perfkit.workload import attention
from perfkit.workload.attention import AttentionAlone, build, eager, no_batch


def good(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    mask = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).tril() if causal else None
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def unmasked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return good(q, k, v)


def cell(function: Any = good, **changes: Any) -> AttentionAlone:
    """A small cell of a function that `pkg:mine` names."""
    settings: dict[str, Any] = {
        "implementation": "function",
        "batch": 2,
        "sequence": 32,
        "width": 8,
        "precision": "fp32",
    } | changes
    return build(**settings, function="pkg:mine", find=lambda _: SimpleNamespace(mine=function))


@pytest.mark.parametrize("causal", [False, True])
def test_eager_computes_what_pytorch_computes(causal):
    q, k, v = torch.randn(3, 2, 16, 8).unbind()
    mask = torch.ones(16, 16, dtype=torch.bool).triu(1) if causal else None
    torch.testing.assert_close(eager(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, is_causal=causal))


@pytest.mark.parametrize("name", ["eager", "sdpa", "sdpa-math", "function"])
@pytest.mark.parametrize("causal", [False, True])
def test_every_implementation_agrees_with_fp64(name, causal):
    model = cell(implementation=name, causal=causal)
    assert model.deviation < 1e-5
    assert model.first_call_s > 0
    assert model.q.grad is None


def test_backward_begins_with_the_given_gradient():
    """GIVEN the loss of the input THEN q's gradient is that of the result's given one, by autograd itself"""
    model = cell(implementation="eager")
    arguments, loss = no_batch()
    loss(model(*arguments)).backward()
    [expected] = torch.autograd.grad(model()[0], model.q, model.out_gradient)
    torch.testing.assert_close(model.q.grad, expected)


def raising(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise ValueError("block size 64 does not divide 32\nmore lines")


def in_place(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    result = good(q, k, v)
    with torch.no_grad():
        q.mul_(2)
    return result


@pytest.mark.parametrize(
    ("function", "said"),
    [
        pytest.param(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, r"differs from eager's by [\d.]+ of", id="no scale"),
        pytest.param(lambda q, k, v: good(q, k, v).detach(), "has no gradient", id="detached"),
        pytest.param(lambda q, k, v: good(q, k.detach(), v), "k gets no gradient", id="detached key"),
        pytest.param(lambda q, k, v: good(q, k, v)[:, :4], r"is \(2, 4, 8\) float32, and must be", id="shape"),
        pytest.param(lambda q, k, v: good(q, k, v).double(), "float64, and must be", id="type"),
        pytest.param(lambda q, k, v: [good(q, k, v)], "returned list, not a tensor", id="list"),
        pytest.param(lambda q, k, v: good(q, k, v) * float("nan"), "differs from eager's by inf", id="nan"),
        pytest.param(raising, "ValueError: block size 64 does not divide 32$", id="raises"),
        pytest.param(in_place, "changes q, k or v in place", id="in place"),
        pytest.param(3, "is int, which cannot be called", id="no callable"),
    ],
)
def test_a_function_that_is_not_attention_is_refused(function, said):
    with pytest.raises(UsageError, match=f"pkg:mine: .*{said}"):
        cell(function)


def test_a_causal_grid_refuses_a_function_that_sees_later_keys():
    with pytest.raises(UsageError, match="differs from eager's"):
        cell(unmasked, causal=True)


def test_a_function_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="--function pkg:mine: "):
        build("function", 1, 4, 2, "fp32", function="pkg:mine", find=lambda _: SimpleNamespace())


def test_want_of_memory_is_no_mistake_of_the_function():
    def large(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate memory"):
        cell(large)


def test_every_precision_has_a_type_and_a_tolerance():
    assert set(attention.DTYPES) == set(attention.TOLERANCES)
