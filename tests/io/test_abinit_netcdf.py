import gzip
import sys

import numpy as np
import pytest
from ase import Atoms
from helpers.abinit_files import ddb_netcdf
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures
from equivar_jax.io.abinit_netcdf import read_ddb_netcdf
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges

pytest.importorskip("netCDF4")
ATOMS, TENSORS = crystal_and_tensors()


def refusal(path) -> str:
    try:
        (error,) = read_ddb_netcdf(path, ReadOptions())
    except InputError as raised:
        error = raised
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_derivatives_become_charges_with_the_field_first(tmp_path):
    path = ddb_netcdf(tmp_path / "run_DDB.nc", ATOMS, TENSORS)
    (atoms,) = scan_structures(path)
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=1e-10)
    np.testing.assert_allclose(atoms.cell.array, ATOMS.cell.array, atol=1e-10)
    shift = atoms.get_scaled_positions() - ATOMS.get_scaled_positions()
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    assert list(atoms.symbols) == list(ATOMS.symbols)
    (tmp_path / "other_DDB.nc.gz").write_bytes(gzip.compress(path.read_bytes()))
    (again,) = scan_structures(tmp_path / "other_DDB.nc.gz")
    np.testing.assert_array_equal(born_effective_charges(again), born_effective_charges(atoms))


def test_what_was_not_computed_is_refused_or_has_no_label(tmp_path):
    some = np.ones((3, 5, 3))
    some[1, 2, 0] = 0
    path = ddb_netcdf(tmp_path / "run_DDB.nc", ATOMS, TENSORS, some)
    assert "1 of 45 derivatives" in refusal(path)
    (atoms,) = read_ddb_netcdf(ddb_netcdf(path, ATOMS, TENSORS, 0 * some), ReadOptions())
    assert born_effective_charges(atoms) is None


@pytest.mark.parametrize(
    ("name", "place", "value", "found"),
    [
        ("atomic_numbers", 1, 22.5, "not whole"),
        ("atom_species", 0, 4, "damaged"),
        ("born_effective_charge_tensor", (0, 0, 0), np.nan, "not finite"),
        ("primitive_vectors", (0, 0), np.nan, "span no crystal"),
        ("primitive_vectors", 2, 0.0, "span no crystal"),
    ],
)
def test_damage_is_named(tmp_path, name, place, value, found):
    import netCDF4

    path = ddb_netcdf(tmp_path / "run_DDB.nc", ATOMS, TENSORS)
    with netCDF4.Dataset(path, "a") as file:
        file[name][place] = value
    assert found in refusal(path)


def test_other_files_and_missing_libraries(tmp_path, monkeypatch):
    path = tmp_path / "run_DDB.nc"
    path.write_bytes(b"\x89HDF\r\n" + bytes(100))
    assert "cannot be read (NetCDF" in refusal(path)
    monkeypatch.setitem(sys.modules, "netCDF4", None)
    assert "pip install netCDF4" in refusal(path)


def test_a_file_of_another_wave_vector_has_no_label(tmp_path):
    import netCDF4

    path = ddb_netcdf(tmp_path / "run_DDB.nc", ATOMS, TENSORS)
    with netCDF4.Dataset(path, "a") as file:
        file["q_point_reduced_coord"][0] = 0.5
    (atoms,) = read_ddb_netcdf(path, ReadOptions())
    assert isinstance(atoms, Atoms)
    assert born_effective_charges(atoms) is None
