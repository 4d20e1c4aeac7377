"""Python frames: whose they are, and how they are shown."""

from __future__ import annotations

import pytest

from perfkit.schema.python_frames import innermost_of_user, is_users, short

PACKAGES = "/opt/env/lib/python3.9/site-packages/"


@pytest.mark.parametrize(
    "frame",
    [
        "train.py(12): main", "/home/u/torch_models/net.py(3): forward", "transformers/models/bert/bert.py(9): forward",
        f"{PACKAGES}torchvision/models/resnet.py(92): forward", "a/b.py(1): f",
        "test.py(3): <listcomp>", "C:\\work\\net.py(3): forward",
    ],
)  # fmt: skip
def test_frames_of_users(frame):
    assert is_users(frame)


@pytest.mark.parametrize(
    "frame",
    [
        "torch/nn/modules/module.py(1501): _call_impl", f"{PACKAGES}torch/optim/sgd.py(1): step",
        "<built-in method mm of type object at 0x7f>", "<string>(1): f", "nn.Module: Linear_0", "aten::mm", "",
        "/usr/lib/python3.9/queue.py(1): get", "threading.py(890): _bootstrap", "contextlib.py(75): inner",
        "asyncio/events.py(80): _run", "runpy.py(87): _run_code", "net.py: forward", "/x/functorch/a.py(1): f",
    ],
)  # fmt: skip
def test_frames_of_others(frame):
    assert not is_users(frame)


def test_an_installed_package_goes_by_its_own_name():
    assert short(f"{PACKAGES}torchvision/models/resnet.py(92): forward") == "torchvision/models/resnet.py(92): forward"
    assert short("/usr/lib/python3/dist-packages/x/y.py(1): f") == "x/y.py(1): f"
    assert short("/home/u/train.py(3): main") == "/home/u/train.py(3): main"
    assert short("aten::mm/site-packages/x") == "aten::mm/site-packages/x"


def test_of_a_stack_the_innermost_frame_of_the_user():
    stack = f"{PACKAGES}torch/nn/functional.py(1): conv2d;{PACKAGES}torchvision/r.py(9): forward;train.py(4): <module>"
    assert innermost_of_user(stack) == "torchvision/r.py(9): forward"
    assert innermost_of_user(f"{PACKAGES}torch/a.py(1): f;{PACKAGES}torch/b.py(2): g") is None
    assert innermost_of_user("") is None
