import gzip
import importlib.util
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr
from helpers.dipole import crystal_and_tensors
from helpers.examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.io.abinit import read_anaddb, read_ddb, recognises_anaddb, recognises_ddb
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges

ABIPY = importlib.util.find_spec("abipy")
if ABIPY is None:
    pytest.skip("abipy is not installed", allow_module_level=True)
SHIPPED = Path(ABIPY.submodule_search_locations[0], "data", "refs")
PAIRS = {
    "AlAs": ("alas_nl_dfpt/AlAs_nl_dte_DDB", "alas_nl_dfpt/AlAs_nl_dte_anaddb.nc", 1e-9),
    "AlAs, unsymmetrised": ("alas_phonons/trf2_3_DDB", "alas_phonons/alas_anaddb.nc", 1e-7),
    # anaddb imposed the space group, which the derivatives break by this much.
    "ZnSe": ("znse_phonons/ZnSe_hex_qpt_DDB", "znse_phonons/ZnSe_hex_886.anaddb.nc", 1e-4),
}
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
IONIC = [14.0, 4.5, 6.0]  # by type, one of them not whole
TYPES = [0, 1, 2, 2, 2]  # of PbTiO3
NUMBERS = [82, 22, 8]


def anaddb_file(path: Path, atoms: Atoms, tensors: np.ndarray | None, numbers=NUMBERS) -> Path:
    """What anaddb writes: Fortran's zeff(field, displacement, atom), whose axes netCDF reverses."""
    import netCDF4

    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        for name, size in {"atoms": len(atoms), "types": len(numbers), "three": 3}.items():
            file.createDimension(name, size)
        arrays = {
            "primitive_vectors": (atoms.cell.array / Bohr, ("three", "three")),
            "reduced_atom_positions": (atoms.get_scaled_positions(), ("atoms", "three")),
            "atom_species": (np.array(TYPES, dtype=np.int32) + 1, ("atoms",)),
            "atomic_numbers": (np.array(numbers, dtype=float), ("types",)),
        }
        if tensors is not None:
            fortran = np.zeros((3, 3, len(atoms)), order="F")
            for atom, field, displacement in np.ndindex(len(atoms), 3, 3):
                fortran[field, displacement, atom] = tensors[atom, field, displacement]
            arrays["becs_cart"] = (fortran.T, ("atoms", "three", "three"))
            arrays["emacro_cart"] = (EPSILON.T, ("three", "three"))
        for name, (values, dimensions) in arrays.items():
            file.createVariable(name, values.dtype, dimensions)[:] = values
    return path


