"""Screening 300 oxides for anomalous charges.

An ion whose Born charge is far above its nominal one answers to fields more strongly than it should: the
mark of ferroelectrics and of strong infrared lines. Charges need no forces, so that a screening is fast;
what it says must be read beside its uncertainty.
"""

import csv
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.io import write
from ase.spacegroup import crystal
from matplotlib.figure import Figure
from pymatgen.core import Species

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.__main__ import main as response

SMALL = bool(os.environ.get("SMALL"))

# %%
# ## Candidates
#
# Perovskites ABO3 and, with two cations in turn on the site B, A2BB'O6 in the order of rock salt. Charges of
# the ions have to sum to zero, and the tolerance factor, (r_A + r_O) / √2 (r_B + r_O), to lie between 0.85
# and 1.1. The lattice constant lets neighbours B and O touch. Radii are those of Shannon, which pymatgen
# brings (`pip install -e ".[screen]"`). Whether a crystal exists, and is cubic, is not asked. Yours may be a
# folder of CIF files of any size.
A_SITE = {1: "Na K Rb", 2: "Ca Sr Ba Cd Pb", 3: "La Nd"}
B_SITE = {1: "Li Na", 2: "Mg Ca Zn Cd", 3: "Al Ga Sc In Y", 4: "Ti Zr Hf Sn Ge", 5: "Nb Ta Sb", 6: "W Te"}


def radius(element: str, charge: int, neighbours: str) -> float:
    """Return the radius of an ion in Å."""
    return float(Species(element, charge).get_shannon_radius(neighbours, radius_type="ionic"))


def candidates() -> Iterator[tuple[str, Atoms]]:
    """Yield name and crystal."""
    oxygen = radius("O", -2, "II")
    ions = [(name, charge) for charge, names in B_SITE.items() for name in names.split()]
    for charge, names in A_SITE.items():
        for A, pair in itertools.product(names.split(), itertools.combinations_with_replacement(ions, 2)):
            if charge * 2 + pair[0][1] + pair[1][1] != 12:
                continue
            bonds = [radius(*ion, "VI") + oxygen for ion in pair]
            tolerance = (radius(A, charge, "XII") + oxygen) / np.sqrt(2) / np.mean(bonds)
            if not 0.85 < tolerance < 1.1:
                continue
            a, x = 2 * sum(bonds), bonds[0] / sum(bonds) / 2  # O stands nearer to the smaller of the two
            (first, _), (second, _) = pair
            if first == second:
                places, cell = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], [a / 2] * 3 + [90] * 3
                yield f"{A}{first}O3", crystal([A, first, "O"], places, spacegroup=221, cellpar=cell)
            else:
                places, cell = [(0.25, 0.25, 0.25), (0, 0, 0), (0.5, 0, 0), (x, 0, 0)], [a] * 3 + [90] * 3
                ordered = [A, first, second, "O"]
                yield (
                    f"{A}2{first}{second}O6",
                    crystal(ordered, places, spacegroup=225, cellpar=cell, primitive_cell=True),
                )


folder = Path("oxides")
folder.mkdir(exist_ok=True)
for name, atoms in itertools.islice(candidates(), 4 if SMALL else None):
    write(folder / f"{name}.cif", atoms)
print(len(list(folder.glob("*.cif"))), "oxides")

# %%
# ## One command
#
# In the shell: `equivar response screen oxides --rank anomaly -o screen`. `screen/screen.html` is a page
# that sorts. The anomaly is the largest singular value of a charge over the nominal charge, which pymatgen
# guesses.
response(["screen", "oxides", "--rank", "anomaly", "-o", "screen"])
table = Path("screen/screen.csv").read_text().splitlines()
rows = [row for row in csv.DictReader(table) if row["anomaly"]]
for row in rows[:5]:
    print(row["formula"], row["anomaly"], row["anomaly_element"], row["warnings"] or "no warning")

# %%
# ## Read it with its uncertainty
#
# The extremes of a ranking are where errors gather. The standard deviation of the largest charge, over the
# charge, says how far to trust a place in the list. A warning says what the crystal is too far from.
anomaly = np.array([float(row["anomaly"]) for row in rows])
relative = np.array([float(row["charge_std_max_e"]) / float(row["largest_charge_e"]) for row in rows])
warned = np.array([bool(row["warnings"]) for row in rows])

# %%
# ## The picture
#
# The largest charges are those of O between cations without d electrons: Nb, Ta, Ti and W, whose d orbitals
# mix with the p orbitals of O. Crystals of the others, such as Sn, Ge, Sb, Te and Al, have smaller ones. With
# W the network is least sure, at 4 to 22 %.
KINDS = {"W": "W", "Nb or Ta": "Nb|Ta", "Ti": "Ti", "Zr or Hf": "Zr|Hf", "none of them": ""}
kinds = np.array([next(kind for kind, sign in KINDS.items() if re.search(sign, row["file"])) for row in rows])
with mpl.rc_context(STYLE):
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for kind, colour in zip(KINDS, [*COLOURS[:4], "0.6"], strict=True):
        for chosen, fill in (((kinds == kind) & ~warned, colour), ((kinds == kind) & warned, "none")):
            axes.semilogy(anomaly[chosen], 100 * relative[chosen], "o", ms=4, mec=colour, mfc=fill)
        axes.plot([], [], "o", ms=5, color=colour, label=kind)
    axes.plot([], [], "o", ms=5, mec="0.3", mfc="none", label="warned of")
    axes.set(xlabel="largest charge over nominal charge", ylabel="standard deviation of a charge (%)")
    axes.set_title(f"{len(rows)} perovskites, by the cation on B")
    figure.legend(loc="outside right center")
    save_figure(figure, Path("screening_oxides.png"))
