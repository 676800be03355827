"""Screening oxides for anomalous charges.

An ion whose Born charge is far above its nominal one answers to fields more strongly than it should: the
mark of ferroelectrics and of strong infrared lines. Charges need no forces, so that a screening is fast;
what it says must be read beside its uncertainty.
"""

import csv
import os
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase.build import bulk
from ase.io import write
from ase.spacegroup import crystal
from matplotlib.figure import Figure

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.__main__ import main as response

SMALL = bool(os.environ.get("SMALL"))

# %%
# ## Candidates
#
# Cubic perovskites and simple oxides with measured or estimated lattice constants in Å. Yours may be a
# folder of CIF files of any size.
PEROVSKITES = {
    "SrTiO3": 3.905, "BaTiO3": 4.00, "CaTiO3": 3.85, "PbTiO3": 3.97, "SrZrO3": 4.10, "BaZrO3": 4.19,
    "KNbO3": 4.02, "NaNbO3": 3.94, "KTaO3": 3.99, "LaAlO3": 3.79, "BaHfO3": 4.17, "CaZrO3": 4.02,
}  # fmt: skip
ROCK_SALTS = {"MgO": 4.21, "CaO": 4.81, "SrO": 5.16, "BaO": 5.54, "CdO": 4.70}
folder = Path("oxides")
folder.mkdir(exist_ok=True)
sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
for name, a in list(PEROVSKITES.items())[: 2 if SMALL else None]:
    elements = re.findall("[A-Z][a-z]?", name)
    write(folder / f"{name}.cif", crystal(elements, sites, spacegroup=221, cellpar=[a] * 3 + [90] * 3))
for name, a in list(ROCK_SALTS.items())[: 1 if SMALL else None]:
    write(folder / f"{name}.cif", bulk(name, "rocksalt", a=a))

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
# charge, says how far to trust a place in the list; likely metals (CdO is a degenerate semiconductor)
# deserve a second look.
anomaly = np.array([float(row["anomaly"]) for row in rows])
relative = np.array([float(row["charge_std_max_e"]) / float(row["largest_charge_e"]) for row in rows])
warned = np.array([bool(row["warnings"]) for row in rows])

# %%
# ## The picture
with mpl.rc_context(STYLE):
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for chosen, colour, marker, label in (
        (~warned, COLOURS[0], "o", "no warning"),
        (warned, COLOURS[3], "s", "warned of"),
    ):
        axes.plot(anomaly[chosen], 100 * relative[chosen], marker, color=colour, ms=5, label=label)
    placed: list[tuple[float, float]] = []
    for row, x, y in sorted(zip(rows, anomaly, 100 * relative, strict=True), key=lambda one: one[2]):
        height = y
        while any(abs(x - left) < 0.55 and abs(height - low) < 0.11 for left, low in placed):
            height += 0.02  # so that no two names lie on each other
        placed.append((x, height))
        axes.annotate(Path(row["file"]).stem, (x, y), (x + 0.06, height), fontsize=6.5, va="center")
    axes.set(xlabel="largest charge over nominal charge", ylabel="standard deviation of a charge (%)")
    axes.margins(x=0.12, y=0.1)
    axes.legend()
    save_figure(figure, Path("screening_oxides.png"))
