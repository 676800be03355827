"""What was public under another name is still found there, with a warning."""

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from equivar_jax.forwarded import FORWARDED


@pytest.mark.parametrize(
    ("old", "name"), [(old, name) for old, (_, names) in FORWARDED.items() for name in names]
)
def test_an_old_place_gives_the_object_of_the_new_one(old, name):
    new, _ = FORWARDED[old]
    with pytest.warns(DeprecationWarning, match=f"^{old}.{name} has moved to {new}.{name}"):
        found = getattr(import_module(old), name)
    assert found is getattr(import_module(new), name)
    assert name in import_module(new).__all__


def test_the_warning_points_at_the_line_that_asks():
    code = "import warnings\nwarnings.simplefilter('error')\n\nfrom equivar_jax.batch import graph_of"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert 'File "<string>", line 4' in found.stderr
    assert "DeprecationWarning: equivar_jax.batch.graph_of has moved" in found.stderr


def test_other_names_are_not_there():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            AttributeError, match=r"'equivar_jax.batch' has no attribute 'Budget'; it has moved"
        ):
            _ = import_module("equivar_jax.batch").Budget
