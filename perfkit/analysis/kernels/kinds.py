"""The categories: kinds of work, as tables and JSON spell them."""

from __future__ import annotations

MATMUL = "matmul"
CONVOLUTION = "convolution"
ATTENTION = "attention"
CACHE = "attention cache"
"""Keys and values written into the cache that attention reads, moved in it, or looked up where they are."""
SOFTMAX = "softmax"
NORMALISATION = "normalisation"
ROPE = "rope"
ELEMENTWISE = "elementwise"
REDUCTION = "reduction"
EMBEDDING = "embedding/gather"
POOLING = "pooling"
"""And upsampling, which is pooling the other way round."""
ROUTING = "MoE routing"
QUANTISATION = "quantisation"
LOSS = "loss"
OPTIMIZER = "optimizer"
CAST = "cast/layout"
"""A kernel that changes type or layout, or puts tensors together; a copy by the driver has one of the next four."""
HOST_TO_DEVICE = "host to device"
DEVICE_TO_HOST = "device to host"
DEVICE_TO_DEVICE = "device to device"
COPY = "copy"
"""A copy by the driver within the host, or one whose direction the file does not tell."""
MEMSET = "memset"
COMMUNICATION = "communication"
RANDOM = "random"
PROGRAM = "program"
"""A whole compiled program that an accelerator runs as one event."""
WAIT = "wait"
"""Nothing runs: an accelerator's queue waits for an event, or records one."""
OTHER = "other"
HOST = "host"
"""Host time between operators, in a trace without a device."""

ALL = (
    MATMUL, CONVOLUTION, ATTENTION, CACHE, SOFTMAX, NORMALISATION, ROPE, ELEMENTWISE, REDUCTION, EMBEDDING, POOLING,
    ROUTING, QUANTISATION, LOSS, OPTIMIZER, CAST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, COPY, MEMSET,
    COMMUNICATION, RANDOM, PROGRAM, WAIT, OTHER, HOST,
)  # fmt: skip
