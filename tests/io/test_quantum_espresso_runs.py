"""Outputs of ph.x that hold several runs, that were stopped, or whose charges are of some atoms only."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr
from helpers.quantum_espresso_files import (
    ALAT,
    CRYSTAL,
    EPSILON,
    OLD,
    POLARISATION,
    RESPONSE,
    charges_text,
    ph_text,
)

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures
from equivar_jax.io.formats import recognise_format
from equivar_jax.structures import born_effective_charges

EXPECTED = RESPONSE.transpose(1, 0, 2)
SCF = (
    "\n     Program PWSCF v.7.2 starts on 29Jul2024 at 21:37: 6 \n\n"
    "     celldm(1)=   9.99990\n     number of atoms/cell      =            9\n"
    "   a(1) = (   1.000000   0.000000   0.000000 )\n\n   JOB DONE.\n"
)
BY_FIELD = charges_text(RESPONSE, OLD)
BY_DISPLACEMENT = charges_text(RESPONSE, POLARISATION, "P")
MOVED = CRYSTAL.copy()
MOVED.positions[2] += [0.2, 0.0, -0.1]


def scanned(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    (tmp_path / "ph.out").write_text(text)
    return list(scan_structures(tmp_path / "ph.out"))


def only_error(tmp_path: Path, text: str) -> str:
    (error,) = scanned(tmp_path, text)
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_runs_that_were_appended_are_frames_of_their_own(tmp_path):
    text = ph_text() + ph_text(charges_text(0.5 * RESPONSE), crystal=MOVED)
    first, second = scanned(tmp_path, text)
    for frame, crystal, scale in ((first, CRYSTAL, 1.0), (second, MOVED, 0.5)):
        np.testing.assert_allclose(frame.positions, crystal.positions, atol=5e-4)
        np.testing.assert_allclose(born_effective_charges(frame), scale * EXPECTED, atol=2e-5)
    assert first.info["source"].endswith("frame 0")
    assert second.info["source"].endswith("frame 1")


def test_a_run_that_did_not_end_does_not_take_the_tensors_of_the_next(tmp_path):
    whole = ph_text()
    broken = whole[: whole.index("          Effective charges")]
    error, atoms = scanned(tmp_path, broken + ph_text(crystal=MOVED))
    assert isinstance(error, InputError)
    assert "frame 0: not a complete output" in str(error)
    np.testing.assert_allclose(atoms.positions, MOVED.positions, atol=5e-4)


def test_two_structures_under_one_name_of_the_program_are_refused(tmp_path):
    second = ph_text(charges_text(0.5 * RESPONSE), crystal=MOVED).replace("Program PHONON", "")
    assert "two structures" in only_error(tmp_path, ph_text() + second)
    stretched = CRYSTAL.copy()
    stretched.set_cell(stretched.cell * 1.02)
    assert "two structures" in only_error(tmp_path, ph_text() + ph_text(crystal=stretched)[40:])


def test_a_structure_printed_again_with_more_digits_is_the_same(tmp_path):
    # What pw.x's routines print when ph.x computes bands for another q.
    again = "".join(
        f"      {i + 1:3d}  {name}  tau({i + 1:4d}) = (" + "".join(f"{x:12.7f}" for x in site) + "  )\n"
        for i, (name, site) in enumerate(zip(CRYSTAL.symbols, CRYSTAL.positions / Bohr / ALAT, strict=True))
    )
    (atoms,) = scanned(tmp_path, ph_text(extra=again))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)


@pytest.mark.parametrize("before", [SCF, "+ mpirun pw.x\n" + SCF + "x" * 20000 + "\n"])
def test_a_log_of_pw_and_ph(tmp_path, before):
    path = tmp_path / "log"
    path.write_text(before + ph_text() + SCF)
    assert recognise_format(path).name == "ph_output"
    (atoms,) = read_structures(path)
    assert len(atoms) == 5
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)
    path.write_text(before)
    assert recognise_format(path) is None or recognise_format(path).name != "ph_output"


@pytest.mark.parametrize("listed", ["     Compute atoms:     2,    3,\n", "     Compute atoms:     5,\n"])
def test_charges_of_atoms_that_were_not_displaced_are_refused(tmp_path, listed):
    assert "nat_todo" in only_error(tmp_path, ph_text(BY_DISPLACEMENT, extra=listed))
    # Derivatives of forces are of all atoms.
    (atoms,) = scanned(tmp_path, ph_text(BY_FIELD + BY_DISPLACEMENT, extra=listed))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)


def test_a_list_of_all_atoms_may_have_several_lines(tmp_path):
    listed = "     Compute atoms:     1,    2,    3,\n     Compute atoms:     5,    4,\n"
    (atoms,) = scanned(tmp_path, ph_text(BY_DISPLACEMENT, extra=listed))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)


def test_charges_of_some_representations_are_refused(tmp_path):
    left_out = "     Representation     3      1 modes -  Not done in this run\n"
    assert "start_irr" in only_error(tmp_path, ph_text(BY_DISPLACEMENT, extra=left_out))


@pytest.mark.parametrize("word", ["Maximum CPU time exceeded", "Program stopped by user request"])
def test_a_stopped_run_without_charges_says_so(tmp_path, word):
    message = only_error(tmp_path, ph_text("", extra=f"     {word}\n"))
    assert "recover" in message
    (atoms,) = scanned(tmp_path, ph_text(extra=f"     {word}\n"))  # charges came before the stop
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)


def test_announced_charges_that_are_missing_are_said(tmp_path):
    announced = "     Electric field:\n     Dielectric constant\n     Born effective charges in two ways \n"
    assert "announces effective charges" in only_error(tmp_path, ph_text("", extra=announced))
    (atoms,) = scanned(tmp_path, ph_text("", extra=announced.rpartition("     Born")[0]))
    assert born_effective_charges(atoms) is None
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)


def test_zeros_are_no_charges(tmp_path):
    some = RESPONSE.copy()
    some[:, 3] = 0.0
    for response in (0 * RESPONSE, some):
        assert "zero" in only_error(tmp_path, ph_text(charges_text(response)))


@pytest.mark.parametrize("count", ["0", "-5", "5.5", "99999999"])
def test_counts_of_atoms_that_are_none_are_refused(tmp_path, count):
    text = ph_text().replace(
        "number of atoms/cell      =            5", f"number of atoms/cell      = {count}"
    )
    assert "number of atoms/cell is" in only_error(tmp_path, text)
