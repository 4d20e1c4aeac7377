"""A callback for Lightning's Trainer: `Trainer(callbacks=[ProfileCallback("traces/my-run")])`."""

from __future__ import annotations

from typing import Any

from perfkit.errors import UsageError
from perfkit.integrations.session import Session

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError:
        raise ModuleNotFoundError(
            "perfkit.integrations.lightning needs Lightning: pip install lightning", name="lightning"
        ) from None


class ProfileCallback(Session, Callback):
    """Profiles the steps of each `fit`; arguments are those of `perfkit.profile` but the model, and `ranks`.

    A step is one of the optimizer, as `trainer.global_step` counts them, so it has all batches that are accumulated.
    Sanity checks, validation, saving a checkpoint and what is between epochs belong to no step; a validation in the
    midst of batches that are accumulated is a phase of theirs.
    """

    _counted_by = "Lightning"

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The fit begins; sanity checks are over."""
        if type(trainer.profiler).__name__ == "PyTorchProfiler":
            raise UsageError("Trainer(profiler='pytorch') and perfkit's callback cannot both profile: leave one out")
        self._start(pl_module, trainer.global_rank, trainer.world_size)
        self._counted = trainer.global_step

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """A step begins: its data comes next."""
        self._go_on()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A step begins, unless its data was seen."""
        self._go_on()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A step is over where an optimizer has stepped."""
        if trainer.global_step > self._counted:
            self._counted = trainer.global_step
            self._over()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """What follows is no step, or a phase of one that has not all its batches yet."""
        self._pause()
        self._validation = self._phase("validation")
        self._validation.__enter__()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """The phase is over."""
        self._validation.__exit__(None, None, None)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """What follows is no step."""
        self._pause()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """What follows is no step."""
        self._pause()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The record is written."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The record is written, with what was measured before."""
        self._close(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """However the fit ended, no hook is left."""
        self._close()
