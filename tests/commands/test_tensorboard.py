"""TensorBoard's PyTorch plugin shows a run that perfkit wrote. It talks over loopback only."""

from __future__ import annotations

import gzip
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perfkit.measure import runner
from tests.export.tensorboard.serving import tensorboard
from tests.runs import quick

pytestmark = pytest.mark.slow

PATIENCE_S = 500
"""With TensorBoard, which takes seconds to start and to answer, and more on a busy machine."""
PLUGIN = "data/plugin/pytorch_profiler"
RUN = "20260102-030405_tiny_train"


@dataclass
class Server:
    address: str
    log: Path

    def get(self, route: str, **query: str) -> Any:
        """The plugin's answer; raises URLError where there is none."""
        url = f"{self.address}{PLUGIN}/{route}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            body = answer.read()
            packed = answer.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(body) if packed else body)

    def wait_for_runs(self) -> list[str]:
        """The plugin's runs, once it has loaded them; fails with the server's log where that does not come about."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = self.get("runs")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                answer = {"runs": []}
            if answer["runs"]:
                return list(answer["runs"])
            time.sleep(0.2)
        pytest.fail(f"TensorBoard does not show the run:\n{self.log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A traces folder with one profiled run."""
    folder = tmp_path_factory.mktemp("traces")
    (folder / RUN).mkdir()
    runner.run(quick(profiler="torch", pass_type="train", measure_steps=2, warmup_steps=1), folder / RUN)
    return folder


@pytest.fixture(scope="module")
def server(logdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "tensorboard.log"
    with tensorboard(logdir, log) as address:
        yield Server(address, log)


def test_the_plugin_shows_the_run(server):
    # GIVEN
    assert server.wait_for_runs() == [RUN]

    # WHEN
    views = server.get("views", run=RUN)
    (worker,) = server.get("workers", run=RUN, view="Overview")
    spans = server.get("spans", run=RUN, worker=worker)
    chosen = {"run": RUN, "worker": worker, "span": spans[0]}

    # THEN
    assert {"Overview", "Operator", "Trace"} <= set(views)
    assert len(spans) == 1

    overview = server.get("overview", **chosen)
    assert [row[0] for row in overview["steps"]["rows"]] == ["1", "2"]
    assert {"title": "Device Type", "value": "CPU"} in overview["environments"]

    operators = {row["name"]: row["calls"] for row in server.get("operation/table", **chosen)["data"]}
    assert operators["aten::mm"] > 0
    assert operators["perfkit::layers.0.attn.scores"] == 2
    pie = server.get("operation", **chosen)["host_total_time"]["rows"]
    assert "perfkit.phase::optimizer" in {name for name, _ in pie}

    trace = server.get("trace", **chosen)
    assert trace["perfkit"]["modules"]["layers.0.attn"] == "EagerAttention"
    assert any(event["name"] == "perfkit.step::1" for event in trace["traceEvents"])
