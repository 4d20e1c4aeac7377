"""Models of Hugging Face, as their library builds them from a configuration: tiny ones, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.truth.recording import STEPS, Training, record_training
from tests.truth.verdict import assert_right, opened_scopes
from tests.truth.witness import Witness

transformers: Any = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")

DECODER = {
    "vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**DECODER))


def mixtral() -> nn.Module:
    config = transformers.MixtralConfig(
        **DECODER, num_local_experts=4, num_experts_per_tok=2, output_router_logits=True
    )
    return transformers.MixtralForCausalLM(config)


def t5() -> nn.Module:
    config = transformers.T5Config(
        vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    return transformers.ViTForImageClassification(config)


def convnext() -> nn.Module:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, patch_size=2)
    return transformers.ConvNextForImageClassification(config)


def text() -> dict[str, Tensor]:
    tokens = torch.randint(3, 32, (2, 8))
    return {"input_ids": tokens, "labels": tokens}


def images() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, 3, 8, 8), "labels": torch.tensor([0, 1])}


MODELS: list[tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]] = [
    (gpt2, text), (llama, text), (mixtral, text), (t5, text), (vit, images), (convnext, images),
]  # fmt: skip


def _training(batch: Callable[[], dict[str, Tensor]]) -> type[Training]:
    class _Supervised(Training):
        """The model computes its loss itself, in its own forward."""

        def __call__(self) -> None:
            self.zero_grad()
            with self.phase("forward"):
                loss = self.model(**batch()).loss
            self.backward(loss)
            self.optimize()

    return _Supervised


@pytest.mark.parametrize(("make", "batch"), MODELS, ids=[make.__name__ for make, _ in MODELS])
def test_eager(make: Any, batch: Any, tmp_path: Path) -> None:
    """GIVEN a training step WHEN attributed THEN every row is right, and every scope was seen to open"""
    recording = record_training(make().train(), tmp_path, training=_training(batch), gradients=True)
    assert_right(recording)
    assert opened_scopes(recording) == recording.witness.calls


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_gradient_checkpointing(reentrant: bool, tmp_path: Path) -> None:
    """GIVEN the library's own checkpoints, of forward methods without the hooks WHEN attributed THEN what a layer
    does itself when it runs again is its own too"""
    # GIVEN
    model, witness = llama().train(), Witness()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    for path, module in model.named_modules():
        if hasattr(module, "_gradient_checkpointing_func"):
            module._gradient_checkpointing_func = _claimed(witness, path, module._gradient_checkpointing_func)

    # WHEN
    recording = record_training(model, tmp_path, witness=witness, training=_training(text), gradients=True)

    # THEN
    assert_right(recording)
    assert witness.calls["model.layers.1.mlp.up_proj", "recompute"] == STEPS


def _claimed(witness: Witness, path: str, checkpoint: Any) -> Callable[..., Any]:
    """A checkpoint in which the witness too is told whose forward runs, each time."""

    def called(function: Callable[..., Any], *args: Any) -> Any:
        def run(*given: Any) -> Any:
            with witness.scope(path):
                return function(*given)

        return checkpoint(run, *args)

    return called
