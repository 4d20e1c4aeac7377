"""perfkit: where each millisecond of a PyTorch step went, and why.

The public names load what they need on first use, so that `import perfkit` pulls in neither torch nor pandas.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "workload.annotate": ["annotate", "module_tree"],
        "trace.load": ["load"],
        "analysis.attribution.attribute": ["attribute"],
        "api.report": ["compare", "report"],
        "measure.own.profile": ["profile"],
        "schema.config": ["RunConfig"],
        "schema.parts.measurement": ["Measurement"],
        "schema.parts.step": ["Step"],
        "schema.record": ["RunRecord"],
        "schema.parts.workloads": ["Own", "Transformer"],
    },
)
