"""scripts/gallery: the pictures of docs/gallery.md, each by the command that stands below it, and the page itself.

A picture comes from a run in traces/samples, from small runs of its own, or from a trace that others published. Those
are in the folder that PERFKIT_TRACE_CORPUS names; where it is not set, their pictures stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "gallery.md"
LIMIT = 150_000
"""Largest size of a picture, in bytes."""
_COLOURS = 96
"""Of a picture: more cannot be told apart, and it has half the bytes."""
_SAMPLE = "traces/samples/tiny_train_cpu"


@dataclass(frozen=True)
class Shown:
    """One picture of the gallery."""

    image: str
    """Its name in docs/images, without .png."""
    command: str
    """Writes <picture>.png into the working directory, or image.png."""
    picture: str
    """As `--plot` names it."""
    says: str
    """One sentence."""
    trace: str = ""
    """A file of the corpus that the command reads."""

    @property
    def is_here(self) -> bool:
        """Whether what the command reads is there."""
        return not self.trace or (corpus() is not None and (corpus() / self.trace).exists())


def corpus() -> Path | None:
    """The folder of published traces."""
    folder = os.environ.get("PERFKIT_TRACE_CORPUS")
    return Path(folder) if folder else None


_QWEN, _DDP = "h100_qwen_0.5b_inference.json.gz", "a100_ddp_training.json.gz"
GALLERY: tuple[Shown, ...] = (
    Shown(
        "icicle", f"perfkit analyze {_SAMPLE} --plot icicle", "icicle",
        "Phases side by side, and below each the modules that its time was in.",
    ),
    Shown(
        "icicle_layers", f"perfkit analyze {_QWEN} --plot icicle", "icicle",
        "The same of a model on a GPU: 24 layers that would be too narrow to be named are drawn as one.",
        f"kineto/{_QWEN}",
    ),
    Shown(
        "wall_time", f"perfkit analyze {_DDP} --plot wall_time", "wall_time",
        "Three quarters of each step the GPU ran nothing, because the host had launched nothing yet.",
        f"kineto/{_DDP}",
    ),
    Shown(
        "roofline", f"perfkit analyze {_QWEN} --plot roofline", "roofline",
        "The large matrix products come near the peak of the H100, elementwise operators near its bandwidth.",
        f"kineto/{_QWEN}",
    ),
    Shown(
        "layers", f"perfkit analyze {_SAMPLE} --plot layers", "layers",
        "A cell for each layer and phase: the optimizer takes longest, and the first block longer than the second.",
    ),
    Shown(
        "steps", "perfkit run --model-size tiny --num-threads 1 --measure-steps 30 --plot steps", "steps",
        "Every step in the order it ran: warm-up is shaded, and steps that stand out get a diamond.",
    ),
    Shown(
        "ratio",
        "perfkit compare --run '--model-size tiny --num-threads 1 --attention eager'"
        " '--model-size tiny --num-threads 1 --attention sdpa' --plot ratio sides",
        "ratio",
        "How much faster or slower B is, with its 95% interval: a bar that crosses 1 leaves it open.",
    ),
    Shown("sides", "", "sides", "The times behind the ratios, drawn by the same command."),
    Shown(
        "growth",
        "perfkit sweep --model-size tiny --context-length 32 64 128 --batch-size 1 4 --pass-type forward train"
        " --num-threads 1 --plot growth",
        "growth",
        "Time and memory over each number that a sweep varies, one line for each combination of the rest.",
    ),
    Shown(
        "warmup",
        "perfkit sweep --model-size tiny --num-threads 1 --pass-type train --warmup-steps 0 1 2 5 --plot warmup",
        "warmup",
        "Every step for each number of warm-up steps: the first one that runs is the slowest or near it.",
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the named pictures, or all that can be drawn here, and write the page."""
    parser = argparse.ArgumentParser(
        prog="scripts/gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [shown.image for shown in GALLERY]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all ({', '.join(names)})")
    chosen = parser.parse_args(argv).names
    for name in chosen:
        if name not in names:
            print(f"gallery: {name}: choose from {', '.join(names)}", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory() as scratch:
        for shown in GALLERY:
            if not chosen or shown.image in chosen:
                _draw(shown, Path(scratch))
    PAGE.write_text(page(), encoding="utf-8")
    return 0


def _draw(shown: Shown, scratch: Path) -> None:
    if not shown.is_here:
        print(f"{shown.image}: stays as it is: PERFKIT_TRACE_CORPUS has no {shown.trace}")
        return
    drawn = scratch / f"{shown.picture}.png"
    if shown.command:
        drawn.unlink(missing_ok=True)
        (scratch / "traces").mkdir(exist_ok=True)
        samples, folder = scratch / "traces" / "samples", corpus()
        if not samples.exists():
            samples.symlink_to(ROOT / "traces" / "samples")
        if folder is not None and shown.trace:
            (scratch / Path(shown.trace).name).unlink(missing_ok=True)
            (scratch / Path(shown.trace).name).symlink_to(folder / shown.trace)
        words = [sys.executable, "-m", *shlex.split(shown.command), *_scratch_files(shown)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"gallery: {shown.command}: ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    kept = IMAGES / f"{shown.image}.png"
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(kept, optimize=True)
    size = kept.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"gallery: {kept.name} has {size:,} bytes, more than {LIMIT:,}")
    print(f"docs/images/{shown.image}.png  {size / 1000:.1f} kB")


def _scratch_files(shown: Shown) -> list[str]:
    return ["--output", f"{shown.image}.csv"] if shown.command.startswith("perfkit sweep") else []


def page() -> str:
    """docs/gallery.md."""
    parts = [
        "# Gallery",
        "",
        "What `--plot` draws: `--plot icicle` writes `icicle.png`, and a file after the name says where the picture",
        "goes and, by its extension, whether it is PNG, SVG or PDF. Colours are those of Okabe and Ito (2008), which",
        "colour-blind readers can tell apart; a phase or a cause has the same one in terminals, in pictures and in",
        "[reports](report.md). Markers, dashes and hatches tell things apart in print without colour. Pictures of",
        "modules and devices need a trace: `perfkit run` draws them with `--profiler torch`. `scripts/gallery` makes",
        "this page.",
        "",
    ]
    for shown in GALLERY:
        title = shown.image.replace("_", " ").capitalize()
        parts += [f"## {title}", "", shown.says, ""]
        if shown.command:
            parts += ["```bash", shown.command, "```", ""]
        parts += [f"![{title}](images/{shown.image}.png)", ""]
    return "\n".join(parts)
