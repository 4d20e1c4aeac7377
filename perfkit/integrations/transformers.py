"""A callback for Hugging Face's Trainer: `Trainer(..., callbacks=[ProfileCallback("traces/my-run")])`.

The Trainer tells its callbacks nothing when a training fails. So importing this module puts a `try` round
`Trainer.train`, which closes the profile, and tells the callback whose it is, which the Trainer does not either.
"""

from __future__ import annotations

import functools
from typing import Any

from perfkit.integrations.session import Session

try:
    from transformers import Trainer, TrainerCallback
except ImportError:
    raise ModuleNotFoundError(
        "perfkit.integrations.transformers needs transformers: pip install 'transformers[torch]'", name="transformers"
    ) from None


class ProfileCallback(Session, TrainerCallback):
    """Profiles the steps of each `train`; arguments are those of `perfkit.profile` but the model, and `ranks`.

    A step is one of the optimizer, as `state.global_step` counts them, with all batches that are accumulated.
    Evaluation, prediction, saving a checkpoint and what is between epochs belong to no step.
    """

    _counted_by = "the Trainer"
    trainer: Any = None
    """The one that trains."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The training begins, with an evaluation if it is asked for."""
        called: Any = getattr(self.trainer, "model_wrapped", None)
        model = called if hasattr(called, "_orig_mod") else kwargs["model"]  # a compiled model is called as a whole
        self._start(model, args.process_index, args.world_size)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step begins: its data comes next."""
        self._go_on()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step begins, unless its data was seen."""
        self._go_on()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step is over, and what follows is its own, but for what takes long."""
        self._over()
        if control.should_evaluate or control.should_save:
            self._pause()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation is over."""
        self._evaluated()

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """A prediction is over."""
        self._evaluated()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What follows is no step."""
        self._pause()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The record is written."""
        self._close()

    def close(self, error: BaseException) -> None:
        """The training has failed: the record is written, with what was measured before, and no hook is left."""
        self._close(error)


def _closing(train: Any) -> Any:
    @functools.wraps(train)
    def closing(self: Any, *args: Any, **kwargs: Any) -> Any:
        ours = [callback for callback in self.callback_handler.callbacks if isinstance(callback, ProfileCallback)]
        for callback in ours:
            callback.trainer = self
        try:
            return train(self, *args, **kwargs)
        except BaseException as error:
            for callback in ours:
                callback.close(error)
            raise
        finally:
            for callback in ours:
                callback.trainer = None

    return closing


Trainer.train = _closing(Trainer.train)
