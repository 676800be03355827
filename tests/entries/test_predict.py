import csv
import json

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from helpers.committees import with_kernel
from helpers.crystals import titanate

from equivar_jax import load, predict
from equivar_jax.config.files import load_config
from equivar_jax.datasets.load import load_structures, make_samples
from equivar_jax.errors import InputError
from equivar_jax.predict import IsolatedAtomWarning, UnseenElementWarning
from equivar_jax.prediction.batches import BATCH_NODES, plan_batches
from equivar_jax.weights.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def model(trained):
    return load(trained.folder)


@pytest.fixture(scope="module")
def perovskites(trained):
    structures = load_structures(load_config("test").data, None)
    return [
        atoms for atoms in structures if set(atoms.numbers) <= set(load(trained.folder).metadata.elements)
    ]


def predicted(*words):
    predict.main([str(word) for word in words])


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def tensors(table):
    return np.array([[[float(row[f"Z{a}{b}"]) for b in "123"] for a in "123"] for row in table])


def test_a_structure_gives_float64_tensors_that_sum_to_zero(model):
    atoms = titanate(3)
    found = model.predict(atoms)
    assert found.shape == (15, 3, 3)
    assert found.dtype == np.float64
    assert np.abs(found.sum(axis=0)).max() < 1e-8
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("charge", [1, -2.5, np.float64(3.0)])
def test_a_net_charge_is_what_the_tensors_sum_to(model, charge):
    atoms = titanate()
    neutral = model.predict(atoms)
    atoms.info["charge"] = charge
    charged = model.predict([titanate(), atoms])[1]
    assert np.abs(charged.sum(axis=0) - charge * np.eye(3)).max() < 1e-8
    np.testing.assert_allclose(charged - neutral, np.tile(charge / 5 * np.eye(3), (5, 1, 1)), atol=1e-6)


def test_a_list_gives_the_same_numbers_as_its_members_in_any_order(model, perovskites):
    structures = [*perovskites[:3], *(titanate(k, seed=k) for k in (1, 4, 2))]
    single = [model.predict(atoms) for atoms in structures]
    scale = max(np.abs(z).max() for z in single)
    order = np.random.default_rng(0).permutation(len(structures))
    for chosen in (range(len(structures)), order):
        together = model.predict([structures[k] for k in chosen])
        for k, found in zip(chosen, together, strict=True):
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, single[k], rtol=0, atol=2e-6 * scale)


def test_nothing_gives_nothing(model):
    assert model.predict([]) == []


def test_tensors_before_the_sum_rule_differ_by_the_same_for_every_atom(model):
    (found,) = model.predictions([titanate()])
    corrected, raw = found.tensors, found.raw
    share = raw - corrected
    np.testing.assert_allclose(share, np.broadcast_to(raw.mean(axis=0), share.shape), atol=1e-12)
    assert np.abs(share).max() > 1e-4


def test_a_supercell_and_a_rotation_give_the_tensors_they_must(model):
    atoms = titanate()
    one, two = model.predict(atoms), model.predict(atoms.repeat((2, 1, 1)))
    np.testing.assert_allclose(two, np.concatenate([one, one]), atol=1e-5)
    turned = atoms.copy()
    turned.rotate(73, (1, 2, -0.5), rotate_cell=True)
    turn = np.linalg.solve(atoms.cell.array, turned.cell.array).T
    np.testing.assert_allclose(model.predict(turned), np.einsum("ai,nij,bj->nab", turn, one, turn), atol=1e-5)


def test_many_sizes_need_few_compilations(trained, model):
    def shapes(structures):
        return {budget for _, budget in plan_batches(make_samples(structures, 3.0), dense=False)}

    sizes = [titanate(k) for k in range(1, 101)]
    assert len(set.union(*(shapes([atoms]) for atoms in sizes))) <= 32  # one by one
    assert len(shapes(sizes)) <= 4  # together

    chosen = [titanate(k, seed) for seed in (0, 3) for k in (9, 10, 11)]
    before = predict.apply._cache_size()
    for atoms in chosen:
        model.predict(atoms)
    compiled = predict.apply._cache_size() - before
    assert compiled <= len(set.union(*(shapes([atoms]) for atoms in chosen))) <= 3
    for atoms in chosen:
        load(trained.folder).predict(atoms)
    assert predict.apply._cache_size() - before == compiled


