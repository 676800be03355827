"""Pictures of the site for which something is predicted or computed; `docs/gallery.py` runs them."""

import csv
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from canvas import BLUE, ORANGE, RED, SKY, styled
from matplotlib.axes import Axes

from equivar_jax import load
from equivar_jax.datasets.textbook import TRACE, textbook_crystals


def titanate(shift: float = 0.0) -> Atoms:
    """Make cubic BaTiO3, with Ti moved along z by so many Å."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = Atoms("BaTiO3", scaled_positions=places, cell=[4.0] * 3, pbc=True)
    atoms.positions[1, 2] += shift
    return atoms


@styled(5.6, 3.3)
def charges(axes: Axes) -> None:
    """Draw predicted charges with two sigma, published ones, and nominal ones."""
    nominal = {"Na": 1, "Cl": -1, "Mg": 2, "O": -2, "Zn": 2, "Ga": 3, "N": -3, "Sr": 2, "Ba": 2, "Ti": 4}
    wanted = ("NaCl", "MgO", "ZnO", "GaN", "cubic SrTiO3", "cubic BaTiO3")
    model, labels = load("shipped"), []
    for crystal in (one for name in wanted for one in textbook_crystals() if one.name == name):
        atoms = crystal.build()
        Z, sigma = model.predict(atoms, uncertainty=True)
        for site in dict.fromkeys(reference.site for reference in crystal.references):
            known = [one for one in crystal.references if one.site == site and one.confirmed]
            known = [one for one in known if one.component == (known[0].component if known else TRACE)]
            if not known:
                continue
            atom, name = known[0].atom, known[0].component
            place = [0, 1, 2] if name == TRACE else ["xyz".index(name[0])]
            value = np.mean([Z[atom, k, k] for k in place])
            error = np.mean([sigma[atom, k, k] for k in place])
            x = len(labels)
            axes.errorbar(
                x,
                value,
                2 * error,
                fmt="o",
                ms=4,
                capsize=2,
                color=BLUE,
                label="predicted ± 2 sigma" if not x else None,
            )
            values = [one.value for one in known]
            axes.plot(
                [x + 0.22] * len(values), values, "_", ms=7, color=RED, label="published" if not x else None
            )
            axes.plot(
                x,
                nominal[atoms.symbols[atom]],
                "D",
                ms=3.5,
                mfc="none",
                color="0.45",
                label="nominal" if not x else None,
            )
            short = site.replace("parallel to", "∥").replace("perpendicular to", "⊥")
            labels.append(f"{short}\n{crystal.name.split()[-1]}")
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6.5)
    axes.set(ylabel="Born effective charge (e)")
    axes.tick_params(top=False)
    axes.legend(loc="upper left")


@styled(4.8, 3.2)
def selection(axes: Axes) -> None:
    """Run `equivar select` on rattled, compressed and mixed crystals, and draw what it chose."""
    from equivar_jax.__main__ import main

    folder, rng = Path("candidates"), np.random.default_rng(0)
    folder.mkdir()
    for k in range(30):
        atoms = [
            titanate(),
            bulk("MgO", "rocksalt", a=4.21, cubic=True),
            bulk("ZnS", "zincblende", a=5.41, cubic=True),
        ][k % 3]
        atoms.set_cell(atoms.cell * rng.uniform(0.93, 1.05), scale_atoms=True)
        atoms.rattle(rng.uniform(0, 0.25), seed=k)
        write(folder / f"{k:02d}.extxyz", atoms)
    main(["select", "candidates", "-n", "5", "-o", "next"])
    rows = list(csv.DictReader(Path("next/selection.csv").read_text().splitlines()))
    model = load("shipped")
    from ase.io import read

    points = {}
    for path in sorted(folder.iterdir()):
        atoms = read(path)
        sigma = model.predict(atoms, uncertainty=True)[1]
        points[path.name] = (model.domain_distance(atoms).max(), sigma.max())
    chosen = [name for name in points if any(name in " ".join(row.values()) for row in rows)]
    for names, colour, size, label in ((list(points), SKY, 5, "candidates"), (chosen, RED, 6, "chosen")):
        values = np.array([points[name] for name in names])
        axes.semilogy(
            values[:, 0],
            values[:, 1],
            "o" if label == "candidates" else "s",
            ms=size,
            color=colour,
            label=label,
        )
    axes.set(xlabel="largest distance from the training data", ylabel="largest standard deviation (e)")
    axes.legend(loc="lower right")


@styled(5.2, 3.2)
def screening(axes: Axes) -> None:
    """Run `equivar response screen --example`, and draw its ranking."""
    from equivar_jax.__main__ import main

    main(["response", "screen", "--example", "-o", "screen"])
    rows = [
        row for row in csv.DictReader(Path("screen/screen.csv").read_text().splitlines()) if row["anomaly"]
    ]
    values = [float(row["anomaly"]) for row in rows]
    colours = [RED if row["warnings"] else BLUE for row in rows]
    axes.bar(range(len(rows)), values, 0.7, color=colours)
    axes.axhline(1, color="0.5", lw=0.8, ls="--")
    axes.set_xticks(range(len(rows)), [row["formula"] for row in rows], rotation=90)
    for x, row in enumerate(rows):
        axes.annotate(
            row["anomaly_element"],
            (x, values[x]),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.bar([0], [0], color=BLUE, label="no warning")
    axes.bar([0], [0], color=RED, label="warned of")
    axes.legend()
    axes.tick_params(bottom=False, top=False)
    axes.set(
        ylabel="largest charge over nominal charge",
        title="Prototypes; the element whose charge it is",
        ylim=(0, 5.2),
    )


@styled(6.2, 2.8, 2)
def derivative(left: Axes, right: Axes) -> None:
    """Draw Z_zz of Ti in BaTiO3 as it moves along z, and its derivative by jax.grad and by differences."""
    import jax
    import jax.numpy as jnp

    from equivar_jax.graphs import graph_of
    from equivar_jax.network import born_effective_charges, displace

    model, atoms = load("shipped", member=0), titanate()
    graph = graph_of(atoms, model.network.config.cutoff)

    @jax.jit
    def charge(z):
        move = jnp.zeros((5, 3)).at[1, 2].set(z)
        return born_effective_charges(model.network, model.params, displace(graph, move))[1, 2, 2]

    places = np.linspace(-0.2, 0.2, 41, dtype=np.float32)
    values = np.array([float(charge(z)) for z in places])
    slopes = np.array([float(jax.grad(charge)(z)) for z in places])
    left.plot(places, values, color=BLUE)
    left.set(xlabel="Ti moved along z (Å)", ylabel="$Z_{zz}$ of Ti (e)", title="Cubic BaTiO$_3$")
    right.plot(places, slopes, color=BLUE, label="jax.grad")
    right.plot(
        (places[1:] + places[:-1]) / 2,
        np.diff(values) / np.diff(places),
        ".",
        ms=4,
        color=RED,
        label="differences",
    )
    right.set(xlabel="Ti moved along z (Å)", ylabel="$dZ_{zz}/dz$ (e/Å)", title="Its derivative")
    right.legend()


@styled(5.0, 3.0)
def transposition(axes: Axes) -> None:
    """Draw by how much the antisymmetric part agrees with the neighbours, as it is and transposed.

    Structures are those of the demonstration set, tensors those that the weights of the package predict.
    """
    from equivar_jax.datasets.demonstration import demonstration_set
    from equivar_jax.hygiene.surroundings import find_surroundings
    from equivar_jax.hygiene.transposition import COEFFICIENTS, axial_features, axial_vectors

    agreements, structures = [], [*demonstration_set(perovskites=60)]
    for atoms, tensors in zip(structures, load("shipped", member=0).predict(structures), strict=True):
        expected = np.einsum("k,ikc->ic", COEFFICIENTS, axial_features(find_surroundings(atoms), tensors))
        found = axial_vectors(tensors)
        norm = np.linalg.norm(expected) * np.linalg.norm(found)
        agreements.append(float(np.sum(expected * found) / norm))
    bins = np.linspace(-1, 1, 41)
    axes.hist(agreements, bins, color=BLUE, alpha=0.85, label="[field, displacement]")
    axes.hist(-np.array(agreements), bins, color=ORANGE, alpha=0.85, label="transposed")
    axes.axvline(0, color="0.6", lw=0.8)
    axes.set(xlabel="agreement of the antisymmetric parts with the neighbours", ylabel="structures")
    axes.set_title("60 distorted perovskites, predicted tensors")
    axes.legend(loc="upper center")


@styled(4.8, 3.2)
def quanta(axes: Axes) -> None:
    """Draw the polarisation of BaTiO3 along a path between its two states, with its quanta."""
    from equivar_jax.response.polarisation import SoftModeCrystal, barium_titanate, polarisation_quanta

    atoms = barium_titanate()
    calculator = SoftModeCrystal(atoms)
    pattern = np.einsum("iab,a->ib", calculator.charges, [0, 0, 1.0])
    steps = np.linspace(-1, 1, 21)
    size = calculator.spontaneous_polarisation * calculator.volume / np.sum(pattern**2)
    change = np.array([np.sum(pattern * (step * size * pattern)) for step in steps]) / calculator.volume
    unit = 1602.1766  # e/Å² in µC/cm²
    quantum = abs(polarisation_quanta(atoms)[2, 2]) * unit
    for k in range(-1, 2):
        axes.plot(
            steps, change * unit + k * quantum, color=BLUE if k == 0 else SKY, lw=1.8 if k == 0 else 1.2
        )
        axes.plot(
            steps[[0, -1]], change[[0, -1]] * unit + k * quantum, "o", ms=4, color=BLUE if k == 0 else SKY
        )
    axes.annotate("", (0.02, quantum), (0.02, 0), arrowprops={"arrowstyle": "<->", "color": RED})
    axes.text(0.06, quantum / 2, f"quantum e R/V = {quantum:.0f} µC/cm²", color=RED, va="center", fontsize=8)
    axes.set(
        xlabel="share of the polar displacement", ylabel="polarisation (µC/cm²)", title="Model BaTiO$_3$"
    )
