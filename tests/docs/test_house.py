"""docs/house.md lists which room imports which: neither more nor less than the code does."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

PACKAGE = ROOT / "perfkit"
GROUND = {"errors", "regex", "signals", "streams"}
"""Files that anything may import: no arrows of their own."""
TESTED_WITH_OTHERS = {
    "analysis/ranks/calls": "analysis/ranks/test_job",
    "analysis/ranks/clocks": "analysis/ranks/test_job",
    "analysis/ranks/side": "analysis/ranks/test_job",
    "analysis/ranks/stragglers": "analysis/ranks/test_job",
    "analysis/ranks/tables": "analysis/ranks/test_job",
    "__main__": "test_cli",
    "commands/console/answers": "commands/test_study",
    "commands/processes/kept": "commands/test_study",
    "analysis/reports/traced_memory": "measure/test_estimate_own",
    "measure/calls": "measure/test_estimate_own",
    "measure/fakes": "measure/test_estimate_own",
    "schema/memory/calls": "measure/test_estimate_own",
    "analysis/findings/memory/alive": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/catalogue": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/checkpoints": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/fragments": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/growth": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/logits": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/optimizer": "analysis/findings/memory/test_rules",
    "analysis/findings/memory/scores": "analysis/findings/memory/test_rules",
    "analysis/reports/two_memories": "analysis/reports/test_recorded_memory",
    "commands/inputs/recorded": "commands/test_memory",
    "render/plots/stack": "render/test_charts",
    "analysis/memory/forms": "analysis/memory/test_allocator",
    "analysis/memory/lifetimes": "analysis/memory/recorded/test_snapshot",
    "analysis/memory/recorded/account": "analysis/memory/recorded/test_tables",
    "analysis/memory/recorded/blocks": "analysis/memory/recorded/test_snapshot",
    "analysis/memory/recorded/held": "analysis/memory/recorded/test_trace",
    "analysis/memory/recorded/kinds": "analysis/memory/recorded/test_snapshot",
    "analysis/memory/recorded/live": "analysis/memory/recorded/test_pieces",
    "analysis/costs/flops/attentions": "analysis/costs/flops/test_operators",
    "analysis/costs/flops/call": "analysis/costs/flops/test_operators",
    "analysis/costs/flops/convolutions": "analysis/costs/flops/test_operators",
    "analysis/costs/flops/formula": "analysis/costs/flops/test_operators",
    "analysis/costs/flops/matmuls": "analysis/costs/flops/test_operators",
    "analysis/costs/flops/optimizers": "analysis/costs/flops/test_operators",
    "analysis/costs/roofline/starved": "analysis/costs/roofline/test_tables",
    "analysis/costs/flops/tensors": "analysis/costs/flops/test_operators",
    "analysis/findings/performance/look": "analysis/findings/performance/test_catalogue",
    "analysis/findings/performance/program/memory": "analysis/findings/test_capacity",
    "analysis/findings/performance/wall/places": "analysis/findings/performance/wall/test_idle",
    "commands/sources": "api/test_report",
    "analysis/time/cost": "analysis/findings/test_integrity_numbers",
    "analysis/costs/hardware/amd": "analysis/costs/hardware/test_table",
    "analysis/costs/hardware/chips": "analysis/costs/hardware/test_table",
    "analysis/costs/hardware/datacentre": "analysis/costs/hardware/test_table",
    "analysis/costs/hardware/geforce": "analysis/costs/hardware/test_table",
    "analysis/costs/hardware/part": "analysis/costs/hardware/test_table",
    "analysis/costs/hardware/workstation": "analysis/costs/hardware/test_table",
    "analysis/time/idle/doing": "analysis/time/idle/test_tables",
    "analysis/time/idle/folds": "analysis/time/test_partial",
    "analysis/time/idle/kinds": "analysis/time/idle/test_wall",
    "analysis/time/idle/regions": "reference/test_wall",
    "analysis/time/idle/waits": "analysis/time/idle/test_wall",
    "integrations/session": "integrations/test_accelerate",
    "measure/own/cycle": "measure/own/test_profile",
    "commands/processes/script": "commands/test_script",
    "run": "test_cli",
    "schema/page/figures": "render/html/test_figures",
    "schema/page/pictures": "render/test_charts",
    "schema/page/sections": "render/html/test_document",
    "analysis/time/replay/edges": "analysis/time/replay/test_waits",
    "analysis/time/replay/edit": "analysis/time/replay/test_replay",
    "analysis/time/replay/times": "reference/test_machine",
    "analysis/kernels/kernel_table": "analysis/kernels/test_categories",
    "analysis/kernels/kinds": "analysis/kernels/test_categories",
    "analysis/kernels/operator_table": "analysis/kernels/test_categories",
    "schema/parts/attention": "analysis/attention/test_runs",
    "schema/parts/measurement": "schema/test_config_limits",
    "schema/parts/step": "schema/test_config_limits",
    "schema/parts/workloads": "schema/test_config",
    "schema/probes": "schema/test_record",
    "schema/progress": "commands/console/test_progress",
    "trace/chrome/gathered": "trace/chrome/test_columns",
    "trace/detail_columns": "trace/test_details",
    "trace/operands": "trace/chrome/test_details",
    "trace/snapshot/columns": "trace/snapshot/test_reader",
    "trace/snapshot/annotations": "trace/snapshot/test_reader",
    "trace/snapshot/events": "trace/snapshot/test_reader",
    "trace/snapshot/interned": "trace/snapshot/test_reader",
    "trace/snapshot/segments": "trace/snapshot/test_reader",
    "trace/snapshot/values": "trace/snapshot/test_reader",
    "workload/ranges": "workload/test_annotate",
    "workload/protocol": "workload/test_step",
}
"""Modules without a file of tests of their own: types, and what is best asked of the whole."""


def rooms() -> list[str]:
    """Folders with modules, as they are written in the picture: `analysis/time`."""
    folders = {path.parent for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    return sorted(folder.relative_to(PACKAGE).as_posix() for folder in folders)


def room_of(path: Path) -> str:
    """The room of a module or package of perfkit."""
    folder = path if path.is_dir() else path.parent
    return folder.relative_to(PACKAGE).as_posix()


def imported(path: Path) -> Iterator[Path]:
    """The modules of perfkit that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "perfkit":
            module = ROOT.joinpath(*node.module.split("."))
            for alias in node.names:
                below = module / alias.name
                named = below.with_suffix(".py")
                itself = module if module.is_dir() else module.with_suffix(".py")
                yield named if named.is_file() else below if below.is_dir() else itself


