"""Event files for TensorBoard's own tabs, by tensorboard itself: neither torch nor TensorFlow is loaded."""

import sys
import types

# Where TensorFlow is installed, tensorboard would load it to open a file: seconds, and messages on standard error. A
# module of this name is its own way of being told not to.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
