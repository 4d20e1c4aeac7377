"""`perfkit run --estimate` and `--fit` as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from perfkit import cli
from perfkit.commands.run import Doing
from perfkit.measure import estimate
from tests.runs import QUICK

GIB = 2**30


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


@pytest.fixture
def ask(tmp_path, capsys, monkeypatch):
    """Runs `perfkit run` in tmp_path, on a machine without a GPU; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def go(*arguments: str) -> tuple[int, str, str]:
        asked = [
            text for flag, value in QUICK.items() if _flag(flag) not in arguments for text in (_flag(flag), str(value))
        ]
        doing = Doing(run=lambda *_: pytest.fail("it ran"))
        code = cli.main(["run", *asked, *arguments], doing=doing)
        return (code, *capsys.readouterr())

    return go


def test_an_estimate_is_a_table_that_adds_up_and_runs_nothing(ask):
    # WHEN
    code, out, err = ask("--estimate", "--device", "cuda", "--pass-type", "train", "--output", "e.json")

    # THEN
    assert code == 0
    assert [path.name for path in Path().iterdir()] == ["e.json"]
    told = [line for line in err.splitlines()[1:] if not line.endswith(" s so far")]  # of a slow machine
    assert told == ["tracing the step on fake tensors"]
    document = json.loads(Path("e.json").read_text())
    rows = document["tables"]["memory"]["rows"]
    assert {"parameters", "gradients", "optimizer state", "working buffers"} <= {row["part"] for row in rows}
    for column, name in (("formula_bytes", "peak_bytes"), ("traced_bytes", "traced_bytes")):
        assert sum(row[column] for row in rows) == document["summary"][name]
    assert re.search(r"peak: .* in optimizer by the formula; tracing on fake tensors gives the same, in optimizer", out)
    assert "no GPU here to compare with; try --memory 16GB" in out


@pytest.mark.parametrize(
    ("memory", "verdict"), [("16GB", "fits in 16.0 GiB"), ("513MiB", "borderline in"), ("0.4GiB", "will not fit in")]
)
def test_a_memory_gives_a_verdict_for_a_gpu_that_is_not_here(ask, memory, verdict):
    # WHEN
    code, out, err = ask("--estimate", "--memory", memory)

    # THEN
    assert code == 0
    assert "on cuda" in err.splitlines()[0]
    assert f"\n{verdict}" in out
    assert re.search(r" \+ 52\d.\d MiB beside the tensors is ", out)  # 512 MiB for the context, 16.25 for cuBLAS
    assert re.search(r"^context +512.000 +512.000", out, re.MULTILINE)


def test_a_cpu_is_compared_with_what_it_has_available(ask):
    """GIVEN a CPU, whose free memory changes from look to look THEN what is named lies between two looks, or nearly"""
    before = estimate.available("cpu")
    _, out, _ = ask("--estimate", "--device", "cpu")
    named = float(re.search(r"\nfits in ([\d.]+) GiB: ", out)[1])
    assert named == pytest.approx(before / GIB, rel=0.5)
    assert "CUDA" not in out


def test_what_fits_is_proposed_as_flags(ask):
    # WHEN
    code, out, _ = ask("--fit", "--memory", "700MiB", "--batch-size", "25600")

    # THEN
    assert code == 0
    assert re.search(r"^--batch-size \d+ ", out, re.MULTILINE)
    assert "to accumulate" in out


def test_where_it_fits_there_is_nothing_to_change(ask):
    _, out, _ = ask("--fit", "--memory", "80GB")
    assert "nothing to change: the configuration fits as it is" in out
    assert "gives up" not in out


def test_where_nothing_fits_it_says_so(ask):
    _, out, _ = ask("--fit", "--memory", "100MiB")
    assert "nothing that was tried fits" in out


def test_compiled_steps_are_not_covered(ask):
    _, out, _ = ask("--estimate", "--compile", "model", "--memory", "16GB")
    assert "--compile model is not covered" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--memory", "16GB"], "--memory 16GB needs --estimate or --fit"),
        (["--estimate", "--memory", "16"], "16: not a size of memory; write it as 16GB or 15.6GiB"),
        (
            ["--fit", "--device", "cuda"],
            "--fit needs the memory of --device cuda, which is unknown: add e.g. --memory 16GB",
        ),
        (
            [
                "--estimate",
                "--device",
                "cuda",
                "--d-model",
                "16777216",
                "--batch-size",
                "2000000000",
                "--context-length",
                "99999",
            ],
            "a tensor of this step needs more than 2^63 bytes",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(ask, arguments, says):
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