def arrows() -> set[tuple[str, str]]:
    """(a room, one that it imports), within perfkit; a file beside the rooms is none."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for target in imported(path):
            one, other = room_of(path), room_of(target)
            if one != other and "." not in (one, other):
                found.add((one, other))
    return found


def picture() -> set[tuple[str, str]]:
    """The arrows of the page, in lines `room -> room room`; a room may have several."""
    text = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    lines = [line.split(" -> ") for line in text.splitlines() if line.startswith("    ") and " -> " in line]
    return {(room.strip(), target) for room, targets in lines for target in targets.split()}


def test_the_picture_has_each_room():
    assert sorted(set().union(*picture())) == [room for room in rooms() if room != "."]


def test_the_arrows_are_those_of_the_imports():
    assert picture() == arrows()


def test_no_room_is_a_warehouse():
    """GIVEN the measure of a comfortable house THEN no room has more than 22 files"""
    sizes = {room: len(list((PACKAGE / room).glob("*.py"))) - 1 for room in rooms()}
    assert {room: count for room, count in sizes.items() if count > 22} == {}


def test_tests_mirror_the_house():
    """Each module has its tests in the same place, or is one of those tested with others."""
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    own = [module for module in modules if (ROOT / "tests" / module.with_name(f"test_{module.name}")).is_file()]
    others = {module.with_suffix("").as_posix() for module in modules if module not in own}
    assert others == TESTED_WITH_OTHERS.keys()
    assert all((ROOT / "tests" / name).with_suffix(".py").is_file() for name in TESTED_WITH_OTHERS.values())


def test_a_prefix_of_three_files_is_a_folder():
    """GIVEN modules named `part_what.py` THEN no three of a room share the part: it would be a room of its own"""
    shared = Counter(
        (room_of(path), path.stem.partition("_")[0]) for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")
    )
    assert {place: count for place, count in shared.items() if count > 2} == {}
