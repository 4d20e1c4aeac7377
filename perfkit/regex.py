"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, AnyStr, Generic


class Regex(Generic[AnyStr]):
    """Does what `re.compile(pattern, flags)` does, which is called as late as can be.

    Most of perfkit's patterns know names that few traces have: compiling them all takes 20 ms. A pattern that is wrong
    raises re.error where it is first used. Each method is the compiled pattern's own, and is looked up once.
    """

    def __init__(self, pattern: AnyStr, flags: int = 0) -> None:
        self.pattern: AnyStr = pattern
        self._flags = flags

    @cached_property
    def compiled(self) -> re.Pattern[AnyStr]:
        """For the functions of `re`."""
        return re.compile(self.pattern, self._flags)

    @cached_property
    def search(self) -> Callable[..., re.Match[AnyStr] | None]:  # noqa: D102
        return self.compiled.search

    @cached_property
    def match(self) -> Callable[..., re.Match[AnyStr] | None]:  # noqa: D102
        return self.compiled.match

    @cached_property
    def fullmatch(self) -> Callable[..., re.Match[AnyStr] | None]:  # noqa: D102
        return self.compiled.fullmatch

    @cached_property
    def sub(self) -> Callable[..., AnyStr]:  # noqa: D102
        return self.compiled.sub

    @cached_property
    def split(self) -> Callable[..., list[AnyStr | Any]]:  # noqa: D102
        return self.compiled.split

    @cached_property
    def findall(self) -> Callable[..., list[Any]]:  # noqa: D102
        return self.compiled.findall

    @cached_property
    def finditer(self) -> Callable[..., Iterator[re.Match[AnyStr]]]:  # noqa: D102
        return self.compiled.finditer
