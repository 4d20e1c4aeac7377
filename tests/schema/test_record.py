"""Records: what is written reads back, old ones keep loading, and what is no record is named as such."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own, Transformer
from perfkit.schema.probes import GpuSample, Probing, StepProbes
from perfkit.schema.record import AnnotationCost, Environment, Failure, MemoryPeaks, RunRecord, StepSample
from tests.runs import sample, saved

FIXTURES = Path(__file__).parents[1] / "fixtures"

FULL = saved(
    status="oom",
    steps=(
        StepSample(
            wall_s=0.1 + 0.2,
            phases_s={"forward": 1e-9},
            enqueue_s=0.1,
            device_s=0.25,
            cpu_s=0.3,
            probes=StepProbes(gc_s=0.01, switches=3),
        ),
    ),
    ended_by="max-time",
    probing=Probing(seconds_per_step=1e-5),
    gpu=(GpuSample(at_s=1.5, sm_mhz=1980),),
    memory=MemoryPeaks(allocated=1, reserved=2**40, resident=3),
    failure=Failure(phase="model", message="a\nb", requested=5, available=0, suggestions=("--checkpoint",)),
    annotation=AnnotationCost(ranges=3, seconds_per_range=2.5e-7),
    artifacts={"trace": "x.pt.trace.json.gz"},
    observed={"files left open": 4, "seconds": 2.0, "governor": "none", "unknown": None},
)


@pytest.mark.parametrize("made", [saved(), FULL], ids=["plain", "full"])
def test_a_record_reads_back_as_it_was(tmp_path, made):
    # WHEN
    file = record.save(made, tmp_path)

    # THEN by its file or by its folder, and nothing else is left lying there
    assert record.load(file) == made
    assert record.load(tmp_path) == made
    assert list(tmp_path.iterdir()) == [file]


def test_a_record_is_text_that_people_can_read(tmp_path):
    # WHEN
    text = record.save(saved(), tmp_path).read_text()

    # THEN
    assert '\n  "status": "ok"' in text
    assert json.loads(text)["kind"] == "perfkit.run"
    assert json.loads(text)["format_version"] == record.FORMAT_VERSION


def test_records_of_format_1_keep_loading():
    # WHEN
    old = record.load(FIXTURES / "record_v1.json")

    # THEN
    assert old.format_version == record.FORMAT_VERSION  # as it would be written again
    assert old.config.transformer.model_size == "small"
    step = old.config.step
    assert (step.pass_type, step.precision, step.optimizer) == ("train", "bf16", "adamw-fused")
    assert [step.wall_s for step in old.steps] == [0.037, 0.0375]
    assert list(old.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward", "optimizer"]
    assert (old.steps[0].enqueue_s, old.steps[0].device_s, old.steps[0].cpu_s) == (0.012, 0.0361, 0.03)
    assert old.warmup[0].wall_s == 0.9
    assert old.memory == MemoryPeaks(allocated=5_000_000_000, reserved=6_000_000_000, resident=3_000_000_000)
    assert old.failure is not None
    assert old.failure.signal is None
    assert old.failure.suggestions == ("--checkpoint", "--batch-size 1")
    assert old.annotation == AnnotationCost(ranges=20, seconds_per_range=2.1e-06)
    assert old.environment.driver == "580.65.06"
    assert old.artifacts == {"trace": "here_1.1.pt.trace.json.gz"}


def test_records_of_format_2_keep_loading():
    # WHEN
    old = record.load(FIXTURES / "record_v2.json")

    # THEN
    assert old.format_version == record.FORMAT_VERSION
    measurement = old.config.measurement
    assert (old.ended_by, measurement.target_ci, measurement.max_time) == ("target-ci", 0.01, 60.0)
    assert old.probing == Probing(seconds_per_step=3.5e-05, seconds_per_fault=1.5e-06)
    assert old.steps[1].probes is not None
    assert (old.steps[1].probes.began_s, old.steps[1].probes.switches, old.steps[1].probes.device_allocs) == (101, 3, 2)
    assert old.warmup[0].probes == StepProbes(began_s=99.0)
    assert (old.gpu[0].sm_mhz, old.gpu[0].reasons, old.gpu[1]) == (1980, 4, GpuSample(at_s=100.1))


@pytest.mark.parametrize("name", ["record_v1.json", "record_v2.json", "record_v2_cpu.json"])
def test_every_field_of_a_flat_configuration_is_in_its_part(name, tmp_path):
    """GIVEN a record of a format whose configuration has no parts (the last one measured by the perfkit before format
    3) WHEN loaded THEN no field of it is lost, and saved again it is of the latest format"""
    # WHEN
    old = record.load(FIXTURES / name)

    # THEN
    flat = json.loads((FIXTURES / name).read_text())["config"]
    assert {name: old.config.value(name) for name in flat} == flat
    saved_again = json.loads(record.save(old, tmp_path).read_text())
    assert (saved_again["format_version"], saved_again["config"]["workload"]["kind"]) == (3, "transformer")
    assert record.load(tmp_path) == old


def test_a_flat_configuration_with_what_no_version_has_loads_without_it(tmp_path):
    document = json.loads((FIXTURES / "record_v2.json").read_text())
    document["config"]["colour"] = "red"
    (tmp_path / "record.json").write_text(json.dumps(document))
    assert record.load(tmp_path) == record.load(FIXTURES / "record_v2.json")


def test_a_flat_configuration_that_is_damaged_is_refused_with_the_field(tmp_path):
    document = json.loads((FIXTURES / "record_v2.json").read_text())
    document["config"]["seed"] = "zero"
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"Expected `int`, got `str` - at `\$\.config\.step\.seed`"):
        record.load(tmp_path)


def test_a_workload_of_ones_own_is_read_back(tmp_path):
    """GIVEN a configuration without a Transformer WHEN saved and loaded THEN it is the same, without its fields"""
    own = saved(config=RunConfig(workload=Own(name="my model"), step=Step(device="cpu")))
    path = record.save(own, tmp_path)
    assert json.loads(path.read_text())["config"]["workload"] == {
        "kind": "own", "name": "my model", "model": None, "model_arg": [], "input": None, "input_arg": [],
        "apply": [],
    }  # fmt: skip
    assert record.load(path) == own


def test_a_counter_that_could_not_be_read_is_no_zero_in_the_file(tmp_path):
    step = StepSample(wall_s=1.0, phases_s={}, probes=StepProbes(gc_s=0.0))
    text = record.save(saved(steps=(step,)), tmp_path).read_text()
    assert json.loads(text)["steps"][0]["probes"] == {"gc_s": 0.0}


def test_fields_that_a_later_perfkit_of_the_same_format_added_are_passed_over(tmp_path):
    # GIVEN
    file = record.save(saved(), tmp_path)
    document = json.loads(file.read_text())
    document["weather"] = "fine"
    document["config"]["colour"] = "red"
    file.write_text(json.dumps(document))

    # THEN
    assert record.load(file) == saved()


def test_fields_of_a_later_perfkit_are_passed_over_wherever_they_are(tmp_path):
    """GIVEN a record with one more field in each of its objects WHEN loaded THEN it is as without them"""

    def extended(value: Any) -> Any:
        if isinstance(value, list):
            return [extended(one) for one in value]
        return {key: extended(one) for key, one in value.items()} | {"later": [1]} if isinstance(value, dict) else value

    # GIVEN
    file = record.save(FULL, tmp_path)
    document = json.loads(file.read_text())
    plain = {
        name: document.pop(name) for name in ("artifacts", "observed")
    }  # maps of the user's names, not objects of fields
    more = extended(document)
    del more["environment"]["variables"]["later"], more["environment"]["libraries"]["later"]
    del more["steps"][0]["phases_s"]["later"], more["warmup"][0]["phases_s"]["later"]
    file.write_text(json.dumps(more | plain))

    # THEN
    assert record.load(file) == FULL


REQUIRED = {
    RunRecord: {"config", "environment", "created", "status", "steps"},
    RunConfig: set(),
    Transformer: set(),
    Own: {"name"},
    Step: set(),
    Measurement: set(),
    StepSample: {"wall_s", "phases_s"},
    MemoryPeaks: set(),
    Failure: {"phase", "message"},
    AnnotationCost: {"ranges", "seconds_per_range"},
    Environment: {"perfkit", "python", "torch", "os", "hostname", "device", "device_name", "device_memory",
                  "cpu_model", "cpu_count", "num_threads"},
    StepProbes: set(),
    Probing: {"seconds_per_step"},
    GpuSample: {"at_s"},
}  # fmt: skip
"""By hand: what had no default in the first version that had the object."""


@pytest.mark.parametrize("kind", REQUIRED, ids=lambda kind: kind.__name__)
def test_a_field_added_later_has_a_default(kind):
    """GIVEN an object of a record THEN no field is required but those of its first version: old files have no other"""
    fields = {field.name: field for field in msgspec.structs.fields(kind)} if issubclass(kind, msgspec.Struct) else {
        field.name: field for field in dataclasses.fields(kind)
    }  # fmt: skip
    missing = (dataclasses.MISSING, msgspec.NODEFAULT)
    needed = {name for name, f in fields.items() if f.default in missing and f.default_factory in missing}
    assert needed == REQUIRED[kind]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.txt", "sub/../../secret.txt", "link", "linked/secret.txt", "circle", "a\0b",
             "x" * 5000])  # fmt: skip
def test_what_a_record_names_outside_its_folder_is_refused(tmp_path, name):
    """GIVEN a record by somebody else WHEN it names a file elsewhere THEN that is not even looked at"""
    # GIVEN
    run = tmp_path / "run"
    (run / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (run / "link").symlink_to("../secret.txt")
    (run / "linked").symlink_to("..")
    (run / "circle").symlink_to("circle")

    # WHEN / THEN
    with pytest.raises(UsageError, match=r"record\.json: artifacts\.trace names .* is not in the folder") as refused:
        record.artifact(saved(artifacts={"trace": name}), run, "trace")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["t.json", "sub/t.json", "sub/../t.json", "./t.json", "inner", "not there"])
def test_what_a_record_names_inside_its_folder_is_found_wherever_the_folder_is(tmp_path, name):
    run = tmp_path / "run"
    (run / "sub").mkdir(parents=True)
    (run / "t.json").touch()
    (run / "sub" / "t.json").touch()
    (run / "inner").symlink_to("sub/t.json")
    (tmp_path / "other").symlink_to("run")
    for folder in (run, tmp_path / "other"):
        assert record.artifact(saved(artifacts={"trace": name}), folder, "trace") == folder / name
    assert record.artifact(saved(), run, "trace") is None


@pytest.mark.parametrize("name", ["", ".", "sub", "pipe"])
def test_what_a_record_names_is_a_file(tmp_path, name):
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"artifacts\.trace names .*, which is not a file"):
        record.artifact(saved(artifacts={"trace": name}), tmp_path, "trace")


def changed(path: str, value: object) -> bytes:
    """A good record's text with one value replaced; `path` has dots."""
    document = json.loads((FIXTURES / "record_v1.json").read_text())
    *outer, last = path.split(".")
    inner = document
    for name in outer:
        inner = inner[int(name)] if name.isdigit() else inner[name]
    inner[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable perfkit record: Input data was truncated"),
        (b'{"kind": "perfkit.run"', "truncated"),
        (b"[1, 2]", "Expected `object`, got `array`"),
        (b"\xff\xfe{}", "not a readable perfkit record: JSON is malformed"),
        (b'{"kind": "\xff"}', "not a readable perfkit record: 'utf-8' codec"),
        (b'{"a": ' + b"[" * 100_000, "not a readable perfkit record"),
        (b"{}", "not a perfkit record (its kind is missing)"),
        (b'{"kind": "pyperf"}', "not a perfkit record (its kind is another)"),
        (b'{"kind": 3}', "Expected `str`, got `int` - at `$.kind`"),
        (b'{"kind": "perfkit.run", "format_version": 1}', "missing required field `config`"),
        (changed("format_version", 4), "record format 4, and this perfkit reads up to 3: upgrade perfkit"),
        (changed("format_version", 0), "record format 0 never existed"),
        (changed("format_version", "1"), "Expected `int`, got `str` - at `$.format_version`"),
        (changed("environment.device_name", 3), "Expected `str`, got `int` - at `$.environment.device_name`"),
        (changed("steps.1.wall_s", "fast"), "Expected `float`, got `str` - at `$.steps[1].wall_s`"),
        (changed("config.model_size", "huge"), "Invalid enum value 'huge' - at `$.config.workload.model_size`"),
        (changed("config.batch_size", 0), "--batch-size 0: must be at least 1"),
        (changed("status", "lost"), "Invalid enum value 'lost' - at `$.status`"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line_with_its_name(tmp_path, data, message):
    # GIVEN
    file = tmp_path / "record.json"
    file.write_bytes(data)

    # WHEN
    with pytest.raises(UsageError) as refused:
        record.load(file)

    # THEN
    assert str(refused.value).startswith(f"{file}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("inside", [True, False], ids=["an empty folder", "no such file"])
def test_a_missing_record_says_what_to_pass(tmp_path, inside):
    missing = tmp_path if inside else tmp_path / "nothing"
    with pytest.raises(UsageError, match=r"No such file or directory; pass a run's folder or its record\.json"):
        record.load(missing)


def test_a_signal_while_saving_comes_when_all_is_saved(tmp_path, monkeypatch):
    # GIVEN
    write = Path.write_bytes

    def meets_it(path: Path, data: bytes) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", meets_it)

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        record.save(saved(), tmp_path)

    # THEN
    assert record.load(tmp_path) == saved()
    assert len(list(tmp_path.iterdir())) == 1


def test_the_signal_that_ended_a_run_is_in_its_record(tmp_path):
    ended = saved(failure=Failure(phase="model", message="interrupted by SIGHUP in model", signal="SIGHUP"))
    text = record.save(ended, tmp_path).read_text()
    assert json.loads(text)["failure"]["signal"] == "SIGHUP"
    assert record.load(tmp_path) == ended


def test_a_crash_while_saving_leaves_the_old_record(tmp_path, monkeypatch):
    # GIVEN
    record.save(saved(), tmp_path)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)

    # WHEN
    with pytest.raises(KeyboardInterrupt):
        record.save(dataclasses.replace(saved(), status="oom"), tmp_path)

    # THEN
    assert record.load(tmp_path) == saved()


def test_a_folder_that_is_gone_is_an_error_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"record\.json: cannot be saved: No such file or directory"):
        record.save(saved(), tmp_path / "gone")


@pytest.mark.parametrize(
    ("peaks", "shown"),
    [
        (MemoryPeaks(allocated=5, reserved=9, resident=7), 5),
        (MemoryPeaks(allocated=0, reserved=9, resident=7), 0),
        (MemoryPeaks(resident=7), 7),
        (MemoryPeaks(), None),
    ],
)
def test_the_headline_is_tensors_on_a_gpu_and_the_process_on_a_cpu(peaks, shown):
    assert peaks.headline == shown


@pytest.mark.parametrize("seconds", ["0.0", "-0.5"])
def test_a_step_that_took_no_time_is_damage(tmp_path, seconds):
    """GIVEN a record that was damaged WHEN loaded THEN it is refused, before anything is divided by the time"""
    path = record.save(saved(steps=(sample(0.0625),)), tmp_path)
    path.write_text(path.read_text().replace("0.0625", seconds))
    with pytest.raises(UsageError, match="not a readable perfkit record"):
        record.load(path)


@pytest.mark.parametrize(
    ("number", "where"),
    [
        ("1e308", r"steps\[0\]\.wall_s"),
        ("1e400", "out of range"),
        ("-1.7E+308", r"steps\[0\]\.wall_s"),
        ("1" + "0" * 30, r"steps\[0\]\.wall_s"),
        ("9223372036854775808", r"steps\[0\]\.wall_s"),
    ],
)
def test_a_number_that_nothing_measures_is_refused(tmp_path, number, where):
    """GIVEN a wall time whose square is no float WHEN loaded THEN the line says which it is"""
    (path,) = [record.save(FULL, tmp_path)]
    text = path.read_text()
    at = text.index('"wall_s": ') + len('"wall_s": ')
    path.write_text(text[:at] + number + text[text.index(",", at) :])
    with pytest.raises(UsageError, match=where):
        record.load(path)


def test_numbers_up_to_there_and_digits_in_texts_are_no_harm(tmp_path):
    """GIVEN the largest number, 17 digits behind a point, and a name of 30 digits WHEN saved THEN it reads back"""
    large = dataclasses.replace(
        FULL,
        environment=dataclasses.replace(FULL.environment, hostname="1" * 30, driver="5e99", device_memory=10**18),
        steps=(sample(0.0012345678901234567),),
    )
    assert record.load(record.save(large, tmp_path)) == large


def test_a_configuration_that_leaves_open_what_ran_is_refused(tmp_path):
    open_end = dataclasses.replace(FULL, config=FULL.config.changed(context_length=None))
    with pytest.raises(UsageError, match="leaves open what was measured"):
        record.load(record.save(open_end, tmp_path))


def test_what_cannot_be_saved_comes_along_and_leaves_no_draft(tmp_path, monkeypatch):
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(record.UnsavedError) as refused:
        record.save(saved(), tmp_path)
    assert refused.value.record == saved()
    assert str(refused.value).endswith("cannot be saved: No space left on device; choose another --traces-dir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [-1, 0, 4, 99])
def test_a_format_that_this_perfkit_does_not_know_is_refused_by_its_number(tmp_path, version):
    (tmp_path / "record.json").write_bytes(changed("format_version", version))
    with pytest.raises(UsageError, match=f"record format {version}[ ,]"):
        record.load(tmp_path)


def test_a_record_that_leaves_open_what_was_measured_is_refused(tmp_path):
    (tmp_path / "record.json").write_bytes(changed("config.context_length", None))
    with pytest.raises(UsageError, match="its configuration leaves open what was measured"):
        record.load(tmp_path)


def test_a_number_that_nothing_measures_is_damage(tmp_path):
    (tmp_path / "record.json").write_bytes(changed("memory.resident", 10**18 + 1))
    with pytest.raises(UsageError, match=r"record\.json: memory\.resident is beyond 1e\+18"):
        record.load(tmp_path)
    (tmp_path / "record.json").write_bytes(changed("memory.resident", 10**18))
    assert record.load(tmp_path).memory.resident == 10**18
