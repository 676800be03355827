"""What the ablation of the shipped weights changes, and that it reads no test part."""

import pytest

from benchmarks.real_data import foundation
from benchmarks.real_data.foundation import PLAIN, VARIANTS, foundation_rows
from equivar_jax.config.schema import check_config
from equivar_jax.config.settings import setting_types


@pytest.fixture
def rows(tmp_path, monkeypatch):
    files = {part: tmp_path / f"{part}.extxyz" for part in ("training", "validation")}
    monkeypatch.setattr(foundation, "parts_of", lambda _: files)
    return {row.facts["variant"]: row for row in foundation_rows(tmp_path, 2)}


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != PLAIN])
def test_a_variant_differs_from_the_plain_one_in_the_settings_that_it_names(rows, variant):
    def settings(name):
        config = rows[name].config
        values = {}
        for setting in setting_types(type(config)):
            value = config
            for part in setting.split("."):
                value = getattr(value, part)
            values[setting] = value
        return values

    check_config(rows[variant].config)
    ours, theirs = settings(variant), settings(PLAIN)
    changed = {name for name, value in ours.items() if value != theirs[name]}
    assert changed
    assert changed <= {*VARIANTS[variant]}
    assert ours["train.seed"] == 2


def test_nothing_is_tested_on_the_test_parts(rows):
    assert not any(row.tests for row in rows.values())
    assert all(row.config.data.validation_path.endswith("validation.extxyz") for row in rows.values())
