"""What torchrun says of this process: its place among the processes of one job."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig

_RUN = "TORCHELASTIC_RUN_ID"
_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Place:
    """One process of a job."""

    rank: int
    """Counted from 0."""
    ranks: int
    """Processes of the job."""
    local_rank: int
    """Counted from 0 on its machine."""
    on_machine: int
    """Processes of the job on its machine."""

    @property
    def is_first(self) -> bool:
        """Whether it speaks for all, and writes the record."""
        return self.rank == 0


def command(ranks: int) -> tuple[str, ...]:
    """What starts so many processes of the command behind it, all on this machine: torchrun, of this Python."""
    ours = sys.executable, "-m", "torch.distributed.run"
    return *ours, "--standalone", "--nproc-per-node", str(ranks), "--no-python"


def place_of(config: RunConfig, environ: Mapping[str, str] = os.environ) -> Place | None:
    """The place of this process in a job; None where one process measures alone.

    Raises UsageError where a job is asked for and torchrun has not started this process, or the other way round.
    """
    wanted = config.step.parallel
    if wanted == "off":
        if _RUN in environ and environ.get("WORLD_SIZE", "1") != "1":
            raise UsageError(
                f"torchrun started {environ['WORLD_SIZE']} processes, and without --parallel each would measure alone:"
                " add --parallel ddp, fsdp or tp, or leave torchrun out"
            )
        return None
    if any(not environ.get(name) for name in _NEEDED):
        raise UsageError(
            f"--parallel {wanted} needs torchrun, which starts the processes:"
            f" torchrun --nproc-per-node 2 -m perfkit.run --parallel {wanted}"
        )
    rank, ranks, local_rank = (int(environ[name]) for name in _NEEDED[:3])
    return Place(rank, ranks, local_rank, int(environ.get("LOCAL_WORLD_SIZE", ranks)))


def refuse_estimate(config: RunConfig) -> None:
    """Raise UsageError where an estimate of a job of several processes is asked for."""
    if config.step.parallel != "off":
        raise UsageError(f"an estimate knows one process: leave out --parallel {config.step.parallel}")


def refuse(config: RunConfig, what: str) -> None:
    """Raise UsageError where a job of several processes is asked for and `what` starts processes by itself."""
    if config.step.parallel != "off":
        raise UsageError(
            f"{what} starts its processes itself, and --parallel {config.step.parallel} needs torchrun to do so:"
            " measure each configuration by itself"
        )