def test_a_structure_larger_than_a_batch_is_predicted_like_its_parts(model):
    atoms = titanate()
    one, many = model.predict(atoms), model.predict([atoms.repeat((15, 15, 1)), atoms])
    assert len(many[0]) > BATCH_NODES
    np.testing.assert_allclose(many[0], np.tile(one, (225, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(many[1], one, atol=1e-5)


def test_double_precision_agrees_with_single(trained, model, float64):
    precise = load(trained.folder, dtype="float64")
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(precise.params))
    np.testing.assert_allclose(precise.predict(titanate()), model.predict(titanate()), atol=1e-4)


def test_double_precision_without_64_bits_in_jax_is_refused_where_jax_computes(trained):
    double = load(trained.folder, dtype="float64")
    assert double.predict(titanate()).dtype == np.float64  # in C++
    with pytest.raises(InputError, match="float64 needs"):
        with_kernel(double, "chunked").predict(titanate())


def test_isolated_atoms_are_a_warning(model):
    with pytest.warns(IsolatedAtomWarning, match="structure O: 1 atoms have no neighbour within 3.0 Å"):
        assert model.predict(Atoms("O")).tolist() == np.zeros((1, 3, 3)).tolist()


def test_an_unseen_element_is_an_error_or_a_warning(model):
    unseen = bulk("NaCl", "rocksalt", a=5.6)
    with pytest.raises(InputError, match=r"the model has never seen Na, Cl; it knows O Ca .*--allow-unseen"):
        model.predict(unseen)
    with pytest.warns(UnseenElementWarning, match="never seen Na, Cl; the tensors mean nothing there"):
        assert np.isfinite(model.predict(unseen, allow_unseen=True)).all()


def test_an_element_beyond_the_table_is_always_an_error(model):
    beyond = titanate()
    beyond.numbers[0] = 105
    with pytest.raises(InputError, match="never seen Db"):
        model.predict(beyond, allow_unseen=True)


@pytest.mark.parametrize("name", ["in.cif", "POSCAR", "in.extxyz", "in.xyz", "in.vasp"])
@pytest.mark.parametrize("out", ["out.csv", "out.extxyz"])
def test_every_kind_of_file_is_predicted_and_written(trained, model, tmp_path, name, out, capsys):
    atoms = titanate()
    write(tmp_path / name, atoms)
    predicted("--checkpoint", trained.folder, tmp_path / name, "-o", tmp_path / out)
    assert f"{tmp_path / out}: 5 tensors of 1 structures" in capsys.readouterr().err
    if out == "out.csv":
        table = rows(tmp_path / out)
        found, elements = tensors(table), [row["element"] for row in table]
    else:
        written = read(tmp_path / out)
        found = written.calc.results["born_effective_charges"].reshape(-1, 3, 3)
        elements = list(written.symbols)
        np.testing.assert_allclose(written.positions, atoms.positions, atol=1e-6)
    assert elements == ["Ca", "Ti", "O", "O", "O"]
    np.testing.assert_allclose(found, model.predict(atoms), atol=1e-4)  # files round positions
    assert np.abs(found.sum(axis=0)).max() < 1e-8


def test_the_written_order_is_field_then_displacement(trained, model, tmp_path, calcium_titanate):
    del calcium_titanate.arrays["spacegroup_kinds"]
    write(tmp_path / "in.extxyz", calcium_titanate)
    (read_back,) = read(tmp_path / "in.extxyz", ":")
    expected = model.predict(read_back)
    assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 0.05
    for out in ("out.csv", "out.extxyz"):
        predicted("--checkpoint", trained.folder, tmp_path / "in.extxyz", "-o", tmp_path / out)
    np.testing.assert_allclose(tensors(rows(tmp_path / "out.csv")), expected, atol=1e-6)
    line = (tmp_path / "out.extxyz").read_text().splitlines()[2].split()
    assert [float(word) for word in line[-9:]] == pytest.approx(expected[0].ravel().tolist(), abs=1e-6)


def test_several_structures_of_several_files_keep_their_order_and_names(trained, model, tmp_path):
    first, second = [titanate(2, 1), titanate(1, 2)], titanate(3, 3)
    first[1].info["charge"] = 1
    write(tmp_path / "a.extxyz", first)
    write(tmp_path / "b.cif", second)
    out = tmp_path / "out.csv"
    predicted("--checkpoint", trained.folder, tmp_path / "a.extxyz", tmp_path / "b.cif", "-o", out)
    table = rows(out)
    names = [f"{tmp_path / 'a.extxyz'}, frame 0"] * 10 + [f"{tmp_path / 'a.extxyz'}, frame 1"] * 5
    assert [row["id"] for row in table] == names + [f"{tmp_path / 'b.cif'}, frame 0"] * 15
    assert [int(row["structure"]) for row in table] == [0] * 10 + [1] * 5 + [2] * 15
    assert [int(row["atom"]) for row in table] == [*range(10), *range(5), *range(15)]
    assert [row["element"] for row in table] == [*first[0].symbols, *first[1].symbols, *second.symbols]
    parts = np.split(tensors(table), [10, 15])
    for found, expected in zip(parts, model.predict([*first, second]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(parts[1].sum(axis=0), np.eye(3), atol=1e-8)


def test_allow_unseen_is_passed_on(trained, tmp_path):
    write(tmp_path / "in.cif", bulk("NaCl", "rocksalt", a=5.6))
    with pytest.warns(UnseenElementWarning, match=r"in\.cif, frame 0"):
        predicted(
            "--checkpoint", trained.folder, tmp_path / "in.cif", "-o", tmp_path / "o.csv", "--allow-unseen"
        )
    assert len(rows(tmp_path / "o.csv")) == 2


def test_one_checkpoint_folder_serves_as_well_as_a_run(trained, model):
    (folder,) = (trained.folder / "checkpoints" / "best").iterdir()
    np.testing.assert_array_equal(load(str(folder)).predict(titanate()), model.predict(titanate()))


def test_what_the_model_was_trained_on_is_at_hand(trained, model):
    assert model.metadata == read_checkpoint(trained.folder)[1]
    assert json.loads((trained.folder / "config.json").read_text())["model"]["channels"] == 16
    assert model.network.config == model.metadata.config.model
