"""`perfkit run script.py`: its arguments, its end, and what is refused beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import perfkit
from perfkit import cli
from perfkit.commands.run import Doing
from perfkit.schema import record
from tests.measure.own.state import state
from tests.runs import saved

SOURCE = """
import sys
import torch
from torch import nn

if __name__ == "__main__":
    print(__name__, sys.argv[1:], flush=True)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    print("steps", step + 1)
"""
QUICK = ["--warmup-steps", "1", "--measure-steps", "2", "--tensorboard", "off", "--folder", "run"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_train.py").write_text(SOURCE)


def run(*arguments: str, ending: str = "") -> int:
    if ending:
        Path("my_train.py").write_text(SOURCE + ending)
    return cli.main(["run", *QUICK, *arguments])


def test_arguments_after_the_dashes_go_to_the_script_untouched(capsys):
    before = state(nn.Linear(1, 1))["next"], state(nn.Linear(1, 1))["zero_grad"]
    assert run("my_train.py", "--", "--profiler", "torch", "--", "--no-color", "") == 0
    out = capsys.readouterr().out
    assert out.startswith("__main__ ['--profiler', 'torch', '--', '--no-color', '']\nsteps 6\n")
    saved = record.load(Path("run"))
    assert (len(saved.warmup), len(saved.steps), saved.config.workload.name) == (1, 2, "my_train.py")
    assert list(saved.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward", "optimizer"]
    assert (state(nn.Linear(1, 1))["next"], state(nn.Linear(1, 1))["zero_grad"]) == before


def test_a_module_is_run_by_its_name(capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path.cwd())
    assert run("-m", "my_train", "--", "x") == 0
    assert capsys.readouterr().out.startswith("__main__ ['x']\n")


@pytest.mark.parametrize(
    ("ending", "code"), [("    sys.exit(7)", 7), ("    sys.exit()", 0), ("    sys.exit('no data')", 1)]
)
def test_its_exit_code_is_kept(ending, code, capsys):
    assert run("my_train.py", ending=ending) == code
    assert len(record.load(Path("run")).steps) == 2
    assert ("no data\n" in capsys.readouterr().err) == (code == 1)


def test_it_may_change_its_working_directory(capsys):
    Path("elsewhere").mkdir()
    Path("my_train.py").write_text(
        SOURCE.replace("    model =", "    import os; os.chdir('elsewhere')\n    model =", 1)
    )
    before = Path.cwd()
    assert run("my_train.py") == 0
    assert (Path.cwd(), len(record.load(Path("run")).steps)) == (before, 2)
    assert not list(Path("elsewhere").iterdir())
    assert "next: perfkit analyze run" in capsys.readouterr().out


def test_it_may_remove_the_folder_that_it_was_started_in(tmp_path, monkeypatch):
    """GIVEN results elsewhere THEN they are there, and the exit code is the script's"""
    started = tmp_path / "started"
    started.mkdir()
    leave = f"    import os; os.chdir({str(tmp_path)!r}); os.rmdir({str(started)!r})\n"
    script = tmp_path / "my_train.py"
    script.write_text(SOURCE.replace("    model =", leave + "    model =", 1) + "    sys.exit(3)\n")
    monkeypatch.chdir(started)
    quick = [flag for flag in QUICK if flag not in ("--folder", "run")]
    assert cli.main(["run", *quick, "--folder", str(tmp_path / "run"), str(script)]) == 3
    assert len(record.load(tmp_path / "run").steps) == 2


def test_what_it_forks_ends_with_its_own_code_and_leaves_no_record(capfd):
    fork = "        if step == 3 and not os.fork():\n            print('forked', flush=True)\n            sys.exit(5)\n"
    awaited = "    print('ended', os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
    Path("my_train.py").write_text(
        "import os\n" + SOURCE.replace('    print("steps"', fork + awaited + '    print("steps"')
    )
    assert run("my_train.py") == 0
    captured = capfd.readouterr()
    assert captured.out.startswith("__main__ []\nforked\nended 5\nsteps 6\n")
    assert (captured.err + captured.out).count("saved in run") == 1


