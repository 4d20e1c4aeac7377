"""What a planted program is, where programs are found, and which rules count as right for each."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.planted import built, programs
from tests.planted.machine import Machine

HERE = Path(__file__).parent
RULES = HERE / "rules.toml"

Step = Callable[[], Any]
"""One step of the program; what it returns (the loss, mostly) must not depend on the fault."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program with one planted fault, and the same work without it (its healthy twin)."""

    name: str
    """The module's name: one fault, one name."""
    wrong: str
    """What is wrong, in a sentence."""
    where: str
    """The place in the program: a module's path, a range, or words."""
    devices: tuple[str, ...]
    """Where the fault can be planted: cpu, cuda."""
    build: Callable[[bool, str], tuple[Any, Step]]
    """(fault, device) -> the model (an nn.Module), and the step."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A fault that only a GPU shows, and its healthy twin, both played on a Machine."""

    name: str
    """As the program's of the same fault, which runs on a real GPU."""
    wrong: str
    where: str
    step: Callable[[bool], Callable[[Machine], None]]
    """fault -> what plays one step."""


def program(name: str) -> Program:
    """The program of that name; KeyError where there is none."""
    if name not in _names(programs):
        raise KeyError(name)
    module = importlib.import_module(f"{programs.__name__}.{name}")
    return Program(name, module.WRONG, module.WHERE, module.DEVICES, module.build)


def all_programs() -> tuple[Program, ...]:
    """Every program, by name."""
    return tuple(map(program, _names(programs)))


def pair(name: str) -> Pair:
    """The built pair of that name; KeyError where there is none."""
    if name not in _names(built):
        raise KeyError(name)
    module = importlib.import_module(f"{built.__name__}.{name}")
    return Pair(name, module.WRONG, module.WHERE, module.step)


def all_pairs() -> tuple[Pair, ...]:
    """Every built pair, by name."""
    return tuple(map(pair, _names(built)))


def accepted_rules(path: Path = RULES) -> dict[str, frozenset[str]]:
    """For each fault, the ids of the rules whose finding names it; empty where nobody has said so yet."""
    return {name: frozenset(rules) for name, rules in tomllib.loads(path.read_text())["rules"].items()}


def _names(package: ModuleType) -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))
