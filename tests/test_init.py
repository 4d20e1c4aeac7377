"""What `import perfkit` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import perfkit


def test_the_import_is_light():
    """GIVEN a new process WHEN importing perfkit THEN nothing heavy, and none of its own rooms, is imported"""
    script = (
        "import sys, perfkit; heavy = {'torch', 'pandas', 'numpy', 'bokeh', 'rich', 'matplotlib', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)), sorted(name for name in sys.modules if name.startswith('perfkit.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] []"


def test_a_report_needs_neither_torch_nor_bokeh():
    """GIVEN a new process WHEN the facade is imported THEN PyTorch is not, nor what draws: a page takes it as a file"""
    script = "import sys, perfkit; perfkit.report; print(sorted({'torch', 'bokeh', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there():
    for name in perfkit.__all__:
        assert getattr(perfkit, name) is not None
    assert {"report", "compare", "load", "attribute", "annotate"} <= set(perfkit.__all__)
