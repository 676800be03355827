import json

import numpy as np
import pytest
from ase import Atoms
from helpers.crystals import labelled_crystal, written

from equivar_jax.config.schema import Config, DataConfig, DemonstrationConfig, ModelConfig
from equivar_jax.data import main
from equivar_jax.datasets import load as module
from equivar_jax.datasets.load import load_dataset, load_structures, make_samples, read_labelled
from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges, source, with_born_effective_charges
from equivar_jax.training.run_directory import describe_run


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


def test_a_split_given_back_is_the_same_and_others_contradict(labelled_file, tmp_path):
    config = Config(data=DataConfig(str(labelled_file), split_seed=5))
    dataset = load_dataset(config)
    describe_run(tmp_path / "run", config, dataset)
    given = str(tmp_path / "run" / "split.json")
    again = load_dataset(Config(data=DataConfig(str(labelled_file), split_path=given)))
    for one, other in zip(parts(dataset), parts(again), strict=True):
        assert [source(atoms) for atoms in one] == [source(atoms) for atoms in other]
    for wrong in ({"folds": 2}, {"split_path": given}):
        data = DataConfig(str(labelled_file), validation_path=str(labelled_file), **wrong)
        with pytest.raises(InputError, match="leaves nothing to divide"):
            load_dataset(Config(data=data))


def test_a_note_on_the_split_reaches_the_user(labelled_file, tmp_path):
    names = [f"{labelled_file}, frame {k}" for k in range(4)]
    (tmp_path / "split.json").write_text(json.dumps({"training": names[:3], "validation": names[3:]}))
    data = DataConfig(str(labelled_file), split_path=str(tmp_path / "split.json"))
    assert any(
        "1 of 5" in remark or "left out" in remark for remark in load_dataset(Config(data=data)).remarks
    )


def test_a_folder_is_read_file_by_file_and_a_bad_file_is_set_aside(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for k in range(3):
        written(folder / f"{k}.extxyz", [labelled_crystal(2 * k), labelled_crystal(2 * k + 1)])
    cut = (folder / "1.extxyz").read_text().splitlines(keepends=True)
    (folder / "1.extxyz").write_text("".join(cut[:7]))
    found = read_labelled(DataConfig(), str(folder))
    assert len(found.structures) == 5
    assert [str(error).partition(":")[0] for error in found.unreadable] == [f"{folder}/1.extxyz, frame 1"]
    dataset = load_dataset(Config(data=DataConfig(str(folder))))
    assert [finding.rule for finding in dataset.findings if finding.refused] == ["unreadable"]


def test_a_changed_file_cutoff_key_or_code_is_never_answered_from_the_cache(tmp_path, monkeypatch):
    path = written(tmp_path / "a.extxyz", [labelled_crystal(k) for k in range(5)])

    def training(cutoff=3.0, **data):
        return load_dataset(Config(data=DataConfig(path, **data), model=ModelConfig(cutoff=cutoff))).training

    before, wider = training(), training(4.0)
    assert wider.sizes.edges.sum() > before.sizes.edges.sum()
    assert all(sample.graph.edges["vectors"].max() <= 3.0 for sample in training())
    transposed = training(first_index="displacement")
    np.testing.assert_array_equal(transposed[0].tensors, before[0].tensors.transpose(0, 2, 1))
    np.testing.assert_array_equal(training()[0].tensors, before[0].tensors)

    moved = [labelled_crystal(k) for k in range(5)]
    for atoms in moved:
        atoms.positions[0, 0] += 0.25
    written(
        path,
        [
            with_born_effective_charges(a, born_effective_charges(labelled_crystal(k)))
            for k, a in enumerate(moved)
        ],
    )
    assert not np.array_equal(training().structures[0].positions, before.structures[0].positions)

    built = []
    build = module.cached_samples
    monkeypatch.setattr(module, "cached_samples", lambda *a: built.append(a[1]) or build(*a))
    training()
    monkeypatch.setattr(module, "code_version", lambda *names: f"another version of {names}")
    training()
    assert len(set(built)) == 2


def test_the_second_opening_reads_and_builds_nothing(tmp_path, monkeypatch):
    path = written(tmp_path / "a.extxyz", [labelled_crystal(k) for k in range(5)])
    first = load_dataset(Config(data=DataConfig(path)))
    for name in ("scan_structures", "build_graph"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("not from the cache"))
    monkeypatch.setattr(
        "equivar_jax.graphs.graph_table.build_graph", lambda *_: pytest.fail("not from the cache")
    )
    monkeypatch.setattr(
        "equivar_jax.datasets.set_aside.check_labels", lambda *_: pytest.fail("not from the cache")
    )
    monkeypatch.setattr(
        "equivar_jax.datasets.set_aside.cross_duplicates", lambda *_: pytest.fail("not from the cache")
    )
    again = load_dataset(Config(data=DataConfig(path)))
    assert again.statistics == first.statistics


def test_the_check_command_needs_its_word(complaint):
    assert "equivar data check FILE" in complaint(main, "chekc", "file")


def test_the_check_command_prints_and_writes(labelled_file, tmp_path, capsys):
    main(["check", str(labelled_file), "--output", str(tmp_path / "report")])
    printed = capsys.readouterr().out
    assert "5 structures: 5 kept, 0 set aside" in printed
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"set_aside.csv", "hygiene.png"}


def parts(dataset):
    return dataset.training.structures, dataset.validation.structures


def test_a_folder_in_which_nothing_can_be_read_says_the_first_reason(tmp_path):
    (tmp_path / "broken.extxyz").write_text(
        '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nMg 0 0 0\n'
    )
    with pytest.raises(InputError, match=r"broken\.extxyz"):
        read_labelled(DataConfig(), str(tmp_path))
