"""What a CPU's peak memory is of: the process occupies more than its tensors take."""

from __future__ import annotations

from perfkit.analysis.memory import model as memory_model
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord

RESIDENT_MEMORY = Rule("resident-memory", "memory", "how much of a CPU run's peak memory is tensors")

_CHECKPOINT_IMPORTS = 70 * 2**20
"""The first checkpoint imports PyTorch's compiler (torch._dynamo): 822 modules, resident 68 to 72 MiB more. Measured
with PyTorch 2.13; `import torch._dynamo` beforehand takes the same, and the checkpoint then nothing."""


def in_tensors(record: RunRecord) -> int | None:
    """Peak bytes in tensors: as measured, or else by the formula; None where neither knows, and before any step."""
    if not record.steps or record.memory.headline is None:
        return None
    if (measured := record.memory.tensors or record.memory.allocated) is not None:
        return measured
    return _predicted(record)


def _predicted(record: RunRecord) -> int | None:
    step = record.config.step
    if isinstance(record.config.workload, Own) or step.compile != "off" or step.parallel != "off":
        return None
    return memory_model.estimate(record.config).peak


def finding(record: RunRecord) -> Finding | None:
    """What peak memory means on a CPU, and what of it is tensors; None on a GPU, which counts tensors alone."""
    tensors = in_tensors(record)
    if tensors is None or record.memory.resident is None or record.memory.allocated is not None:
        return None
    how = "as recorded" if record.memory.tensors else "by the formula"
    text = (
        f"peak memory {units.size(record.memory.resident)} is what the process occupies (resident set); tensors take"
        f" {units.size(tensors)} of it {how}, and the rest is Python, PyTorch and freed memory that the C library keeps"
    )
    if record.config.step.checkpoint_group:
        text += f"; the first checkpoint imports PyTorch's compiler, about {units.size(_CHECKPOINT_IMPORTS, digits=2)}"
    return Finding(RESIDENT_MEMORY, text, sure="derived")
