"""GaN from a POSCAR to LO-TO splitting and infrared.

A structure is enough for Born charges and the electronic dielectric tensor. Phonons need forces, too: here
springs, so that nothing has to be installed; with `sevenn` installed, its forces are taken. The result is
compared with what Raman spectra of GaN show.
"""

import importlib.util
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import phonopy
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from matplotlib.figure import Figure
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax import load
from equivar_jax.calculators import load_potential
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs

SMALL = bool(os.environ.get("SMALL"))

# %%
# ## The structure
#
# Measured lattice constants (3.1893 and 5.1851 Å without strain, table 1 of
# [Sci. Rep. 8 (2018)](https://doi.org/10.1038/s41598-018-28328-7)); all four bonds of an atom are equally
# long. If you have a POSCAR of your own, put it in the place of this one.
write("POSCAR", bulk("GaN", "wurtzite", a=3.189, c=5.185), format="vasp")
atoms = read("POSCAR")

# %%
# ## Charges
#
# Two Ga and two N; z is the polar axis, so that a tensor has two numbers, across it and along it.
model = load("shipped")
(Z, sigma), (epsilon, epsilon_sigma) = model.predict(atoms, uncertainty=True, dielectric=True)
for axis, name in ((0, "across"), (2, "along")):
    print(f"{name}: Ga {Z[0, axis, axis]:.2f} ± {sigma[0, axis, axis]:.2f} e", end=", ")
    print(f"eps_inf {epsilon[axis, axis]:.2f} ± {epsilon_sigma[axis, axis]:.2f}")

# %%
# ## Forces
#
# phonopy makes displaced supercells. A potential gives the forces: that of sevenn, if it is there. Springs
# between neighbours stand in for one otherwise. Their stiffness is chosen so that one mode, E1(TO), is where
# it was measured, at 561 cm⁻¹; the stiffness across a bond is a third of that along it. So transverse modes
# are put in here, and what is predicted is the splitting, from the charges.
cell = PhonopyAtoms(
    numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
)
phonon = Phonopy(cell, np.diag([2, 2, 1] if SMALL else [3, 3, 2]), primitive_matrix="P")
phonon.generate_displacements(distance=0.01)
supercells = phonon.supercells_with_displacements
big = phonon.supercell
rest = Atoms(numbers=big.numbers, cell=big.cell, positions=big.positions, pbc=True)
if importlib.util.find_spec("sevenn"):
    potential = load_potential("sevenn")
else:
    along = 6.1  # eV/Å²
    springs = nearest_neighbour_springs(rest, along, along / 3)
    potential = HarmonicCrystal(rest, springs, np.zeros((len(rest), 3, 3)))
forces = []
for supercell in supercells:
    moved = rest.copy()
    moved.positions = supercell.positions
    moved.calc = potential
    forces.append(moved.get_forces())
phonon.forces = forces
phonon.produce_force_constants()
phonon.save("phonopy_params.yaml", settings={"force_constants": True})

# %%
# ## LO-TO splitting
#
# The same as `equivar response born phonopy_params.yaml -o with_nac.yaml bands.png` in the shell.
response(["born", "phonopy_params.yaml", "-o", "with_nac.yaml", *([] if SMALL else ["bands.png"])])

# %%
# GaN is uniaxial, so that polar modes depend on the angle between the wave vector and the c axis, also
# where the wave vector goes to zero. phonopy takes that limit from any direction. Raman lines of an epitaxial
# layer are those of Azuhata, Sota, Suzuki and Nakamura,
# [J. Phys.: Condens. Matter 7, L129 (1995)](https://doi.org/10.1088/0953-8984/7/10/002).
measured = {"A1(LO)": (0, 735), "E1(TO)": (0, 561), "A1(TO)": (90, 533), "E1(LO)": (90, 743)}
splitting = phonopy.load("with_nac.yaml", is_nac=True, produce_fc=True)
angles = np.linspace(0, 90, 5 if SMALL else 46)
modes = []
for angle in np.radians(angles):
    splitting.run_qpoints([[0, 0, 0]], nac_q_direction=[np.sin(angle), 0, np.cos(angle)])
    modes.append(splitting.qpoints.frequencies[0] * 33.3564)  # THz to cm⁻¹
modes = np.array(modes)
print(f"A1(LO) {modes[0, -1]:.0f}, E1(LO) {modes[-1, -1]:.0f}, E1(TO) {modes[0, -2]:.0f} cm⁻¹")
print("measured:", *(f"{name} {value}" for name, (_, value) in measured.items()))

# %%
# ## Infrared
#
# The same as `equivar response infrared --phonons with_nac.yaml -o infrared.png`. The table beside the
# picture has the spectrum.
response(["infrared", "--phonons", "with_nac.yaml", "-o", "infrared.png"])
table = np.genfromtxt("infrared.csv", delimiter=",", names=True, comments="#")
print(f"strongest at {table['wavenumber_cm1'][table['absorption_cm1'].argmax()]:.0f} cm⁻¹")

# %%
# ## The picture
with mpl.rc_context(STYLE):
    figure = Figure(figsize=(6.8, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(angles, modes[:, 3:], ".", ms=2.5, color=COLOURS[0])
    for name, (angle, value) in measured.items():
        left.plot(angle, value, "D", ms=5, color=COLOURS[3])
        x, side = (angle - 4, "right") if angle == 0 else (angle + 4, "left")  # outside: dots are between
        left.text(x, value, name, ha=side, va="center", fontsize=8)
    left.plot([], [], ".", color=COLOURS[0], label="here")
    left.plot([], [], "D", color=COLOURS[3], label="measured")
    left.set(xlim=(-34, 124), ylim=(470, 800), xticks=[0, 30, 60, 90], title="Polar modes of GaN")
    left.set(xlabel="angle between q and the c axis (°)", ylabel="frequency (cm⁻¹)")
    left.legend(loc="center", ncols=2)
    right.plot(table["wavenumber_cm1"], table["absorption_cm1"] / 1e5, color=COLOURS[0])
    right.set(xlabel="wavenumber (cm⁻¹)", ylabel="absorption αn (10⁵ cm⁻¹)", xlim=(400, 700))
    right.set_title("Infrared, mean of directions")
    save_figure(figure, Path("gallium_nitride.png"))