def ddb_text(atoms: Atoms, tensors: np.ndarray, orders=("field first", "field last")) -> str:
    """A DDB whose block at Gamma abipy makes from tensors [atom, field, displacement]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from abipy.dfpt.converters import generate_born_deriv
        from abipy.dfpt.ddb import get_2nd_ord_block_string
        from pymatgen.core import Lattice, Structure

        structure = Structure(Lattice(atoms.cell.array), atoms.symbols, atoms.get_scaled_positions())
        ionic = [IONIC[kind] for kind in TYPES]
        array = generate_born_deriv({"born": tensors, "dielectric": EPSILON}, ionic, structure)
        field = len(atoms) + 1
        wanted = {
            "field first": lambda one, two: one == field and two < len(atoms),
            "field last": lambda one, two: two == field and one < len(atoms),
            "field twice": lambda one, two: one == two == field,
        }
        elements = {
            (a + 1, one + 1, b + 1, two + 1): array[one, a, two, b]
            for one, a, two, b in np.ndindex(array.shape)
            if any(wanted[order](one, two) for order in (*orders, "field twice"))
        }
        block = get_2nd_ord_block_string([0, 0, 0], elements)
    return "\n".join([*_header(atoms), " Number of data blocks=    1", "", *block]) + "\n"


def _header(atoms: Atoms) -> list[str]:
    """The keys of a DDB's header, with Fortran's exponents."""

    def reals(key, rows):
        lines = [" ".join(f"{value:.14E}".replace("E", "D") for value in row) for row in np.atleast_2d(rows)]
        return [f" {key} {lines[0]}", *(f"      {line}" for line in lines[1:])]

    return [
        "",
        " **** DERIVATIVE DATABASE ****    ",
        "+DDB, Version number    100401",
        "",
        " PbTiO3 without symmetry",
        "",
        *[" natom 5", " nkpt 1", " nsppol 1", " nsym 1", " ntypat 3", " nband 22"],
        *reals("acell", [1, 1, 1]),
        *reals("amu", [207.2, 47.867, 15.999]),
        " ixc 7",
        *reals("kpt", [0, 0, 0]),
        " ngfft 36 36 36",
        *reals("rprim", atoms.cell.array / Bohr),
        *reals("spinat", np.zeros((5, 3))),
        " symafm 1",
        " symrel 1 0 0 0 1 0 0 0 1",
        *reals("tnons", [0, 0, 0]),
        " typat " + " ".join(str(kind + 1) for kind in TYPES),
        *reals("wtk", [1]),
        *reals("xred", atoms.get_scaled_positions()),
        *reals("znucl", NUMBERS),
        *reals("zion", IONIC),
        "",
        " No information on the potentials yet",
        "",
        " **** Database of total energy derivatives ****",
    ]


def only(reader, path: Path, options: ReadOptions | None = None) -> Atoms:
    (atoms,) = reader(path, options or ReadOptions())
    assert isinstance(atoms, Atoms)
    return atoms


def label(atoms: Atoms) -> np.ndarray:
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def refusal(reader, path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        only(reader, path, options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def assert_same_crystal(read: Atoms, atoms: Atoms) -> None:
    assert list(read.symbols) == list(atoms.symbols)
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-8)
    shift = read.get_scaled_positions() - atoms.get_scaled_positions()
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-9)
    assert read.pbc.all()


def test_anaddb_has_the_displacement_first_and_comes_back_with_the_field_first(tmp_path):
    atoms, tensors = crystal_and_tensors()
    path = anaddb_file(tmp_path / "run_anaddb.nc", atoms, tensors)
    read = only(read_anaddb, path)
    np.testing.assert_array_equal(label(read), tensors)
    np.testing.assert_array_equal(read.info["epsilon_inf"], EPSILON)
    assert_same_crystal(read, atoms)
    assert read.info["source"] == f"{path}, frame 0"


@pytest.mark.parametrize("orders", [("field first", "field last"), ("field first",), ("field last",)])
def test_derivatives_of_a_ddb_become_tensors_with_the_field_first(tmp_path, orders):
    atoms, tensors = crystal_and_tensors()
    path = tmp_path / "run_DDB"
    path.write_text(ddb_text(atoms, tensors, orders))
    read = only(read_ddb, path)
    np.testing.assert_allclose(label(read), tensors, atol=1e-10)
    np.testing.assert_allclose(read.info["epsilon_inf"], EPSILON, atol=1e-6)
    assert_same_crystal(read, atoms)
    assert read.info["source"] == f"{path}, frame 0"


@pytest.mark.parametrize(("ddb", "anaddb", "noise"), PAIRS.values(), ids=PAIRS)
def test_a_ddb_agrees_with_what_anaddb_made_of_it(ddb, anaddb, noise):
    raw, neutral = only(read_ddb, SHIPPED / ddb), only(read_anaddb, SHIPPED / anaddb)
    assert_same_crystal(raw, neutral)
    # anaddb imposed the sum rule by the same tensor on every atom (chneut 1).
    assert np.abs(label(neutral).sum(axis=0)).max() < 1e-10
    assert np.abs(label(raw).sum(axis=0)).max() > 1e-3
    np.testing.assert_allclose(label(raw) - label(raw).mean(axis=0), label(neutral), atol=noise)
    np.testing.assert_allclose(raw.info["epsilon_inf"], neutral.info["epsilon_inf"], atol=noise)


def test_files_without_a_field_have_no_label(tmp_path):
    metal = only(read_ddb, SHIPPED / "al_eph/out_444q_DDB")
    assert metal.get_chemical_formula() == "Al"
    assert born_effective_charges(metal) is None
    atoms, _ = crystal_and_tensors()
    bare = only(read_anaddb, anaddb_file(tmp_path / "anaddb.nc", atoms, None))
    assert_same_crystal(bare, atoms)
    assert born_effective_charges(bare) is None


@pytest.mark.parametrize("reader", [read_ddb, read_anaddb])
def test_compressed(tmp_path, reader):
    plain = SHIPPED / PAIRS["AlAs"][reader is read_anaddb]
    path = tmp_path / f"{plain.name}.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(label(only(reader, path)), label(only(reader, plain)))


def test_recognised_by_content_and_name(tmp_path):
    ddb, anaddb = (SHIPPED / name for name in PAIRS["AlAs"][:2])
    assert recognises_ddb(Path("renamed.txt"), ddb.read_bytes()[:8192])
    assert recognises_anaddb(anaddb, anaddb.read_bytes()[:8192])
    assert recognises_anaddb(Path("other.nc"), anaddb.read_bytes()[:8192])
    assert recognises_anaddb(Path("run_anaddb.nc.gz"), b"CDF\x02")
    assert recognises_ddb(Path("run_DDB.gz"), b"")
    assert not recognises_anaddb(ddb, ddb.read_bytes()[:8192])
    assert not recognises_anaddb(Path("traj.nc"), b"CDF\x01" + bytes(100))
    assert not recognises_ddb(Path("POSCAR"), b"Mg O\n1.0\n")


@pytest.mark.parametrize("reader", [read_ddb, read_anaddb])
def test_options_and_missing_files_are_refused(tmp_path, reader):
    path = SHIPPED / PAIRS["AlAs"][reader is read_anaddb]
    assert "'becs'" in refusal(reader, path, ReadOptions(key="becs"))
    assert "displacement" in refusal(reader, path, ReadOptions(first_index="displacement"))
    assert "no such file" in refusal(reader, tmp_path / "nothing")


@pytest.mark.parametrize(("reader", "module"), [(read_ddb, "ddb"), (read_anaddb, "anaddbnc")])
def test_without_abipy_its_installation_is_asked_for(monkeypatch, reader, module):
    monkeypatch.setitem(sys.modules, f"abipy.dfpt.{module}", None)
    assert "pip install abipy" in refusal(reader, SHIPPED / PAIRS["AlAs"][reader is read_anaddb])


def test_damaged_anaddb_files_are_refused(tmp_path):
    atoms, tensors = crystal_and_tensors()
    path = tmp_path / "anaddb.nc"
    assert "all Born effective charges are zero" in refusal(
        read_anaddb, anaddb_file(path, atoms, 0 * tensors)
    )
    tensors[3, 1, 2] = np.nan
    assert "atom 3 is not finite" in refusal(read_anaddb, anaddb_file(path, atoms, tensors))
    assert "not whole" in refusal(read_anaddb, anaddb_file(path, atoms, None, numbers=[82, 22.5, 8]))
    path.write_bytes((SHIPPED / PAIRS["AlAs"][1]).read_bytes()[:4000])
    assert "abipy cannot read it" in refusal(read_anaddb, path)
    path.write_bytes(b"no netCDF")
    assert "abipy cannot read it" in refusal(read_anaddb, path)


def cut_element(text: str) -> str:
    """Without the derivatives of atom 2 along y by the field, in either order."""
    lines = [
        line
        for line in text.splitlines()
        if line.split()[:2] != ["2", "2"] and line.split()[2:4] != ["2", "2"]
    ]
    return "\n".join(lines).replace("elements :          99", "elements :          93") + "\n"  # fmt: skip


FAULTS = {
    "another text": (lambda _: "It was a bright cold day.\n", "not a DDB file"),
    "cut in the header": (lambda text: text[: text.index("znucl")], "not a DDB file"),
    "cut in the block": (lambda text: text[: text[:-200].rindex("\n")], "cut short or edited"),
    "cut in a line": (lambda text: text[:-30], "abipy cannot read it"),
    "some derivatives missing": (cut_element, "run anaddb"),
    "fourth direction": (
        lambda text: text.replace("\n     1     1     1", "\n     4     1     1"),
        "outside 1 to 3",
    ),
    "element twice": (lambda text: text + text.splitlines()[-1] + "\n", "cut short or edited"),
    "two blocks": (lambda text: text + text[text.index(" 2nd derivatives") :], "2 blocks at Gamma"),
    "mixed atoms": (lambda text: text.replace("2.20000000000000D+01", "2.25000000000000D+01"), "not whole"),
    "no ionic charges": (lambda text: text.replace("zion", "zoon"), "abipy cannot read it"),
    "word for a number": (lambda text: text.replace(" rprim ", " rprim one "), "abipy cannot read it"),
    "not a number": (lambda text: text[: text.index("0E") - 20] + "NaN" + text[text.index("0E") :], "abipy"),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS.keys())
def test_damaged_ddb_files_are_refused(tmp_path, damage, found):
    path = tmp_path / "run_DDB"
    path.write_text(damage(ddb_text(*crystal_and_tensors())))
    assert found in refusal(read_ddb, path)


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_are_read_or_refused(tmp_path, data):
    content = bytearray(ddb_text(*crystal_and_tensors()).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] = data.draw(st.sampled_from(b" \n0123456789.-DEn#\xff"))
        else:
            del content[place : place + data.draw(st.integers(1, 40))]
    path = tmp_path / "run_DDB"
    path.write_bytes(content)
    try:
        read = only(read_ddb, path)
    except InputError:
        refusal(read_ddb, path)
        return
    tensors = born_effective_charges(read)
    assert tensors is None or (tensors.shape == (len(read), 3, 3) and np.isfinite(tensors).all())
