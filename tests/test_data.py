import numpy as np
import pytest
from ase import Atoms
from conftest import labelled_crystal

from equivar_jax.config import Config, DataConfig, DemonstrationConfig, ModelConfig
from equivar_jax.data import load_dataset, load_structures, make_samples
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.structures import born_effective_charges, source


def written(path, structures, **infos):
    for k, atoms in enumerate(structures):
        atoms.info.update({name: values[k] for name, values in infos.items()})
    write_structures(path, structures)
    return str(path)


def test_the_parts_cover_the_file_once_and_do_not_overlap(labelled_file):
    dataset = load_dataset(Config(data=DataConfig(str(labelled_file))))
    names = [[source(atoms) for atoms in part] for part in parts(dataset)]
    assert [len(part) for part in names] == [4, 1]
    assert sorted([*names[0], *names[1]]) == [f"{labelled_file}, frame {k}" for k in range(5)]
    assert (len(dataset.training), len(dataset.validation)) == (4, 1)


def test_the_split_seed_decides_the_parts(labelled_file):
    def validation(seed):
        config = Config(data=DataConfig(str(labelled_file), split_seed=seed))
        return [source(atoms) for atoms in load_dataset(config).validation.structures]

    assert validation(3) == validation(3)
    assert len({*map(str, map(validation, range(8)))}) > 1


def test_frames_of_a_group_stay_on_one_side(tmp_path):
    groups = [k // 3 for k in range(15)]
    path = written(tmp_path / "a.extxyz", [labelled_crystal(k) for k in range(15)], run=groups)
    dataset = load_dataset(Config(data=DataConfig(path, group_key="run")))
    training, validation = ({atoms.info["run"] for atoms in part} for part in parts(dataset))
    assert not training & validation
    assert len(dataset.validation) == 3
    assert len({atoms.info["run"] for atoms in dataset.validation.structures}) == 1


def test_labels_keep_their_order_and_stay_with_their_structure(labelled_file):
    dataset = load_dataset(Config(data=DataConfig(str(labelled_file))))
    for samples, structures in (
        (dataset.training, dataset.training.structures),
        (dataset.validation, dataset.validation.structures),
    ):
        for sample, atoms in zip(samples, structures, strict=True):
            seed = int(source(atoms).split()[-1])
            expected = born_effective_charges(labelled_crystal(seed))
            assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 0.5
            np.testing.assert_array_equal(sample.tensors, expected)
            np.testing.assert_array_equal(sample.graph.nodes["species"], atoms.numbers)


def test_statistics_are_those_of_the_training_part(labelled_file):
    dataset = load_dataset(Config(data=DataConfig(str(labelled_file)), model=ModelConfig(cutoff=3.5)))
    edges = 0
    for atoms in dataset.training.structures:
        images = atoms.repeat((5, 5, 5))
        centre = images.positions[3 * 62 : 3 * 63]  # cell (2, 2, 2) of 5 x 5 x 5
        distances = np.linalg.norm(images.positions[None] - centre[:, None], axis=2)
        edges += int(((distances < 3.5) & (distances > 1e-6)).sum())
    assert dataset.statistics == {
        "structures": 4,
        "atoms": 12,
        "edges": edges,
        "mean_neighbours": pytest.approx(edges / 12),
    }
    assert dataset.elements == (8, 12, 22)


def test_a_file_of_its_own_can_validate(labelled_file, tmp_path):
    other = labelled_crystal(9)
    other.symbols[2] = "Zr"
    path = written(tmp_path / "validation.extxyz", [other])
    dataset = load_dataset(Config(data=DataConfig(str(labelled_file), validation_path=path)))
    assert [len(part) for part in parts(dataset)] == [5, 1]
    assert dataset.elements == (8, 12, 22)  # what training has seen


def test_the_demonstration_set_is_the_default():
    structures = load_structures(DataConfig(demonstration=DemonstrationConfig(2, 1, 1)), None)
    assert [source(atoms).split()[1] for atoms in structures] == [
        "perovskite",
        "perovskite",
        "Li3PO4",
        "ZrO2",
    ]


def test_frames_without_label_are_skipped_and_counted(tmp_path, capsys):
    path = written(
        tmp_path / "a.extxyz", [labelled_crystal(0), labelled_crystal(1).copy(), labelled_crystal(2)]
    )
    structures = load_structures(DataConfig(), path)
    assert [source(atoms) for atoms in structures] == [f"{path}, frame 0", f"{path}, frame 2"]
    assert "skipped: 1 without Born effective charges" in capsys.readouterr().err
    assert load_dataset(Config(data=DataConfig(path, validation_fraction=0.5))).unlabelled == 1


def test_a_file_without_any_label_is_refused_with_the_columns_it_has(tmp_path):
    atoms = labelled_crystal(1).copy()
    atoms.arrays["mine"] = np.zeros((len(atoms), 9))
    path = written(tmp_path / "a.extxyz", [atoms, atoms])
    with pytest.raises(InputError, match=r"frame 0: no Born effective charges.*there: mine.*--data\.key"):
        load_structures(DataConfig(), path)


@pytest.mark.parametrize("where", ["path", "validation_path"])
def test_an_element_beyond_the_table_is_refused_in_either_part(labelled_file, tmp_path, where):
    heavy = labelled_crystal(0)
    heavy.symbols[0] = "Es"
    heavy = written(tmp_path / "heavy.extxyz", [heavy])
    paths = {"path": str(labelled_file), "validation_path": str(labelled_file), where: heavy}
    config = Config(data=DataConfig(**paths), model=ModelConfig(species=99))
    with pytest.raises(InputError, match=r"atomic number 99 does not fit.*--model\.species 100"):
        load_dataset(config)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_structures_are_refused(count):
    config = Config(data=DataConfig(demonstration=DemonstrationConfig(perovskites=count)))
    with pytest.raises(InputError, match=r"no structures to divide|part is empty"):
        load_dataset(config)


def test_an_empty_training_part_beside_a_validation_file_is_refused(labelled_file):
    data = DataConfig(validation_path=str(labelled_file), demonstration=DemonstrationConfig(perovskites=0))
    with pytest.raises(InputError, match="part is empty"):
        load_dataset(Config(data=data))


def test_samples_for_prediction_have_no_label():
    (sample,) = make_samples([Atoms("H")], 3.0)
    assert sample.tensors is None


def parts(dataset):
    return dataset.training.structures, dataset.validation.structures
