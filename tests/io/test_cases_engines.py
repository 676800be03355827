"""Real output of engines, in the folder that `EQUIVAR_CASES` names; one crystal without symmetry in all.

The dynamical matrix of Quantum ESPRESSO (field first, established with forces in a field) is the reference.
"""

import gzip
import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures
from equivar_jax.structures import born_effective_charges

if "EQUIVAR_CASES" not in os.environ:
    pytest.skip("EQUIVAR_CASES is not set", allow_module_level=True)
CASES = Path(os.environ["EQUIVAR_CASES"]) / "engines"
ABINIT = CASES / "abinit_rf"


def only(name: str | Path, **options) -> tuple[Atoms, np.ndarray]:
    (atoms,) = read_structures(CASES / name, **options)
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return atoms, tensors


def refusal(name: str) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(CASES / name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def reference() -> tuple[Atoms, np.ndarray]:
    return only("qe_text/D.dyn")


def assert_not_transposed(tensors: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert np.abs(tensors - expected).max() < tolerance
    assert np.abs(tensors - expected.transpose(0, 2, 1)).max() > 3 * tolerance


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("qe_xml/D.dyn.xml", 1e-10),
        ("qe_ldisp_q2r/D_ldisp.fc", 1e-6),
        ("qe_ldisp_q2r/D_ldisp.ph.out", 1e-5),
        ("qe_zue_only/D_zue.dyn", 5e-4),
        ("qe_zue_only/D_zue.ph.out", 5e-4),
        ("qe_stopped_recover/D_rec.ph.out", 1e-5),
        ("qe_stopped_recover/D_time.ph.out", 1e-5),
        ("abinit_rf/rf.abo", 0.013),
        ("abinit_rf/rfo_DS3_DDB.nc.gz", 0.013),
    ],
)
def test_engines_and_files_agree(reference, name, tolerance):
    crystal, expected = reference
    if name.endswith(".nc.gz"):
        pytest.importorskip("netCDF4")
    atoms, tensors = only(name)
    assert_not_transposed(tensors, expected, tolerance)
    np.testing.assert_allclose(atoms.cell.array, crystal.cell.array, atol=1e-3)
    np.testing.assert_allclose(atoms.positions, crystal.positions, atol=1e-3)


def test_gpaw_is_nearer_to_the_other_engines_than_its_transpose():
    # Other pseudopotentials and k-points: components differ by up to 0.07 e.
    crystal, expected = only("qe_dense/C.dyn")
    atoms, tensors = only("gpaw_born/borncharges-0.01.json")
    far = np.linalg.norm(tensors - expected.transpose(0, 2, 1))
    assert np.linalg.norm(tensors - expected) < 0.6 * far
    np.testing.assert_allclose(atoms.positions, crystal.positions, atol=1e-3)


def test_the_files_of_abinit_agree():
    pytest.importorskip("abipy")
    _, text = only(ABINIT / "rfo_DS3_DDB")
    for name in ("rf.abo", "rfo_DS3_DDB.nc.gz", "c0_anaddb.nc.gz"):
        _, tensors = only(ABINIT / name)
        np.testing.assert_allclose(tensors, text, atol=1e-6)
    assert all("anaddb.nc" in refusal(f"abinit_rf/c{number}.abo") for number in (0, 1, 2))


def test_a_born_of_abipy_is_transposed():
    pytest.importorskip("abipy")
    _, neutral = only(ABINIT / "c1_anaddb.nc.gz")
    _, read = only("abipy_born/BORN", first_index="displacement")
    np.testing.assert_allclose(read, neutral, atol=1e-7)
    _, as_phonopy = only("abipy_born/BORN")
    np.testing.assert_allclose(as_phonopy, neutral.transpose(0, 2, 1), atol=1e-7)


def test_two_runs_are_two_frames():
    first, second = read_structures(CASES / "qe_appended/appended.ph.out")
    for frame, name in ((first, "Ce.ph.out"), (second, "C2.ph.out")):
        atoms, tensors = only(f"qe_appended/{name}")
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(born_effective_charges(frame), tensors)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qe_nat_todo/D_natz.ph.out", "nat_todo"),
        ("qe_nat_todo/D_natz.dyn", "nat_todo"),
        ("qe_zeu_false/D_zeuf_zeros_EDITED.dyn", "did not calculate"),
        ("qe_zeu_false/D_zeuf.dyn", "finite numbers"),
        ("elk_208/BEC_S01_A001_P1.OUT", "is missing"),
    ],
)
def test_what_was_not_calculated_is_refused(name, found):
    assert found in refusal(name)


@pytest.mark.parametrize("name", ["i9", "i12", "i-12", "i13", "i14", "i91"])
def test_lattices_by_number_are_those_that_pw_prints(name):
    atoms, _ = only(f"qe_ibrav_dyn/{name}.dyn")
    printed = ase.io.read(CASES / f"qe_ibrav_dyn/{name}.scf.out", index=0)
    np.testing.assert_allclose(atoms.cell.array, printed.cell.array, atol=1e-5)
    np.testing.assert_allclose(atoms.positions, printed.positions, atol=1e-5)


def test_a_log_of_pw_and_ph(tmp_path, reference):
    log = tmp_path / "log.gz"
    texts = [(CASES / "qe_text" / name).read_bytes() for name in ("D.scf.out", "D_text.ph.out")]
    log.write_bytes(gzip.compress(b"".join(texts)))
    _, tensors = only(log)
    assert_not_transposed(tensors, reference[1], 1e-5)


def test_no_file_of_an_engine_ends_in_another_error():
    for path in sorted(CASES.rglob("*")):
        if path.is_file() and not path.name.startswith("BEC_"):
            try:
                found = list(scan_structures(path))
            except InputError as error:
                found = [error]
            assert all("\n" not in str(one) for one in found if isinstance(one, InputError))
