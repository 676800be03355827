"""MgO in LAMMPS, warm, in a pulse of the field: python pulse.py [STEPS] [FOLDER].

The forces are those of ions with formal charges (Lewis and Catlow, J. Phys. C 18, 1149 (1985)) and of the
field, which acts through the Born effective charges of the shipped network.
"""

import sys
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from equivar_jax import load
from equivar_jax.calculators import EquivarCalculator, LammpsField, field_in_lammps_axes, open_lammps

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 400
folder = Path(sys.argv[2] if len(sys.argv) > 2 else ".")

atoms = bulk("MgO", "rocksalt", a=4.2117, cubic=True).repeat(2)
atoms.set_initial_charges(np.where(atoms.symbols == "Mg", 2.0, -2.0))
write_lammps_data(folder / "MgO.data", atoms, specorder=["Mg", "O"], masses=True, atom_style="charge")


def pulse(time):
    """Return E in V/Å at a time in fs, in the axes of `atoms`."""
    return np.array([0, 0, 0.05]) * np.exp(-(((time - 100) / 40) ** 2)) * np.cos(0.075 * (time - 100))


lmp = open_lammps(["-log", str(folder / "log.lammps"), "-screen", "none"])
lmp.commands_string(f"""
units metal
atom_style charge
read_data {folder / "MgO.data"}
pair_style buck/coul/long 4.0
pair_coeff 1 1 0.0 1.0 0.0
pair_coeff 1 2 821.6 0.3242 0.0
pair_coeff 2 2 22764.0 0.149 27.88
kspace_style ewald 1e-6
velocity all create 300 12345
fix nve all nve
timestep 0.001
""")

born = LammpsField(
    lmp, EquivarCalculator(load(member=0)), field_in_lammps_axes(atoms, pulse), species=["Mg", "O"]
)
lmp.commands_string(f"""
thermo_style custom step time temp pe etotal f_born f_born[3] f_born[6]
thermo {max(1, steps // 20)}
""")
born.command("run 0")
before = lmp.get_thermo("etotal")
born.command(f"run {steps}")
print(f"work of the field {born.work * 1e3:.3f} meV, dipole along z {born.dipole_change[2]:+.4f} e Å")
print(f"energy changed by {(lmp.get_thermo('etotal') - before) * 1e3:.3f} meV, that of the field included")

lmp.command(f"write_restart {folder / 'MgO.restart'}")
born.write_restart(folder / "MgO.born.npz")
lmp.close()
