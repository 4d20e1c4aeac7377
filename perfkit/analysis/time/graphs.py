"""Findings on CUDA graphs: whose scope their kernels have, and how much time has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from perfkit.analysis.attribution.intervals import Bools, at
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.cost import part
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

CUDA_GRAPHS = Rule(
    "cuda-graphs",
    "integrity",
    "events of replayed graphs, which have the scope of the launch, or the one noted at capture",
    "CUDA graphs",
)


def by_graph(account: Account) -> Bools:
    """Rows whose launch is that of a graph: cudaGraphLaunch, cuGraphLaunch, hipGraphLaunch."""
    host = account.attribution.host
    graph = host.matching(lambda name: "GraphLaunch" in name) & host.is_runtime
    return at(graph, account.attribution.events.launch[account.row], absent=False)


def in_graph(account: Account) -> Bools:
    """Rows that ran in a graph, by their launch or by the node that nsys says they are."""
    return (account.trace.device.graph_node[account.row] >= 0) | by_graph(account)


def _launches(count: int) -> str:
    return f"{count:,} graph launch{'' if count == 1 else 'es'}"


def cuda_graphs(account: Account) -> Finding | None:
    """How many events ran in graphs, and where their scopes are from."""
    if not account.on_device or not (inside := in_graph(account)).any():
        return None
    time = int(account.total[inside].sum())
    launches = len(np.unique(account.attribution.events.launch[account.row][inside]))
    count = int(inside.sum())
    noted, pieces = (int((inside & (account.how == how)).sum()) for how in (How.GRAPH, How.PIECE))
    parts = [f"{noted:,} have the scope noted at capture"] if noted else []
    parts += [f"{pieces:,} are in pieces of a step, numbered by the order of their launches"] if pieces else []
    if count > noted + pieces:
        whose = "the others have" if parts else "it has" if count == 1 else "they have"
        parts.append(
            f"{whose} the scope of {'its' if count == 1 else 'their'} launch, not of the code that was captured"
        )
    what = units.many(count, "device event", "device events")
    text = f"{what} ({units.duration_ns(time)}) ran in {_launches(launches)}; {', '.join(parts)}"
    return Finding(CUDA_GRAPHS, text, part(account, time))


GRAPH_WITHOUT_SCOPE = Rule("graph-without-scope", "trace", "graph launches whose kernels have no scope")


def graph_without_scope(account: Account, _: Scalars) -> Finding | None:
    """Graph launches whose kernels have no scope: the range round the launch is none, and the capture is not here."""
    if not account.on_device:
        return None
    bare = by_graph(account) & account.unattributed
    if not bare.any():
        return None
    time, whole = int(account.total[bare].sum()), int(account.total.sum())
    launches = len(np.unique(account.attribution.events.launch[account.row][bare]))
    text = (
        f"{units.many(int(bare.sum()), 'device event', 'device events')} of {_launches(launches)}"
        f" {'has' if bare.sum() == 1 else 'have'} no scope: {units.duration_ns(time)}"
        f" ({units.percent(time / max(whole, 1))}); a replayed kernel does not say which code launched it"
    )
    advice = (
        "--capture with the trace of the run that captured the graph, a range of your own round the launch, or"
        " torch.cuda.graph(..., enable_annotations=True) with mark_kernels round each layer (PyTorch 2.12)"
    )
    evidence = (Evidence("layers", {"scope": UNATTRIBUTED}),)
    return Finding(GRAPH_WITHOUT_SCOPE, text, part(account, time), evidence, advice)


CAPTURE = Rule("capture", "trace", "with `--capture`: how many graph launches are those of the capture")


def capture(account: Account, _: Scalars) -> Finding | None:
    """How far the given captures are those of the trace's graphs; None where none were given."""
    replays = account.attribution.replays
    if replays is None:
        return None
    events = sum(scope is not None for scope in replays.scope)
    bare = sum(scope == "" for scope in replays.scope)
    text = (
        f"capture: {replays.joined:,} of {_launches(replays.launches)} found in {Path(replays.source).name}:"
        f" {events - bare:,} of their {events:,} device events have a module by it"
    )
    if not replays.unnamed:
        return Finding(CAPTURE, text)
    text += f"; the names of {replays.unnamed:,} could not be compared (the capture does not name its kernels)"
    return Finding(CAPTURE, text, sure="derived")
