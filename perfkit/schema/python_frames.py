"""Python frames in traces: `models/net.py(12): forward`, as torch.profiler writes them."""

from __future__ import annotations

from perfkit.regex import Regex

_FRAME = Regex(r"(?P<path>[^<>;]+\.\w+)\((?P<line>\d+)\): ")
_PACKAGES = Regex(r".*[/\\](?:site|dist)-packages[/\\]")
_LIBRARY = Regex(r"(?:.*[/\\])?(?:torch|functorch)[/\\]|.*[/\\]lib(?:64)?[/\\]python3[^/\\]*[/\\]")
_STARTING = Regex(r"(?:threading|contextlib|functools|runpy|(?:asyncio|concurrent|multiprocessing|importlib)/.*)\.py\(")
"""Python's own modules that stand between a program and its work; without a folder, one may also be a user's."""


def is_users(frame: str) -> bool:
    """Whether a frame is of neither torch, nor Python's own library, nor a built-in function."""
    if not _FRAME.match(frame):
        return False
    bare = short(frame)
    return not (_LIBRARY.match(bare) or _STARTING.match(bare))


def short(frame: str) -> str:
    """The frame, by its package where it is an installed one: `torchvision/models/resnet.py(92): forward`."""
    installed = _PACKAGES.match(frame) if _FRAME.match(frame) else None
    return frame[installed.end() :] if installed else frame


def innermost_of_user(stack: str) -> str | None:
    """Of a `Call stack` of 2021 (frames joined by `;`, innermost first), the first one of the user's; None for none."""
    return next((short(frame) for frame in stack.split(";") if is_users(frame)), None)
