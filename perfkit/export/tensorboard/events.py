"""An event file, and what can be put into it: scalars, histograms, texts, pictures, hyperparameters."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

Floats: TypeAlias = npt.NDArray[np.float64]
Hparams: TypeAlias = Mapping[str, bool | float | str]


class EventFile:
    """A new event file in a folder. `at` is Unix time, in seconds, of what an event is about. Raises OSError.

    With an `origin`, what the events were made from, it takes the place of the file that was made from it before: of
    two, TensorBoard shows everything twice. So it does of the file that is called `instead`.
    """

    def __init__(self, folder: Path, origin: str = "", instead: str = "") -> None:
        own = f"events.out.tfevents.*.{os.getpid()}.*"  # other processes may write into the folder at the same time
        before = set(folder.glob(own))
        self._suffix = f".perfkit-{hashlib.sha256(origin.encode()).hexdigest()[:12]}" if origin else ""
        self._instead = instead
        self._writer = EventFileWriter(str(folder), filename_suffix=self._suffix)
        [self.path] = set(folder.glob(own)) - before

    def close(self) -> None:
        """Write what is left, end the thread that writes, and take the place of an older file of the same origin."""
        self._writer.close()
        older = set(self.path.parent.glob(f"events.out.tfevents.*{self._suffix}")) if self._suffix else set()
        if re.fullmatch(r"events\.out\.tfevents\.[^/\\]+", self._instead):  # no other file, whatever a record says
            older.add(self.path.parent / self._instead)
        first, *others = sorted(path for path in older - {self.path} if path.is_file()) or [self.path]
        self.path = self.path.replace(first)
        for path in others:
            path.unlink()

    def flush(self) -> None:
        """Write what is left; when this returns, no thread is at work."""
        self._writer.flush()

    def scalars(self, values: Mapping[str, float], step: int, at: float) -> None:
        """Numbers of a step by tag, of which 32 bits are kept; the old form, a tenth of the time of a tensor each."""
        self._add(
            Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]), step, at
        )

    def histogram(self, tag: str, values: Floats, step: int, at: float) -> None:
        """The distribution of values, in 30 buckets, at a step; the tab DISTRIBUTIONS draws none of one step alone."""
        self._add(histogram_pb(tag, values), step, at)

    def text(self, tag: str, markdown: str, at: float) -> None:
        """A text in Markdown."""
        self._add(text_pb(tag, markdown), 0, at)

    def picture(self, tag: str, png: bytes, at: float) -> None:
        """A picture, by the bytes of a PNG."""
        width, height = struct.unpack(">II", png[16:24])
        parts = [str(width).encode(), str(height).encode(), png]
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(parts))])
        tensor = TensorProto(dtype=DT_STRING, string_val=parts, tensor_shape=shape)
        about = image_metadata.create_summary_metadata(display_name=None, description=None)
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=tensor)]), 0, at)

    def experiment(self, hparams: Sequence[str], metrics: Mapping[str, str], at: float) -> None:
        """Columns of the tab HPARAMS: names of hyperparameters, and tag -> heading of the scalars that are results."""
        infos = [api_pb2.HParamInfo(name=name) for name in hparams]
        found = [
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title) for tag, title in metrics.items()
        ]
        experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=found, time_created_secs=at)
        self._hparams(hparams_metadata.EXPERIMENT_TAG, at, experiment=experiment)

    def trial(self, hparams: Hparams, name: str, at: float, *, succeeded: bool) -> None:
        """One row of the tab HPARAMS: the values of the hyperparameters; its results are the file's scalars."""
        self._add(hparams_pb(dict(hparams), trial_id=name, start_time_secs=at), 0, at)
        status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=at)
        self._hparams(hparams_metadata.SESSION_END_INFO_TAG, at, session_end_info=end)

    def _hparams(self, tag: str, at: float, **content: Any) -> None:
        about = hparams_metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
        value = Summary.Value(tag=tag, metadata=about, tensor=hparams_metadata.NULL_TENSOR)
        self._add(Summary(value=[value]), 0, at)

    def _add(self, summary: Any, step: int, at: float) -> None:
        self._writer.add_event(Event(summary=summary, step=step, wall_time=at))
