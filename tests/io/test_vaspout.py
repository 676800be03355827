import gzip

import h5py
import numpy as np
import pytest
from helpers.engine_files import CRYSTAL, EPSILON, TENSORS, vaspout
from helpers.vasp_files import RESPONSE, calculation_xml, vasprun_text

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, structure_files
from equivar_jax.structures import born_effective_charges

SYMMETRIC = (TENSORS + TENSORS.transpose(0, 2, 1)) / 2


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_first_index_of_the_data_set_is_the_displacement(tmp_path, compressed):
    path = vaspout(tmp_path / "vaspout.h5", LEPSILON=1, IBRION=-1)
    if compressed:
        path = tmp_path / "vaspout.h5.gz"
        path.write_bytes(gzip.compress((tmp_path / "vaspout.h5").read_bytes()))
    (atoms,) = read_structures(path)
    np.testing.assert_array_equal(born_effective_charges(atoms), TENSORS)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-12)
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-12)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)


def test_masses_of_isotopes_in_the_incar_stay(tmp_path):
    path = vaspout(tmp_path / "vaspout.h5", POMASS=[208.0, 49.95, 18.0])
    assert read_structures(path)[0].get_masses().tolist() == [208.0, 49.95, 18.0, 18.0, 18.0]
    assert not read_structures(vaspout(tmp_path / "vaspout.h5"))[0].has("masses")


def test_other_names_are_told_by_the_groups_of_vasp(tmp_path):
    path = vaspout(tmp_path / "run1.h5", LEPSILON=1, IBRION=-1)
    assert len(read_structures(path)) == 1
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    assert "nor another known format" in refusal(tmp_path / "other.h5")


def test_of_one_run_vasprun_is_read_and_vaspout_is_not(tmp_path):
    vaspout(tmp_path / "vaspout.h5", LEPSILON=1, IBRION=-1)
    (tmp_path / "vasprun.xml").write_text(vasprun_text([calculation_xml(CRYSTAL, RESPONSE)]))
    assert structure_files(tmp_path) == [tmp_path / "vasprun.xml"]


def test_of_finite_differences_the_first_step_is_the_structure(tmp_path):
    path = vaspout(tmp_path / "vaspout.h5", steps=3, IBRION=6)
    assert len(read_structures(path)) == 1
    assert "3 ionic steps" in refusal(vaspout(tmp_path / "vaspout.h5", steps=3, IBRION=2))


def test_without_charges_every_step_is_a_structure(tmp_path):
    frames = read_structures(vaspout(tmp_path / "vaspout.h5", None, steps=3))
    assert len(frames) == 3
    assert all(born_effective_charges(atoms) is None for atoms in frames)
    assert "LCALCEPS is set" in refusal(vaspout(tmp_path / "vaspout.h5", None, LCALCEPS=1))


def test_an_order_that_is_not_established_is_refused_where_it_matters(tmp_path):
    path = tmp_path / "vaspout.h5"
    assert "IBRION = 8" in refusal(vaspout(path, IBRION=8))
    np.testing.assert_array_equal(
        born_effective_charges(read_structures(vaspout(path, SYMMETRIC, IBRION=8))[0]), SYMMETRIC
    )


def test_tensors_without_local_fields_or_convergence_are_refused(tmp_path):
    path = tmp_path / "vaspout.h5"
    assert "LRPA" in refusal(vaspout(path, LRPA=1))
    vaspout(path)
    with h5py.File(path, "a") as file:
        file["intermediate/ion_dynamics/electronic_step_converged"] = np.ones((1, 1))
    assert "EDIFF" in refusal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("results/positions/number_ion_types", np.array([1, 1, 2])),
        ("results/positions/ion_types", np.array([b"Pb", b"Qq", b"O"])),
        ("results/linear_response/born_charges", TENSORS[:4]),
        ("results/linear_response/born_charges", np.full((5, 3, 3), np.nan)),
        ("results/linear_response/electron_dielectric_tensor", np.eye(2)),
        ("intermediate/ion_dynamics/lattice_vectors", np.zeros((1, 3, 3))),
        ("intermediate/ion_dynamics/position_ions", None),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, name, value):
    path = vaspout(tmp_path / "vaspout.h5")
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file[name] = value
    assert str(path) in refusal(path)


def test_a_data_set_that_announces_more_than_the_file_holds_is_refused_at_once(tmp_path):
    path = vaspout(tmp_path / "vaspout.h5")
    with h5py.File(path, "a") as file:
        del file["intermediate/ion_dynamics/position_ions"]
        file.create_dataset("intermediate/ion_dynamics/position_ions", (1, 10**12, 3), "f8", chunks=True)
    assert "announces 24000000000000 bytes" in refusal(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = vaspout(tmp_path / "vaspout.h5")
    whole = path.read_bytes()
    for size in (9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "vaspout.h5" in refusal(path)
