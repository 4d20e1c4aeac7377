"""Which phase the words of a range's name say."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.phase_words import Phase, is_optimizers_own, of_operator, of_range

_NAMES = {
    Phase.FORWARD: (
        "forward", "Forward pass", "fwd", "FWD_0", "## forward ##", "## forward:over_arch ##", "model_forward",
        "ForwardPass", "DistributedDataParallel.forward", "DeepSpeedEngine.forward", "FSDP::pre_forward (layers.1)",
        "forward-compute", "FullyShardedDataParallel._pre_forward", "Stage::run-merge.forward", "loss",
        "compute_loss", "criterion", "forward loss", "[pl][module]torch.nn.modules.linear.Linear: layer",
        "[pl][profile][Strategy]SingleDeviceStrategy.training_step", "transformer_engine._Linear.forward.gemm",
        "FSDP::pre_forward (layers.0.feed_forward)",
    ),
    Phase.BACKWARD: (
        "backward", "Backward pass", "bwd", "## backward ##", "loss.backward", "loss_backward", "backward_step",
        "backprop", "FSDP::post_backward_reduce (0)", "FSDP::root_post_backward_callback",
        "FSDP::backward_prefetch for 1", "FullyShardedDataParallel._post_backward_hook", "DeepSpeedEngine.backward",
        "DeepSpeedZeroOptimizer_Stage3.backward", "DeepSpeedEngine.allreduce_gradients",
        "DeepSpeedZeroOptimizer_Stage3.reduce_ready_partitions", "backward-compute", "all-grads-sync",
        "layernorm-grads-all-reduce", "[pl][profile][Strategy]SingleDeviceStrategy.backward",
        "_Linear.backward.wgrad_gemm", "FSDP::post_backward_reduce (model.loss_head)",
        "FSDP::post_backward (backbone.forward_proj)", "DeepSpeedZeroOptimizer_Stage3.__avg_scatter_grads",
    ),
    Phase.OPTIMIZER: (
        "optimizer", "optimizer step", "optimizer_step", "OptimizerStep", "## optimizer ##", "zero_grad",
        "## zero_grad ##", "Optimizer.step#AdamW.step", "Optimizer.zero_grad#SGD.zero_grad", "clip_grad_norm_",
        "gradient clipping", "DeepSpeedEngine.step", "BF16_Optimizer.step", "optimizer-inner-step",
        "params-all-gather", "weight_update", "[pl][profile][LightningModule]Net.optimizer_step",
        "[pl][profile][LightningModule]Net.configure_gradient_clipping", "zero_grads", "optimize", "apply_gradients",
        "DeepSpeedZeroOptimizer_Stage3._overflow_check_and_loss_scale_update", "scaler.update()",
    ),
    Phase.OTHER: (
        "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", "data_loading", "load_batch",
        "## load_batch ##", "to_device", "get_batch", "batch-generator", "eval", "validation", "save_checkpoint",
        "log metrics", "[pl][profile][_TrainingEpochLoop].train_dataloader_next",
        "[pl][profile][Strategy]DDPStrategy.batch_to_device", "data", "fetch_data", "test_step",
    ),
    None: (
        "step", "training_step_7", "train_step", "iteration 3", "layer_0", "layers[0]", "attention", "feed_forward",
        "layers.0.feed_forward.w1", "FeedForward", "forward_backward", "forward-backward", "backward and optimizer",
        "straightforward", "optimal", "lossless", "decode", "step[DECODE bs=4]", "ncclAllReduce",
        "cub::DeviceReduce::Sum", "[pl][profile]run_training_batch",
        "[pl][profile][Callback]OptimizerMonitor.on_train_batch_end", "", "##", "a.b.",
        "[pl][profile][LightningModule]LossModel.on_train_start", "loss scaler", "data 3", "database", "optimize_graph",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("phase", "name"), [(phase, name) for phase, names in _NAMES.items() for name in names])
def test_names_of_ranges(phase: Phase | None, name: str) -> None:
    """GIVEN names as people and their libraries write them WHEN read THEN the words say the phase, or none"""
    assert of_range(name) is phase


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("aten::convolution_backward", Phase.BACKWARD), ("aten::_softmax_backward_data", Phase.BACKWARD),
        ("aten::_fused_adamw_", Phase.OPTIMIZER), ("aten::_amp_update_scale_", Phase.OPTIMIZER),
        ("aten::nll_loss_forward", None), ("aten::mm", None), ("aten::_foreach_add_", None), ("c10d::allreduce_", None),
        ("FusedAdam", None), ("FSDP::pre_backward", Phase.BACKWARD), ("my backward", Phase.BACKWARD),
    ],
)  # fmt: skip
def test_names_of_operators(name: str, phase: Phase | None) -> None:
    """GIVEN an operator's namespace WHEN read THEN only what the operator is counts; other names are read as ranges"""
    assert of_operator(name) is phase


def test_whose_ranges_they_are() -> None:
    assert [is_optimizers_own(name) for name in ("Optimizer.step#A.step", "Optimizer.other", "my Optimizer.step")] == [
        True, False, False,
    ]  # fmt: skip


def test_a_name_of_any_length_is_read_at_once() -> None:
    """GIVEN names made to let patterns search long WHEN read THEN no more than their beginning and last part is"""
    for part in ("a.", "get_", "reduce-", "[pl][profile]", "_" * 10):
        assert of_range(part * 20_000) in (None, Phase.OTHER)
