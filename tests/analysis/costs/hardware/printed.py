"""What vendors print of their cards: the golden numbers, dense; `SPARSE / 2` of a figure with 2:4 sparsity.

TFLOP/s (int8: TOP/s), and (bus in bits, Gbit/s of a pin) of the memory.
"""

# fmt: off

from __future__ import annotations


def _each(names: tuple[str, ...], peaks: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: peaks for name in names}  # noqa: C420 - they are only read


PRINTED: dict[str, dict[str, float]] = {
    # Tesla V100 datasheet, DGX Station datasheet (500 TFLOPS of four), T4 datasheet, Turing whitepaper.
    "Tesla V100-SXM2-16GB": {"fp64": 7.8, "fp32": 15.7, "fp16": 125},
    "Tesla V100-SXM2-32GB": {"fp64": 7.8, "fp32": 15.7, "fp16": 125},
    "Tesla V100-DGXS-16GB": {"fp16": 125},
    "Tesla V100-DGXS-32GB": {"fp16": 125},
    "Tesla V100-PCIE-16GB": {"fp64": 7, "fp32": 14, "fp16": 112},
    "Tesla V100-PCIE-32GB": {"fp64": 7, "fp32": 14, "fp16": 112},
    "Tesla V100S-PCIE-32GB": {"fp64": 8.2, "fp32": 16.4, "fp16": 130},
    "Tesla T4": {"fp32": 8.1, "fp16": 65, "int8": 130},
    "Quadro RTX 8000": {"fp32": 16.3, "fp16": 130.5, "int8": 261},
    "TITAN RTX": {"fp32": 16.3, "fp16": 130.5},
    "GeForce RTX 2080 Ti": {"fp32": 13.4, "fp16": 53.8, "fp16-acc16": 107.6, "int8": 215.2},
    # A100, A30, A40, A10, A10G, A2, A16 datasheets.
    **_each(
        ("A100-SXM4-40GB", "A100-PG509-200", "A100-SXM4-80GB", "PG509-210", "A100-PCIE-40GB", "A100 80GB PCIe",
         "A800-SXM4-80GB", "A800 80GB PCIe"),
        {"fp64": 19.5, "fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312, "int8": 624},
    ),
    "A30": {"fp64": 10.3, "fp32": 10.3, "tf32": 82, "bf16": 165, "fp16": 165, "int8": 330},
    "A40": {"fp32": 37.4, "tf32": 74.8, "bf16": 149.7, "fp16": 149.7, "int8": 299.3},
    "A10": {"fp32": 31.2, "tf32": 62.5, "bf16": 125, "fp16": 125, "int8": 250},
    "A10G": {"fp32": 35, "tf32": 35, "bf16": 70, "fp16": 70, "int8": 140},
    "A2": {"fp32": 4.5, "tf32": 9, "bf16": 18, "fp16": 18, "int8": 36},
    "A16": {"fp32": 4.5, "tf32": 9, "fp16": 17.9, "int8": 35.9},
    # L4 (242 and 485 with sparsity), L20, L40, L40S datasheets.
    "L4": {"fp32": 30.3, "tf32": 120 / 2, "bf16": 242 / 2, "fp16": 242 / 2, "fp8": 485 / 2, "int8": 485 / 2},
    "L20": {"fp32": 59.8, "tf32": 59.8, "bf16": 119.5, "fp16": 119.5, "fp8": 239, "int8": 239},
    "L40": {"fp32": 90.5, "tf32": 90.5, "bf16": 181.05, "fp16": 181.05, "fp8": 362, "int8": 362},
    "L40S": {"fp32": 91.6, "tf32": 183, "bf16": 362.05, "fp16": 362.05, "fp8": 733, "int8": 733},
    # H100 whitepaper and datasheet (1,979 and 3,958 with sparsity), H100 NVL, H200, GH200, H800, H20 datasheets.
    **_each(
        ("H100 80GB HBM3", "H200", "GH200 480GB", "GH200 120GB", "GH200 144G HBM3e"),
        {"fp64": 67, "fp32": 67, "tf32": 989 / 2, "bf16": 1979 / 2, "fp16": 1979 / 2, "fp8": 3958 / 2,
         "int8": 3958 / 2},
    ),
    "H100 PCIe": {"fp64": 51, "fp32": 51, "tf32": 756 / 2, "bf16": 1513 / 2, "fp8": 3026 / 2, "int8": 3026 / 2},
    **_each(
        ("H100 NVL", "H200 NVL"),
        {"fp64": 60, "fp32": 60, "tf32": 835 / 2, "bf16": 1671 / 2, "fp16": 1671 / 2, "fp8": 3341 / 2,
         "int8": 3341 / 2},
    ),
    "H800": {"fp32": 67, "tf32": 989 / 2, "bf16": 1979 / 2, "fp8": 3958 / 2},
    "H800 PCIe": {"fp32": 51, "tf32": 756 / 2, "bf16": 1513 / 2, "fp8": 3026 / 2},
    **_each(("H20", "H20-3e"), {"tf32": 74, "bf16": 148, "fp16": 148, "fp8": 296, "int8": 296}),
    # GB200 NVL72 datasheet, whose table has HGX B200 beside it (with sparsity); HGX B300 and GB300 NVL72 datasheets.
    "B200": {"fp64": 37, "fp32": 75, "tf32": 2250 / 2, "bf16": 4500 / 2, "fp16": 4500 / 2, "fp8": 9000 / 2,
             "int8": 9000 / 2, "fp4": 18000 / 2},
    "GB200": {"fp64": 40, "fp32": 80, "tf32": 2500 / 2, "bf16": 5000 / 2, "fp16": 5000 / 2, "fp8": 10000 / 2,
              "int8": 10000 / 2, "fp4": 20000 / 2},
    "B300 SXM6 AC": {"fp32": 75, "tf32": 2250 / 2, "bf16": 4500 / 2, "fp16": 4500 / 2, "fp8": 9000 / 2, "fp4": 13500},
    "GB300": {"fp32": 80, "tf32": 2500 / 2, "bf16": 5000 / 2, "fp16": 5000 / 2, "fp8": 10000 / 2, "fp4": 15000},
    # Datasheets of workstation cards; "tensor performance" with sparsity: fp16 of Ampere, fp8 of Ada, fp4 of Blackwell.
    "RTX A6000": {"fp32": 38.7, "fp16": 309.7 / 2},
    "RTX A5500": {"fp32": 34.1, "fp16": 272.8 / 2},
    "RTX A5000": {"fp32": 27.8, "fp16": 222.2 / 2},
    "RTX A4500": {"fp32": 23.7, "fp16": 189.2 / 2},
    "RTX A4000": {"fp32": 19.2, "fp16": 153.4 / 2},
    "RTX A2000": {"fp32": 8, "fp16": 63.9 / 2},
    "RTX A2000 12GB": {"fp32": 8, "fp16": 63.9 / 2},
    "RTX 6000 Ada Generation": {"fp32": 91.1, "fp8": 1457 / 2},
    "RTX 5880 Ada Generation": {"fp32": 69.3, "fp8": 1108.4 / 2},
    "RTX 5000 Ada Generation": {"fp32": 65.3, "fp8": 1044.4 / 2},
    "RTX 4500 Ada Generation": {"fp32": 39.6, "fp8": 634 / 2},
    "RTX 4000 Ada Generation": {"fp32": 26.7, "fp8": 427.6 / 2},
    "RTX 4000 SFF Ada Generation": {"fp32": 19.2, "fp8": 306.8 / 2},
    "RTX 2000 Ada Generation": {"fp32": 12, "fp8": 191.9 / 2},
    "RTX PRO 6000 Blackwell Workstation Edition": {"fp32": 125, "fp16": 503.8, "fp4": 4000 / 2},
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition": {"fp32": 110, "fp4": 3511 / 2},
    # Whitepapers of GA102, Ada and RTX Blackwell; AI TOPS of the product pages (with sparsity): int8 and fp8 of Ada
    # with fp16 sums, fp4 of Blackwell.
    "GeForce RTX 3090": {"fp32": 35.6, "tf32": 35.6, "bf16": 71, "fp16": 71, "fp16-acc16": 142, "int8": 284},
    "GeForce RTX 3080 10": {"fp32": 29.8, "tf32": 29.8, "bf16": 59.5, "fp16": 59.5, "fp16-acc16": 119, "int8": 238},
    "GeForce RTX 3070": {"fp32": 20.3, "tf32": 20.3, "bf16": 40.6, "fp16": 40.6, "fp16-acc16": 81.3, "int8": 162.6},
    "GeForce RTX 4090": {"fp32": 82.6, "tf32": 82.6, "bf16": 165.2, "fp16": 165.2, "fp16-acc16": 330.3, "fp8": 330.3,
                         "fp8-acc16": 660.6, "int8": 660.6},
    "GeForce RTX 4090 D": {"fp8-acc16": 1177 / 2},
    "GeForce RTX 4080 SUPER": {"fp32": 52, "fp8-acc16": 836 / 2},
    "GeForce RTX 4080": {"fp32": 48.7, "bf16": 97.5, "fp16-acc16": 194.9, "int8": 389.9, "fp8-acc16": 780 / 2},
    "GeForce RTX 4070 Ti SUPER": {"fp32": 44, "fp8-acc16": 706 / 2},
    "GeForce RTX 4070 Ti": {"fp32": 40.1, "bf16": 80.2, "fp8-acc16": 641 / 2},
    "GeForce RTX 4070 SUPER": {"fp32": 36, "fp8-acc16": 568 / 2},
    "GeForce RTX 4070": {"fp32": 29, "fp8-acc16": 466 / 2},
    "GeForce RTX 4060 Ti": {"fp32": 22, "fp8-acc16": 353 / 2},
    "GeForce RTX 4060": {"fp32": 15, "fp8-acc16": 242 / 2},
    "GeForce RTX 5090": {"fp32": 104.8, "tf32": 104.8, "bf16": 209.5, "fp16": 209.5, "fp16-acc16": 419, "fp8": 419,
                         "fp8-acc16": 838, "int8": 838, "fp4": 3352 / 2},
    "GeForce RTX 5080": {"fp32": 56.3, "bf16": 112.6, "fp4": 1801 / 2},
    "GeForce RTX 5070 Ti": {"fp32": 43.9, "fp4": 1406 / 2},
    "GeForce RTX 5070": {"fp32": 30.9, "fp4": 988 / 2},
    "GeForce RTX 5060 Ti": {"fp4": 759 / 2},
    "GeForce RTX 5060": {"fp4": 614 / 2},
    "GeForce RTX 5050": {"fp4": 421 / 2},
    # The issue that this table was made for; 1.7 GHz.
    "GeForce RTX 4090 Laptop GPU": {"fp32": 33, "tf32": 33, "bf16": 66},
    # AMD's data sheets.
    "AMD Instinct MI210": {"fp64": 45.3, "fp32": 45.3, "bf16": 181, "fp16": 181, "int8": 181},
    "AMD Instinct MI250": {"fp64": 90.5 / 2, "fp32": 90.5 / 2, "bf16": 362.1 / 2, "fp16": 362.1 / 2, "int8": 362.1 / 2},
    "AMD Instinct MI250X": {"fp64": 95.7 / 2, "fp32": 95.7 / 2, "bf16": 383 / 2, "fp16": 383 / 2, "int8": 383 / 2},
    "AMD Instinct MI300A": {"fp64": 122.6, "fp32": 122.6, "tf32": 490.3, "bf16": 980.6, "fp16": 980.6, "fp8": 1961.2,
                            "int8": 1961.2},
    **_each(
        ("AMD Instinct MI300X", "AMD Instinct MI300X VF", "AMD Instinct MI325X"),
        {"fp64": 163.4, "fp32": 163.4, "tf32": 653.7, "bf16": 1307.4, "fp16": 1307.4, "fp8": 2614.9, "int8": 2614.9},
    ),
    "AMD Instinct MI350X": {"fp64": 72.1, "fp32": 144.2, "bf16": 2306.9, "fp16": 2306.9, "fp8": 4613.7, "int8": 4613.7,
                            "fp4": 9227.5},
    "AMD Instinct MI355X": {"fp64": 78.6, "fp32": 157.3, "bf16": 2516.6, "fp16": 2516.6, "fp8": 5033.2, "int8": 5033.2,
                            "fp4": 10066.3},
}

MEMORY: dict[str, tuple[int, float]] = {
    "Tesla V100-SXM2-16GB": (4096, 1.754), "Tesla V100-SXM2-32GB": (4096, 1.754),
    "Tesla V100-DGXS-16GB": (4096, 1.754), "Tesla V100-DGXS-32GB": (4096, 1.754),
    "Tesla V100-PCIE-16GB": (4096, 1.754), "Tesla V100-PCIE-32GB": (4096, 1.754),
    "Tesla V100S-PCIE-32GB": (4096, 2.214), "Tesla T4": (256, 10),
    "A100-SXM4-40GB": (5120, 2.43), "A100-PG509-200": (5120, 2.43), "A100-PCIE-40GB": (5120, 2.43),
    "A100-SXM4-80GB": (5120, 3.186), "PG509-210": (5120, 3.186), "A800-SXM4-80GB": (5120, 3.186),
    "A100 80GB PCIe": (5120, 3.024), "A800 80GB PCIe": (5120, 3.024), "A30": (3072, 2.43),
    "A40": (384, 14.5), "A10": (384, 12.5), "A10G": (384, 12.5), "A16": (128, 12.5), "A2": (128, 12.5),
    "L4": (192, 12.5), "L20": (384, 18), "L40": (384, 18), "L40S": (384, 18),
    "H100 80GB HBM3": (5120, 5.23), "H800": (5120, 5.23), "H100 PCIe": (5120, 3.186), "H800 PCIe": (5120, 3.186),
    "H100 NVL": (6144, 5.12), "H200": (6144, 6.25), "H200 NVL": (6144, 6.25), "H20": (6144, 5.23),
    "H20-3e": (6144, 6.25), "GH200 480GB": (6144, 5.23), "GH200 120GB": (6144, 5.23), "GH200 144G HBM3e": (6144, 6.4),
    "B200": (8192, 7.8), "GB200": (8192, 7.8), "B300 SXM6 AC": (8192, 7.8), "GB300": (8192, 7.8),
    "Quadro RTX 8000": (384, 14), "TITAN RTX": (384, 14), "RTX A6000": (384, 16), "RTX A5500": (384, 16),
    "RTX A5000": (384, 16), "RTX A4500": (320, 16), "RTX A4000": (256, 14), "RTX A2000": (192, 12),
    "RTX A2000 12GB": (192, 12), "RTX 6000 Ada Generation": (384, 20), "RTX 5880 Ada Generation": (384, 20),
    "RTX 5000 Ada Generation": (256, 18), "RTX 4500 Ada Generation": (192, 18), "RTX 4000 Ada Generation": (160, 18),
    "RTX 4000 SFF Ada Generation": (160, 14), "RTX 2000 Ada Generation": (128, 14),
    "RTX PRO 6000 Blackwell Workstation Edition": (512, 28),
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition": (512, 28),
    "RTX PRO 6000 Blackwell Server Edition": (512, 25), "RTX PRO 5000 Blackwell": (384, 28),
    "RTX PRO 4500 Blackwell": (256, 28),
    "RTX A5000 Laptop GPU": (256, 14), "RTX A4000 Laptop GPU": (256, 12),
    "RTX 5000 Ada Generation Laptop GPU": (256, 18), "RTX 4000 Ada Generation Laptop GPU": (192, 18),
    "RTX 3500 Ada Generation Laptop GPU": (192, 18), "RTX 3000 Ada Generation Laptop GPU": (128, 16),
    "RTX 2000 Ada Generation Laptop GPU": (128, 16),
    "GeForce RTX 2080 Ti": (352, 14), "GeForce RTX 2080 SUPER": (256, 15.5), "GeForce RTX 2080": (256, 14),
    "GeForce RTX 2070 SUPER": (256, 14), "GeForce RTX 2070": (256, 14), "GeForce RTX 2060 SUPER": (256, 14),
    "GeForce RTX 2060": (192, 14), "GeForce RTX 3090 Ti": (384, 21), "GeForce RTX 3090": (384, 19.5),
    "GeForce RTX 3080 Ti": (384, 19), "GeForce RTX 3080 12": (384, 19), "GeForce RTX 3080 10": (320, 19),
    "GeForce RTX 3070 Ti": (256, 19), "GeForce RTX 3070": (256, 14), "GeForce RTX 3060 12": (192, 15),
    "GeForce RTX 3060 8": (128, 15), "GeForce RTX 3050 8": (128, 14), "GeForce RTX 3050 6": (96, 14),
    "GeForce RTX 4090": (384, 21), "GeForce RTX 4090 D": (384, 21), "GeForce RTX 4080 SUPER": (256, 23),
    "GeForce RTX 4080": (256, 22.4), "GeForce RTX 4070 Ti SUPER": (256, 21), "GeForce RTX 4070 Ti": (192, 21),
    "GeForce RTX 4070 SUPER": (192, 21), "GeForce RTX 4060 Ti": (128, 18), "GeForce RTX 4060": (128, 17),
    "GeForce RTX 5090": (512, 28), "GeForce RTX 5080": (256, 30), "GeForce RTX 5070 Ti": (256, 28),
    "GeForce RTX 5070": (192, 28), "GeForce RTX 5060 Ti": (128, 28), "GeForce RTX 5060": (128, 28),
    "GeForce RTX 5050": (128, 20),
    "GeForce RTX 3080 Ti Laptop GPU": (256, 16), "GeForce RTX 3070 Ti Laptop GPU": (256, 14),
    "GeForce RTX 3050 Ti Laptop GPU": (128, 12), "GeForce RTX 3050 Laptop GPU": (128, 12),
    "GeForce RTX 4090 Laptop GPU": (256, 18), "GeForce RTX 4080 Laptop GPU": (192, 18),
    "GeForce RTX 4070 Laptop GPU": (128, 16), "GeForce RTX 4060 Laptop GPU": (128, 16),
    "GeForce RTX 4050 Laptop GPU": (96, 16), "GeForce RTX 5090 Laptop GPU": (256, 28),
    "GeForce RTX 5080 Laptop GPU": (256, 28), "GeForce RTX 5070 Ti Laptop GPU": (192, 28),
    "GeForce RTX 5070 Laptop GPU": (128, 24), "GeForce RTX 5060 Laptop GPU": (128, 24),
    "AMD Instinct MI210": (4096, 3.2), "AMD Instinct MI250": (4096, 3.2), "AMD Instinct MI250X": (4096, 3.2),
    "AMD Instinct MI250X / MI250": (4096, 3.2), "AMD Instinct MI250X/MI250": (4096, 3.2),
    "AMD Instinct MI300A": (8192, 5.2), "AMD Instinct MI300X": (8192, 5.2), "AMD Instinct MI300X VF": (8192, 5.2),
    "AMD Instinct MI325X": (8192, 6), "AMD Instinct MI350X": (8192, 8), "AMD Instinct MI355X": (8192, 8),
}

TWO_SPEEDS = {"GeForce RTX 3060 Ti": {(256, 14.0), (256, 19.0)}, "GeForce RTX 4070": {(192, 21.0), (192, 20.0)}}
"""Cards that were sold with either kind of memory."""
