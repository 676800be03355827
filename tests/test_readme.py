import re
from pathlib import Path

import jax
import numpy as np
import pytest

from equivar_jax.config.files import shipped_configs
from equivar_jax.train import main

README = (Path(__file__).parent.parent / "README.md").read_text()


# They run on a network that was trained on a few structures, of which warnings would tell.
@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_python_examples_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--config", "test.py", "--run-dir", "runs/mine", "--train.epochs", "1"])
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(examples) == 5
    names: dict = {}
    for example in examples:
        exec(example, names)
    assert names["gradient"].any()
    assert np.isfinite(names["conserved"])
    assert all(np.isfinite(record).all() for record in jax.tree.leaves(names["records"]))


def test_the_first_screen_has_the_two_commands():
    first_screen = README.splitlines()[:20]
    commands = [line.strip() for line in first_screen if line.startswith("    ")]
    assert commands == [
        "python -m pip install -e . && python -m equivar_jax.train --config bm2.py",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_every_named_config_is_shipped():
    named = set(re.findall(r"`(\w+\.py)`", README))
    assert named == set(shipped_configs())