def test_a_script_that_is_no_python_is_one_line_of_it(capsys):
    Path("my_train.py").write_text("def broken(:\n")
    assert run("my_train.py") == 1
    assert capsys.readouterr().err.startswith(f'  File "{Path.cwd() / "my_train.py"}", line 1\n')


def test_its_exception_is_printed_as_python_prints_it(capsys):
    assert run("my_train.py", ending="    raise KeyError('loss')") == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last):\n  File " in said
    assert said.rstrip().endswith("KeyError: 'loss'")
    assert "perfkit/" not in said.partition("Traceback")[2]


def test_it_may_stop_once_all_is_measured(capsys):
    assert run("--stop-after", "my_train.py") == 0
    assert "steps 6" not in capsys.readouterr().out
    assert len(record.load(Path("run")).steps) == 2


@pytest.mark.parametrize(
    ("compiled", "layers"),
    [
        ("model = torch.compile(model, backend='eager')", {"Sequential"}),
        ("model.compile(backend='eager')", {"Sequential"}),
        ("model[0].compile(backend='eager')", {"0", "1"}),
    ],
    ids=["wrapper", "in place", "a block"],
)
@pytest.mark.filterwarnings("error:Using")
def test_a_compiled_model_is_found(compiled, layers):
    """GIVEN a script that compiles its model THEN its layers are there, and no warning of hooks that are perfkit's"""
    text = SOURCE.replace("    optimizer =", f"    {compiled}\n    optimizer =")
    Path("my_train.py").write_text(text.replace("range(6)", "range(8)"))
    assert run("--profiler", "torch", "my_train.py") == 0
    assert "forward" in record.load(Path("run")).steps[0].phases_s
    assert layers <= set(perfkit.report("run").table("layers").frame["scope"])


@pytest.mark.parametrize("left", [True, False], ids=["measured", "nothing measured"])
def test_under_nsys_it_runs_in_a_process_of_its_own(left, capsys):
    """GIVEN a script that ends by 7 under nsys WHEN run THEN its code is kept, and what was measured is shown"""
    asked: list[object] = []

    def under_nsys(script, config, program, folder, tell):
        asked.extend([script.path, script.arguments, script.stop_after, program])
        assert config.measurement.profiler == "nsys"
        if left:
            record.save(saved(), folder)
        return 7, record.load(folder) if left else None

    doing = Doing(prepare_nsys=lambda: "nsys", script_under_nsys=under_nsys)  # type: ignore[arg-type,return-value]
    arguments = ["run", *QUICK, "--profiler", "nsys", "--stop-after", "my_train.py", "--", "--a"]
    assert cli.main(arguments, doing=doing) == 7
    assert asked == ["my_train.py", ("--a",), True, "nsys"]
    assert (" ms " in capsys.readouterr().out) == Path("run").exists() == left


def test_inside_nsys_it_is_measured_and_shown_outside(capsys):
    """GIVEN the process that perfkit started under nsys WHEN it ends THEN the record is there, and no report is"""
    doing = Doing(prepare_nsys=lambda: None)
    assert cli.main(["run", *QUICK, "--profiler", "nsys", "my_train.py"], doing=doing) == 0
    assert len(record.load(Path("run")).steps) == 2
    assert capsys.readouterr().out == "__main__ []\nsteps 6\n"


