"""A trajectory of LAMMPS in a field that is interrupted, against one that is not."""

import numpy as np
import pytest
from helpers.field_crystals import moving_tensors_of_cell
from helpers.lammps_runs import (
    FIELD,
    SPECIES,
    by_id,
    fix_output,
    open_or_skip,
    read_into,
    shuffled_crystal,
    springs,
    warm,
)
from helpers.polarised import predictor

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.lammps import LammpsField
from equivar_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")


def moving_field(time):
    return [0, 0.1 * np.sin(0.2 * time), 0.2 * np.cos(0.1 * time)]


def network_charges():
    return EquivarCalculator(predictor())


SETTINGS = [
    (lambda: moving_tensors_of_cell, FIELD, {}),
    (lambda: moving_tensors_of_cell, moving_field, {"every": 4, "extrapolate": True}),
    (network_charges, FIELD, {}),
    (network_charges, moving_field, {"every": 3}),
]


def run_in_parts(folder, parts, charges, field, options, with_field_file=True):
    """Positions, velocities and output of the fix after the parts of a run, each by another LAMMPS."""
    for part, steps in enumerate(parts):
        lmp = open_or_skip()
        if part == 0:
            read_into(lmp, warm(shuffled_crystal(True), 3000), folder, springs(5.0), sort="sort 1 3.0")
        else:
            lmp.commands_string(f"read_restart {folder}/restart\n{springs(5.0)}\nfix nve all nve")
        file = folder / "restart.born.npz" if part > 0 and with_field_file else None
        born = LammpsField(lmp, charges(), field, SPECIES, restart=file, **options)
        born.command(f"run {steps}")
        lmp.command(f"write_restart {folder}/restart")
        born.write_restart(folder / "restart.born.npz")
        end = by_id(lmp, "x"), by_id(lmp, "v"), *fix_output(lmp), born.work
        lmp.close()
    return end


@pytest.mark.parametrize(("charges", "field", "options"), SETTINGS)
def test_a_restart_continues_the_trajectory_and_its_work(tmp_path, charges, field, options):
    """The time of the field goes on as well. Sums in another order leave rounding."""
    whole = run_in_parts(tmp_path, [25], charges, field, options)
    parts = run_in_parts(tmp_path, [10, 7, 8], charges, field, options)
    assert abs(whole[4]) > 0.02
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_without_the_file_of_the_field_forces_go_on_and_the_work_begins_anew(tmp_path):
    whole = run_in_parts(tmp_path, [25], *SETTINGS[0])
    first = run_in_parts(tmp_path, [10], *SETTINGS[0])
    parts = run_in_parts(tmp_path, [10, 15], *SETTINGS[0], with_field_file=False)
    np.testing.assert_allclose(parts[0], whole[0], rtol=0, atol=1e-9)
    assert abs(first[4]) > 1e-3
    assert parts[4] == pytest.approx(whole[4] - first[4], rel=1e-7)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("reset_timestep 4", "written at step 3, LAMMPS is at step 4; read the restart of LAMMPS"),
        ("displace_atoms all move 0.01 0 0", "an atom was 0.01 Å away; read the restart"),
        ("set atom 1*3 type 1", "16 atoms had other IDs or elements"),
        ("change_box all z scale 1.01 remap", "the cell was another"),
    ],
)
def test_the_file_of_another_configuration_is_refused(lmp, tmp_path, command, complaint):
    read_into(lmp, warm(shuffled_crystal()), tmp_path, springs(5.0))
    born = LammpsField(lmp, moving_tensors_of_cell, FIELD, SPECIES)
    born.command("run 3")
    born.write_restart(tmp_path / "born.npz")
    born.close()
    lmp.command(command)
    again = LammpsField(lmp, moving_tensors_of_cell, FIELD, SPECIES, restart=tmp_path / "born.npz")
    with pytest.raises(InputError, match=complaint):
        again.command("run 1")


def test_files_that_are_no_path_are_refused(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    wrong = tmp_path / "wrong.npz"
    wrong.write_text("no")
    other = tmp_path / "other.npz"
    np.savez(other, a=1)
    for path in (wrong, other, tmp_path / "none.npz"):
        with pytest.raises(
            InputError, match=r"npz: no path of a field can be read .*; give a file of write_restart"
        ):
            LammpsField(lmp, moving_tensors_of_cell, FIELD, SPECIES, restart=path)
    with pytest.raises(InputError, match="there is no path before the first step; run 0 begins one"):
        LammpsField(lmp, moving_tensors_of_cell, FIELD, SPECIES).write_restart(tmp_path / "born.npz")
