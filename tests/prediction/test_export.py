"""Networks as files for programs that have JAX alone: `Predictor.export`, `equivar export`."""

import errno
import inspect
import json
import os
import re
import subprocess
import sys
import zipfile
from typing import get_args

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from helpers import polarised
from helpers.checkpoints import saved
from helpers.committees import CONFIG, MEMBERS, joined, network
from helpers.crystals import titanate
from jax import export as jax_export

from equivar_jax import __main__ as program
from equivar_jax import export as command
from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import find_neighbours as our_neighbours
from equivar_jax.prediction import export
from equivar_jax.prediction.exported_reader import atomic_numbers, find_neighbours, read_exported, to_table
from equivar_jax.prediction.predictor import Predictor

pytest.importorskip("flatbuffers", reason="JAX serialises with it")
ROUNDING = 2e-5
"""In e: of tensors of some e in single precision, whose sums the kernels take in different orders."""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """One of each kind, written once: network and file."""
    folder = tmp_path_factory.mktemp("archives")
    models = {"direct": network(0), "polarisation": polarised.predictor()}
    return {name: (model, model.export(folder / f"{name}.jaxexport")) for name, model in models.items()}


def crystal(kind, repeat=1):
    """A distorted crystal of elements that the network knows."""
    if kind != "polarisation":
        return titanate(repeat, seed=3 + repeat)
    atoms = bulk("MgO", "rocksalt", a=4.21) * (2, 1, repeat)
    atoms.rattle(0.1, seed=repeat)
    return atoms


def inputs_of(atoms, cutoff, **room):
    cell = atoms.cell.array if atoms.pbc.all() else None
    return *find_neighbours(atoms.positions, cell, cutoff, **room), atoms.numbers


def predicted(model, atoms):
    with jax.enable_x64(model.dtype == np.float64):
        return model.predict(atoms)


def computed(model, *arguments):
    with jax.enable_x64(model.metadata["dtype"] == "float64"):
        return jax.tree.map(np.asarray, model.charges(*arguments))


def test_the_command_has_the_defaults_of_the_library():
    words = command._parser().parse_args(["-o", "x"])
    method = inspect.signature(Predictor.export).parameters
    assert tuple(words.platforms) == method["platforms"].default == export.PLATFORMS
    assert words.members == method["members"].default
    assert words.kernel == method["kernel"].default
    assert get_args(export.Members) == command.MEMBERS