def test_too_few_steps_are_said_in_one_line(capsys):
    assert run("--warmup-steps", "7", "my_train.py") == 2  # given twice
    assert cli.main(["run", "--warmup-steps", "7", "--folder", "run", "my_train.py"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "no step was measured: the optimizer stepped 6 times, and the first to be measured would be step 9,"
        " after 1 that shows the modules and 7 to warm up: choose fewer --warmup-steps"
    )


TWO_OPTIMIZERS = """
import torch
from torch import nn

one, other = nn.Linear(4, 1), nn.Linear(4, 4)
optimizers = {part: torch.optim.SGD(part.parameters(), lr=0.1) for part in (one, other)}

def update(part, name):
    optimizers[part].zero_grad()
    part(torch.ones(2, 4)).sum().backward()
    optimizers[part].step()
    print(name, end=" ", flush=True)

for _ in range(8):
    for _ in range(FIRST):
        update(one, "one")
    update(other, "other")
"""


def test_a_step_of_two_optimizers_is_both(capsys):
    """GIVEN networks that have an optimizer each WHEN run THEN both are known, and a step ends with the second's"""
    Path("my_train.py").write_text(TWO_OPTIMIZERS.replace("FIRST", "1"))
    assert run("--stop-after", "--profiler", "torch", "my_train.py") == 0
    assert capsys.readouterr().out.startswith("one other " * 4)
    assert {"Linear", "Linear_2"} <= set(perfkit.report("run").table("layers").frame["scope"])


def test_an_optimizer_that_comes_late_is_not_waited_for(capsys):
    """GIVEN one that steps three times before the other WHEN run THEN its second step shows the modules"""
    Path("my_train.py").write_text(TWO_OPTIMIZERS.replace("FIRST", "3"))
    assert run("--stop-after", "my_train.py") == 0
    assert capsys.readouterr().out.startswith("one one one other one one ")
    assert cli.main(["run", "--warmup-steps", "30", "--folder", "more", "my_train.py"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        "no step was measured: the optimizer stepped 24 times, and the first to be measured would be step 33,"
        " after 2 that show the modules and 30 to warm up: choose fewer --warmup-steps"
    )


IN_A_THREAD = """
import threading, torch
def train():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    torch.optim.SGD([weight]).step()
thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


def test_an_optimizer_in_another_thread_is_not_said_to_be_missing(capsys):
    Path("my_train.py").write_text(IN_A_THREAD)
    assert run("my_train.py") == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("no step was measured: the optimizer stepped in another")


@pytest.mark.parametrize("name", ["no.such.module", "no_such_module", "json"])
def test_a_module_that_is_not_there_is_one_line(name, capsys):
    """GIVEN no package, no module, or a package that cannot be run WHEN run THEN one line says so, as Python's does"""
    assert cli.main(["run", "-m", name]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(f"perfkit: -m {name}: ")
    assert "No module named " in said[-1]
    assert "Traceback" not in "".join(said)


def test_an_import_that_fails_in_a_module_is_its_own(capsys):
    """GIVEN a module that imports what is not there WHEN run THEN Python's traceback shows the line"""
    Path("needs_more.py").write_text("import not_installed_here")
    assert cli.main(["run", "-m", "needs_more"]) == 1
    assert "import not_installed_here" in capsys.readouterr().err


def test_a_script_without_an_optimizer_says_so(capsys):
    Path("my_train.py").write_text("print('hello')")
    assert run("my_train.py") == 0
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("no step was measured: no optimizer of PyTorch stepped outside")
    )
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.py"], "no.py: there is no such script: name a file, or a module after -m"),
        (["--model-size", "tiny", "my_train.py"], "--model-size is not for a script, which has its own model,"),
        (
            ["--batch-size", "2", "my_train.py"],
            "--batch-size is not for a script, which has its own model, step",
        ),
        (["--device", "cpu", "my_train.py"], "--device is not for a script, which has its own model, step and"),
        (
            ["--model", "a:b", "--input", "a:c", "my_train.py"],
            "--model and --input are not for a script, which",
        ),
        (["--repeats", "2", "my_train.py"], "--repeats is not for a script: leave it out beside my_train"),
        (["-m", "a", "my_train.py"], "my_train.py and --module a: name one of them"),
        (["--stop-after"], "--stop-after is for a script: name it before, as in perfkit run train.py -- --epochs 3"),
        (["--", "x"], "-- x is for a script: name it before, as in perfkit run train.py -- --epochs 3"),
    ],
)
def test_what_is_no_scripts_is_refused_in_one_line(arguments, message, capsys):
    assert cli.main(["run", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"perfkit: {message}")
