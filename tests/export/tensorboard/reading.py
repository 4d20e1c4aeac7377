"""Reads event files as TensorBoard does."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util


class Events:
    """What an event file, or all of a folder, says."""

    def __init__(self, folder: Path) -> None:
        self._events = EventAccumulator(str(folder), tensor_size_guidance={"scalars": 0, "text": 0})
        self._events.Reload()

    def tags(self, plugin: str) -> set[str]:
        return (
            set(self._events.PluginTagToContent(plugin)) if plugin in self._events._plugin_to_tag_to_content else set()
        )

    def scalars(self, tag: str) -> dict[int, float]:
        """By step; fails where a step has two."""
        found = {event.step: float(self._array(event)) for event in self._events.Tensors(tag)}
        assert len(found) == len(self._events.Tensors(tag))
        return found

    def text(self, tag: str) -> str:
        [event] = self._events.Tensors(tag)
        return self._array(event).item().decode()

    def histograms(self, tag: str) -> dict[int, np.ndarray]:
        """Rows by step: from, to, count."""
        return {event.step: self._array(event) for event in self._events.Tensors(tag)}

    def picture_size(self, tag: str) -> tuple[int, int]:
        """Width and height, which the header must have too."""
        [event] = self._events.Tensors(tag)
        width, height, png = self._array(event)
        assert struct.unpack(">II", png[16:24]) == (int(width), int(height))
        return int(width), int(height)

    def trial(self):
        """The start of the run's row in HPARAMS."""
        content = self._events.PluginTagToContent("hparams")[hparams_metadata.SESSION_START_INFO_TAG]
        return hparams_metadata.parse_session_start_info_plugin_data(content)

    def status(self) -> int:
        content = self._events.PluginTagToContent("hparams")[hparams_metadata.SESSION_END_INFO_TAG]
        return hparams_metadata.parse_session_end_info_plugin_data(content).status

    def experiment(self):
        content = self._events.PluginTagToContent("hparams")[hparams_metadata.EXPERIMENT_TAG]
        return hparams_metadata.parse_experiment_plugin_data(content)

    @staticmethod
    def _array(event):
        return tensor_util.make_ndarray(event.tensor_proto)