def test_an_archive_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "model.jaxexport"
    path.write_bytes(b"before")

    def fill(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    lowered = jax_export.export(jax.jit(lambda x: x))(jax.ShapeDtypeStruct((), np.float32))
    monkeypatch.setattr(export, "_serialise", lambda *_: (lowered, bytearray(b"lowered")))
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", fill)
        with pytest.raises(InputError, match=r"model\.jaxexport: cannot be written \(No space left"):
            network(0).export(path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [(path.name, b"before")]
    network(0).export(path)
    assert zipfile.ZipFile(path).read("charges.bin") == b"lowered"


@pytest.mark.parametrize("kind", ["direct", "polarisation"])
def test_crystals_of_several_sizes_have_the_tensors_of_the_network(archives, kind):
    model, path = archives[kind]
    found = read_exported(path)
    small, large = crystal(kind), crystal(kind, 2)
    large.positions += [0.3, 9.0, -5.0]  # outside the cell
    for atoms in (small, large):
        Z = computed(found, *inputs_of(atoms, found.cutoff))
        np.testing.assert_allclose(Z, predicted(model, atoms), atol=ROUNDING)
        assert abs(Z.sum(axis=0)).max() < 1e-5
        assert abs(Z - Z.swapaxes(1, 2)).max() > 1e-3  # an order of indices that is swapped would be seen


def test_a_committee_gives_its_mean_or_each_member(tmp_path):
    model, atoms = joined(), titanate(1, seed=3)
    mean = read_exported(model.export(tmp_path / "mean.jaxexport", ["cpu"]))
    Z = computed(mean, *inputs_of(atoms, mean.cutoff))
    np.testing.assert_allclose(Z, model.predict(atoms), atol=ROUNDING)
    found = read_exported(model.export(tmp_path / "each.jaxexport", ["cpu"], members="each"))
    Z = computed(found, *inputs_of(atoms, found.cutoff))
    assert Z.shape == (MEMBERS, len(atoms), 3, 3)
    for number in range(MEMBERS):
        np.testing.assert_allclose(Z[number], model.member(number).predict(atoms), atol=ROUNDING)
    assert found.metadata["output_of_members"] == "each"


def test_room_for_more_atoms_and_neighbours_changes_nothing(archives):
    _, path = archives["direct"]
    found, atoms = read_exported(path), titanate(1, seed=3)
    vectors, neighbours, species = inputs_of(atoms, found.cutoff)
    expected = computed(found, vectors, neighbours, species, 0.5)
    np.testing.assert_allclose(expected.sum(axis=0), 0.5 * np.eye(3), atol=1e-5)
    more, width = len(atoms) + 2, neighbours.shape[1] + 3
    table, numbers = np.full((more, width, 3), 7.0), np.full((more, width), -1)
    table[: len(atoms), 3:], numbers[: len(atoms), 3:] = vectors, neighbours
    numbers[numbers == len(atoms)] = more
    Z = computed(found, table, numbers, np.pad(species, (0, 2)), 0.5)
    np.testing.assert_allclose(Z[: len(atoms)], expected, atol=ROUNDING)
    assert not Z[len(atoms) :].any()


def test_the_derivative_by_positions_is_that_of_the_network(archives):
    model, path = archives["polarisation"]
    found, atoms = read_exported(path), crystal("polarisation")
    vectors, neighbours, species = inputs_of(atoms, found.cutoff)
    real = neighbours < len(atoms)
    with jax.enable_x64(True):

        def energy(moved):
            """Of the dipole of the cell in a field along z."""
            step = moved[np.where(real, neighbours, 0)] - moved[:, None]
            dipoles, charges = found.dipoles(vectors + real[:, :, None] * step, neighbours, species)
            return (dipoles + charges[:, None] * moved).sum(axis=0)[2]

        slope = np.asarray(jax.grad(energy)(np.zeros((len(atoms), 3))))
    Z = predicted(model, atoms)
    np.testing.assert_allclose(slope, Z[:, 2], atol=1e-6)
    assert abs(slope - Z[:, :, 2]).max() > 1e-3


def test_a_second_derivative_is_refused_by_jax(archives):
    _, path = archives["direct"]
    found, atoms = read_exported(path), titanate(1, seed=3)
    vectors, *others = inputs_of(atoms, found.cutoff)

    def total(vectors):
        return (found.charges(vectors, *others) ** 2).sum()

    vectors = vectors.astype(np.float32)
    step = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
    slope = np.vdot(jax.grad(total)(vectors), step)
    difference = (total(vectors + 1e-3 * step) - total(vectors - 1e-3 * step)) / 2e-3
    assert slope == pytest.approx(float(difference), rel=2e-2)
    with pytest.raises(ValueError, match="VJP"):
        jax.grad(lambda vectors: (jax.grad(total)(vectors) ** 2).sum())(vectors)


ALONE = """
import sys, importlib.abc
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("equivar_jax", "flax", "e3nn_jax", "jraph", "ase", "matscipy", "orbax"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import jax, numpy as np, exported_reader as read
atoms = np.load(sys.argv[2] + "/atoms.npz")
model = read.read_exported(sys.argv[1])
vectors, neighbours = read.find_neighbours(atoms["positions"], atoms["cell"], model.cutoff)
Z = jax.jit(model.charges)(vectors, neighbours, read.atomic_numbers(atoms["symbols"].tolist()))
np.save(sys.argv[2] + "/Z.npy", Z)
"""


def test_a_process_with_jax_alone_computes_the_charges(archives, tmp_path):
    model, path = archives["direct"]
    atoms = titanate(1, seed=5)
    arrays = {
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "symbols": np.array(list(atoms.symbols)),
    }
    np.savez(tmp_path / "atoms.npz", **arrays)
    subprocess.run([sys.executable, "-c", ALONE, str(path), str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "Z.npy"), model.predict(atoms), atol=ROUNDING)


def test_the_archive_is_lowered_for_a_gpu_that_is_not_here(archives):
    for _, path in archives.values():
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
            for entry in metadata["functions"].values():
                exported = jax_export.deserialize(bytearray(archive.read(entry["file"])))
                assert exported.platforms == ("cpu", "cuda")
                text = exported.mlir_module()
                called = set(re.findall(r"custom_call @([\w.]+)", text))  # of JAX itself; no kernel of ours
                assert {name for name in called if not name.startswith("stablehlo.")} <= {"shape_assertion"}
                assert ".py" not in text  # no path of this machine
    assert set(metadata["functions"]) == {"charges", "dipoles"}
    assert metadata["cutoff_A"] == polarised.CONFIG.cutoff
    assert metadata["form"] == "polarisation"
    assert "field direction, displacement direction" in metadata["functions"]["charges"]["outputs"][0]


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("MgO", "rocksalt", a=4.21),
        bulk("GaN", "wurtzite", a=3.19, c=5.19) * (2, 1, 1),
        Atoms(
            "NaCl", [[0.1, 0.2, 0.3], [-7.0, 9.0, 3.5]], cell=[[4.1, 0, 0], [3.5, 4, 0], [1, -3, 5]], pbc=True
        ),
        molecule("CH3OH"),
        molecule("H"),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_the_neighbours_are_those_of_the_package_and_of_ase(atoms):
    vectors, neighbours, _ = inputs_of(atoms, 4.0)
    ours = our_neighbours(atoms, 4.0)
    *listed, apart = neighbor_list("ijD", atoms, 4.0)
    again = to_table(*listed, apart, len(atoms))
    for i in range(len(atoms)):
        expected = ours.edges["vectors"][ours.receivers == i]
        for table, numbers in ((vectors, neighbours), again):
            found = table[i][numbers[i] < len(atoms)]
            assert found.shape == expected.shape
            order, other = (np.lexsort(np.round(rows.T, 6)) for rows in (found, expected))
            np.testing.assert_allclose(found[order], expected[other], atol=1e-9)


def test_neighbours_beyond_the_cutoff_are_left_out(archives):
    _, path = archives["direct"]
    found, atoms = read_exported(path), titanate(1, seed=3)
    expected = computed(found, *inputs_of(atoms, found.cutoff))
    Z = computed(found, *inputs_of(atoms, found.cutoff + 1.0))
    np.testing.assert_allclose(Z, expected, atol=ROUNDING)


def test_too_little_room_is_refused():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    with pytest.raises(ValueError, match="room for 2"):
        inputs_of(atoms, 4.0, width=2)
    assert atomic_numbers(["Mg", "O"]).tolist() == [12, 8]


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch):
    model, path = network(0), tmp_path / "model.jaxexport"
    with pytest.raises(InputError, match="custom call"):
        model.export(path, kernel="native")
    with pytest.raises(InputError, match="members='all'"):
        joined().export(path, members="all")
    with pytest.raises(InputError, match="name at least one"):
        model.export(path, [])
    with pytest.raises(InputError, match="abacus"):
        model.export(path, ["abacus"])
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(InputError, match="pip install flatbuffers"):
        model.export(path)
    assert not path.exists()


def test_the_program_writes_an_archive_and_says_what_it_holds(tmp_path, capsys, complaint):
    folder, output = saved(network(0), tmp_path / "run"), tmp_path / "model.jaxexport"
    program.main(["export", "--checkpoint", folder, "-o", str(output), "--platforms", "cpu"])
    said = capsys.readouterr().out
    assert "1 network in float32 for cpu" in said
    assert f"cutoff {CONFIG.cutoff:g} Å" in said
    assert read_exported(output).elements == ["O", "Ca", "Ti"]
    wrong = ["export", "--checkpoint", folder, "-o", str(tmp_path / "no" / "model")]
    assert "there is no folder" in complaint(program.main, *wrong)
    assert "custom call" in complaint(program.main, *wrong[:-1], str(output), "--kernel", "native")
