"""Chips: multiply-adds that one multiprocessor does in a clock, for each precision, dense."""

from __future__ import annotations

import msgspec

from perfkit.schema.ceilings import Precision


class Chip(msgspec.Struct, frozen=True):
    """An architecture, as the products of a price class have it."""

    name: str
    fma: dict[Precision, int]
    """Multiply-adds of a streaming multiprocessor (NVIDIA) or compute unit (AMD) in a clock, by the fastest unit that
    takes matrix products: tensor or matrix cores where there are such for the precision."""
    source: str


_TURING, _AMPERE, _ADA, _BLACKWELL = (
    "NVIDIA Turing GPU Architecture whitepaper (2018)",
    "NVIDIA Ampere GA102 GPU Architecture whitepaper (2021)",
    "NVIDIA Ada GPU Architecture whitepaper (2023)",
    "NVIDIA RTX Blackwell GPU Architecture whitepaper (2025)",
)

VOLTA = Chip(
    "Volta",
    {"fp64": 32, "fp32": 64, "fp16": 512, "fp16-acc16": 512},
    "NVIDIA Tesla V100 GPU Architecture whitepaper (2017)",
)
TURING = Chip("Turing", {"fp64": 2, "fp32": 64, "fp16": 512, "fp16-acc16": 512, "int8": 1024}, _TURING)
TURING_GEFORCE = Chip("Turing GeForce", {"fp64": 2, "fp32": 64, "fp16": 256, "fp16-acc16": 512, "int8": 1024}, _TURING)
GA100 = Chip(
    "Ampere GA100",
    {"fp64": 64, "fp32": 64, "tf32": 512, "bf16": 1024, "fp16": 1024, "fp16-acc16": 1024, "int8": 2048},
    "NVIDIA A100 Tensor Core GPU Architecture whitepaper (2020)",
)
AMPERE = Chip(
    "Ampere GA10x",
    {"fp64": 2, "fp32": 128, "tf32": 256, "bf16": 512, "fp16": 512, "fp16-acc16": 512, "int8": 1024},
    _AMPERE,
)
AMPERE_GEFORCE = Chip(
    "Ampere GeForce",
    {"fp64": 2, "fp32": 128, "tf32": 128, "bf16": 256, "fp16": 256, "fp16-acc16": 512, "int8": 1024},
    _AMPERE,
)
AMPERE_HALF = Chip(
    "Ampere A10G",
    {"fp64": 2, "fp32": 128, "tf32": 128, "bf16": 256, "fp16": 256, "int8": 512},
    "NVIDIA A10G datasheet (2021)",
)
ADA = Chip(
    "Ada",
    {"fp64": 2, "fp32": 128, "tf32": 256, "bf16": 512, "fp16": 512, "fp16-acc16": 512, "fp8": 1024, "int8": 1024},
    _ADA,
)
ADA_GEFORCE = Chip(
    "Ada GeForce",
    {
        "fp64": 2, "fp32": 128, "tf32": 128, "bf16": 256, "fp16": 256, "fp16-acc16": 512, "fp8": 512, "fp8-acc16": 1024,
        "int8": 1024,
    },
    _ADA,
)  # fmt: skip
ADA_HALF = Chip(
    "Ada L40",
    {"fp64": 2, "fp32": 128, "tf32": 128, "bf16": 256, "fp16": 256, "fp8": 512, "int8": 512},
    "NVIDIA L40 datasheet (2022)",
)
HOPPER = Chip(
    "Hopper",
    {"fp64": 128, "fp32": 128, "tf32": 1024, "bf16": 2048, "fp16": 2048, "fp8": 4096, "int8": 4096},
    "NVIDIA H100 Tensor Core GPU Architecture whitepaper (2023)",
)
H800 = Chip("Hopper H800", {key: rate for key, rate in HOPPER.fma.items() if key != "fp64"}, HOPPER.source)
H20 = Chip(
    "Hopper H20", {"tf32": 256, "bf16": 512, "fp16": 512, "fp8": 1024, "int8": 1024}, "NVIDIA H20 datasheet (2024)"
)
BLACKWELL = Chip(
    "Blackwell",
    {"fp64": 64, "fp32": 128, "tf32": 2048, "bf16": 4096, "fp16": 4096, "fp8": 8192, "int8": 8192, "fp4": 16384},
    "NVIDIA Blackwell Architecture Technical Brief (2024)",
)
BLACKWELL_ULTRA = Chip(
    "Blackwell Ultra",
    {"fp32": 128, "tf32": 2048, "bf16": 4096, "fp16": 4096, "fp8": 8192, "fp4": 24576},
    "NVIDIA Blackwell Ultra datasheet (2025)",
)
BLACKWELL_GEFORCE = Chip(
    "Blackwell GeForce",
    {
        "fp64": 2, "fp32": 128, "tf32": 128, "bf16": 256, "fp16": 256, "fp16-acc16": 512, "fp8": 512, "fp8-acc16": 1024,
        "int8": 1024, "fp4": 2048,
    },
    _BLACKWELL,
)  # fmt: skip
BLACKWELL_PRO = Chip(
    "Blackwell RTX PRO",
    {
        "fp64": 2, "fp32": 128, "tf32": 256, "bf16": 512, "fp16": 512, "fp16-acc16": 512, "fp8": 1024, "int8": 1024,
        "fp4": 2048,
    },
    "NVIDIA RTX Blackwell PRO GPU Architecture whitepaper (2025)",
)  # fmt: skip
CDNA2 = Chip(
    "CDNA 2",
    {"fp64": 128, "fp32": 128, "bf16": 512, "fp16": 512, "int8": 512},
    "AMD CDNA 2 Architecture white paper (2021)",
)
CDNA3 = Chip(
    "CDNA 3",
    {"fp64": 128, "fp32": 128, "tf32": 512, "bf16": 1024, "fp16": 1024, "fp8": 2048, "int8": 2048},
    "AMD CDNA 3 Architecture white paper (2023)",
)
CDNA4 = Chip(
    "CDNA 4",
    {"fp64": 64, "fp32": 128, "bf16": 2048, "fp16": 2048, "fp8": 4096, "int8": 4096, "fp4": 8192},
    "AMD CDNA 4 Architecture white paper (2025)",
)
VECTOR = ("fp64", "fp32")
"""Precisions at the higher of two boost clocks, where a part has one for its tensor cores."""
