"""Without its framework a module says in one line what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "packages", "install"),
    [
        ("lightning", ("lightning", "pytorch_lightning"), "pip install lightning"),
        ("transformers", ("transformers",), r"pip install 'transformers\[torch\]'"),
        ("accelerate", ("accelerate",), "pip install accelerate"),
    ],
    ids=["lightning", "transformers", "accelerate"],
)
def test_a_missing_package_is_named(name, packages, install, monkeypatch):
    monkeypatch.delitem(sys.modules, f"perfkit.integrations.{name}", raising=False)
    for package in packages:
        for loaded in [key for key in sys.modules if key.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"^perfkit.integrations.{name} needs \w+: {install}$") as caught:
        importlib.import_module(f"perfkit.integrations.{name}")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
