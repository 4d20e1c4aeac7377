"""Matmuls and convolutions in full fp32, which tensor cores do not take."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.time.account import Account
from perfkit.regex import Regex
from perfkit.schema.finding import Finding, Rule

_KEPT = 1 / 8
"""What is left of their time on a device that is not known: 19.5 over 156 TFLOP/s, NVIDIA's A100 in fp32 and TF32."""
_LEAST = 0.02
"""Share of the step at stake from which the finding is made."""

_FP32 = Regex(
    r"sgemm|simt_fprop|scudnn|xmma_\w*f32f32_f32f32_f32|(dgrad|wgrad|fprop)\w*_engine<float|Cijk_\w+_S_?B_\w*"
)
"""Kernels that multiply in fp32 on ordinary cores: cuBLAS (sgemm, f32f32_f32f32), CUTLASS (simt_sgemm), cuDNN (scudnn,
implicit_convolve_sgemm, dgrad_engine<float), Tensile for AMD (Cijk_..._SB_)."""
_TENSOR_CORES = Regex(r"tf32|tensorop|s\d{4,5}gemm|s1688|s16816|h\d{3,5}|f16|bf16|fp16|hgemm|_XF32|_HB_|_BB")
_AMD = Regex(r"\bAMD\b|Instinct|Radeon")
_AMD_WITHOUT_TF32 = Regex(r"\bMI(50|60|100|2\d\d|35\d)X?\b|Radeon")
_WITHOUT_TENSOR_CORES = Regex(r"\bGTX 16|\bMI(50|60)\b|Radeon VII|RX [56]\d\d\d|\bVega\b")
"""Devices whose number of capability does not say it: NVIDIA's TU116 and TU117, AMD before CDNA and RDNA 3."""

UNUSED_TENSOR_CORES = Rule(
    "unused-tensor-cores",
    "performance",
    "matmuls and convolutions run in fp32 outside the tensor cores, which TF32 or bf16 would use",
)


def unused_tensor_cores(case: Case) -> Finding | None:
    """Kernels whose names say that they multiply in fp32 on ordinary cores.

    At stake: their time, less the fp32 peak over the device's TF32 peak or, where TF32 is no faster (GeForce and RTX
    cards), over that in 16 bits: an eighth on an A100, half on an RTX 4090, an eighth where the device is not known.
    """
    rows = fp32_rows(case)
    if not case.on_device or not rows.any() or not _has_tensor_cores(case.account):
        return None
    time = case.time(rows)
    left = kept(case)
    ceiling = time * (1 - left)
    if not case.is_worth(ceiling, _LEAST):
        return None
    advice = (
        'torch.set_float32_matmul_precision("high") and torch.backends.cudnn.allow_tf32 = True, or torch.autocast in'
        " bf16 (perfkit run: --precision tf32 or bf16)"
    )
    where, faster = " outside the tensor cores", "on tensor cores"
    if _is_amd(case.account):  # whose matrix cores take fp32, too
        where, faster = "", "in TF32" if _has_tf32(case.account) else "in 16 bits"
    if not _has_tf32(case.account):
        advice = "torch.autocast in fp16: this device's tensor cores take 16 bits only (perfkit run: --precision fp16)"
        if not where:
            advice = "torch.autocast in bf16 or fp16 (perfkit run: --precision bf16)"
    text = (
        f"matmuls and convolutions in fp32{where} take {case.each(time)}; {faster} they would be up to"
        f" {1 / left:.2g} times as fast"
    )
    return Finding(UNUSED_TENSOR_CORES, text, case.cost(ceiling), kernel_rows(case, rows), advice, "derived")


def kept(case: Case) -> float:
    """What is left of such a kernel's time on tensor cores, by the dense peaks of the recording's device."""
    peaks = {} if case.hardware is None else {name: peak.flops_per_s for name, peak in case.hardware.peaks.items()}
    fp32 = peaks.get("fp32")
    faster = [peak for name in ("tf32", "bf16", "fp16") if (peak := peaks.get(name)) and fp32 and peak > 1.05 * fp32]
    return fp32 / faster[0] if fp32 and faster else _KEPT


def fp32_rows(case: Case) -> Bools:
    """Rows of the account whose kernels multiply in fp32 on ordinary cores."""
    names = case.trace.names
    is_fp32 = np.array([_FP32.search(name) is not None and not _TENSOR_CORES.search(name) for name in names] or [False])
    rows: Bools = is_fp32[case.account.name]
    return rows


def _has_tf32(account: Account) -> bool:
    """Whether some device of the recording has TF32: NVIDIA's from Ampere on (8.0), AMD's from MI300 on."""
    devices = account.trace.recording.devices
    return not devices or any(
        (device.compute_major or 8) >= 8 and not _AMD_WITHOUT_TF32.search(device.name) for device in devices
    )


def _is_amd(account: Account) -> bool:
    devices = account.trace.recording.devices
    return bool(devices) and all(_AMD.search(device.name) for device in devices)


def _has_tensor_cores(account: Account) -> bool:
    """Whether some device of the recording has, or may have, tensor cores: NVIDIA's from Volta on (7.0)."""
    devices = account.trace.recording.devices
    return not devices or any(
        (device.compute_major or 7) >= 7 and not _WITHOUT_TENSOR_CORES.search(device.name) for device in devices
    )
