import csv

import numpy as np
import pytest
from helpers.crystals import labelled_crystal, written

from equivar_jax.config.schema import Config, DataConfig, HygieneConfig
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges, source, with_born_effective_charges
from equivar_jax.training.run_directory import describe_run


def parts(dataset):
    return dataset.training.structures, dataset.validation.structures


def shifted(atoms, excess):
    """A copy whose label breaks the sum rule by `excess` e along xx."""
    tensors = born_effective_charges(atoms).copy()
    tensors[0, 0, 0] += excess
    return with_born_effective_charges(atoms, tensors)


@pytest.fixture
def mixed_file(tmp_path):
    """Six good frames, one without label, one with a wrong sum, one that cannot be read, one copy."""
    path = tmp_path / "mixed.extxyz"
    good = [labelled_crystal(k) for k in range(6)]
    written(
        path, [*good[:3], labelled_crystal(7).copy(), shifted(labelled_crystal(8), 3.0), *good[3:], good[1]]
    )
    broken = tmp_path / "broken.extxyz"
    written(broken, [labelled_crystal(9)])
    path.write_text(path.read_text() + broken.read_text().replace("Ti ", "Xx "))
    return path


def test_what_hygiene_refuses_is_in_neither_part_and_is_reported(mixed_file, tmp_path):
    config = Config(data=DataConfig(str(mixed_file)))
    for _ in range(2):  # the second from the cache
        dataset = load_dataset(config)
        used = sorted(int(source(atoms).split()[-1]) for part in parts(dataset) for atoms in part)
        assert used == [0, 1, 2, 5, 6, 7]
        assert dataset.unlabelled == 1
        refused = {
            finding.source.split()[-1]: finding.rule for finding in dataset.findings if finding.refused
        }
        assert refused == {"4": "sum rule", "8": "duplicate", "9": "unreadable"}
    describe_run(tmp_path / "run", config, dataset)
    with (tmp_path / "run" / "set_aside.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["refused"] == "yes"]
    assert {row["source"].split()[-1] for row in rows} == {"4", "8", "9"}
    assert all(row["reason"] for row in rows)


def test_without_hygiene_every_readable_label_is_taken_and_an_unreadable_one_is_an_error(mixed_file):
    data = DataConfig(str(mixed_file), hygiene=HygieneConfig(enabled=False))
    with pytest.raises(InputError, match=r"frame 9: .*Xx"):
        load_dataset(Config(data=data))
    mixed_file.write_text("".join(mixed_file.read_text().splitlines(keepends=True)[:-5]))
    dataset = load_dataset(Config(data=data))
    assert sum(map(len, parts(dataset))) == 8
    assert dataset.findings == []


def test_a_tolerance_is_heeded(mixed_file):
    wide = HygieneConfig(sum_rule=10.0)
    dataset = load_dataset(Config(data=DataConfig(str(mixed_file), hygiene=wide)))
    assert "sum rule" not in {finding.rule for finding in dataset.findings}


def test_a_file_of_which_nothing_is_left_says_why(tmp_path):
    path = written(tmp_path / "bad.extxyz", [shifted(labelled_crystal(k), 5.0) for k in range(3)])
    with pytest.raises(
        InputError, match=r"frame 0: .*nothing is left of 3 structures.*hygiene\.enabled False"
    ):
        load_dataset(Config(data=DataConfig(path)))


def test_nearly_equal_structures_are_never_on_both_sides(tmp_path):
    near = labelled_crystal(1)
    near.positions += np.random.default_rng(0).uniform(-4e-4, 4e-4, near.positions.shape)
    near = with_born_effective_charges(near, born_effective_charges(labelled_crystal(1)))
    training = written(tmp_path / "training.extxyz", [labelled_crystal(k) for k in range(4)])
    validation = written(tmp_path / "validation.extxyz", [labelled_crystal(7), near, labelled_crystal(8)])
    hygiene = HygieneConfig(duplicate_distance=1e-6, near_duplicate_distance=5e-3)
    dataset = load_dataset(Config(data=DataConfig(training, validation_path=validation, hygiene=hygiene)))
    assert [source(atoms).split()[-1] for atoms in dataset.validation.structures] == ["0", "2"]
    assert [finding.rule for finding in dataset.findings if finding.refused] == ["near-duplicate"]
    both = DataConfig(training, validation_path=training)
    with pytest.raises(InputError, match=r"all 4 structures to validate on are in the training part"):
        load_dataset(Config(data=both))
