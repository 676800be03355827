import argparse
import dataclasses

import numpy as np
import pytest
from helpers.crystals import labelled_crystal

from benchmarks.teacher import derivative_head
from equivar_jax.config.files import load_config


@pytest.mark.slow  # compiles four training steps
def test_the_comparison_trains_every_head(monkeypatch):
    monkeypatch.setattr(derivative_head, "choose_kernel", lambda *_: "chunked")  # no C++ to compile
    config = load_config("bm3_deep.py")
    small = dataclasses.replace(config.model, cutoff=3.0, radial_functions=4, embedding=4)
    monkeypatch.setattr(derivative_head, "load_config", lambda _: dataclasses.replace(config, model=small))
    options = argparse.Namespace(steps=2, channels=2, interactions=1, learning_rate=0.02, seed=0)
    rows = derivative_head.compare_heads([labelled_crystal(seed) for seed in range(3)], 2, options)
    assert [row["head"] for row in rows] == ["direct", "derivative", "direct, equal time"]
    assert [row["steps"] for row in rows[:2]] == [2, 2]
    assert all(np.isfinite([row["training_mae"], row["validation_mae"]]).all() for row in rows)
    assert len(derivative_head.make_table(rows).splitlines()) == 5
