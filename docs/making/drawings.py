"""Pictures of the site that no command draws; `docs/gallery.py` runs them."""

import csv
import functools
from pathlib import Path

import matplotlib as mpl
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from values import load as results
from values import look_up

from equivar_jax import load
from equivar_jax.datasets.textbook import TRACE, textbook_crystals
from equivar_jax.figures import COLOURS, STYLE, save_figure

BLUE, ORANGE, GREEN, RED, SKY = COLOURS[:5]


def styled(width: float, height: float, panels: int = 1):
    """Decorate a function that draws into axes, so that it writes a file of its name."""

    def decorate(draw):
        @functools.wraps(draw)
        def make() -> Path:
            with mpl.rc_context(STYLE):
                figure = Figure(figsize=(width, height), layout="constrained")
                axes = figure.subplots(1, panels, squeeze=False)[0]
                draw(*axes)
                save_figure(figure, path := Path(f"{draw.__name__}.png"))
            return path

        return make

    return decorate


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


@styled(4.8, 3.1)
def frames(axes: Axes) -> None:
    """Draw errors against the number of frames trained on, from the results of the benchmark."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in results("accuracy/real_finetune.json")["rows"]:
        number, start, _ = row["label"].split(", ")
        sizes = found.setdefault(start, {})
        sizes.setdefault(int(number.split()[0]), []).append(row["tests"]["test"]["overall"]["mae"])
    taught_rows = results("accuracy/real_taught.json")["rows"]
    names = {"shipped weights": "weights of the package, fine-tuned", "from scratch": "bm3_deep.py, fresh"}
    for (start, name), colour, marker in zip(names.items(), (BLUE, ORANGE), "os", strict=True):
        sizes = sorted(found[start])
        means = [np.mean(found[start][size]) for size in sizes]
        axes.plot(sizes, means, marker, ls="-", ms=4, lw=1, color=colour, label=name)
    errors = [
        row["tests"]["test"]["overall"]["mae"]
        for row in taught_rows
        if row["label"].startswith("BaTiO3-300K, BM3 taught") and "mean of" not in row["label"]
    ]
    axes.plot([47] * len(errors), errors, "D", ms=4, color=GREEN, label="taught")
    axes.set(xlabel="frames trained on", ylabel="MAE on 12 other frames (e)", ylim=(0, None))
    axes.set_title("BaTiO3 at 300 K, 135 atoms")
    axes.legend(loc="upper right")


@styled(5.4, 3.0)
def taught(axes: Axes) -> None:
    """Draw errors on the frames of BaTiO3 that were held out, from the results of the benchmarks."""
    rows = results("accuracy/real_targets.json")["rows"] + results("accuracy/real_taught.json")["rows"]
    rows += results("accuracy/real_teacher.json")["rows"]
    found: dict[str, list[float]] = {}
    for row in rows:
        name, _, rest = row["label"].partition(", ")
        if name == "BaTiO3-300K" and "mean of" not in rest:
            found.setdefault(rest.partition(", seed")[0], []).append(row["tests"]["test"]["overall"]["mae"])
    names = {
        "BM1": "BM1",
        "BM2": "BM2",
        "BM3": "bm3_deep",
        "BM3 taught": "bm3_deep,\ntaught",
        "teacher": "its teacher\n(four networks)",
    }
    kept = [(names[key], values) for key, values in found.items() if key in names]
    axes.bar(range(len(kept)), [np.mean(values) for _, values in kept], 0.6, color=SKY)
    for x, (_, values) in enumerate(kept):
        axes.plot([x] * len(values), values, ".", color=BLUE)
        axes.annotate(
            f"{np.mean(values):.4f}",
            (x, max(values)),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
        )
    axes.set_xticks(range(len(kept)), [name for name, _ in kept])
    axes.tick_params(bottom=False, top=False)
    axes.set(ylabel="MAE (e)", title="12 frames of BaTiO3 at 300 K, 47 trained on", ylim=(0, 0.05))


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


@styled(4.8, 3.0)
def scaling(axes: Axes) -> None:
    """Draw time against size, from the results of the benchmark."""
    for name, colour, marker in (("bm1.py", BLUE, "o"), ("bm2.py", ORANGE, "s")):
        rows = look_up("scaling.json", f'results."{name}".inference')
        rows = sorted((row for row in rows if row["family"] == "perovskite"), key=lambda row: row["atoms"])
        sizes = np.array([row["atoms"] for row in rows])
        seconds = sizes * np.array([row["median_ms_per_atom"] for row in rows]) / 1000
        axes.loglog(
            sizes,
            seconds,
            marker,
            ls="-",
            ms=3.5,
            lw=0.8,
            color=colour,
            label=name.removesuffix(".py").upper(),
        )
    axes.set(xlabel="atoms", ylabel="seconds, two CPU cores", title="Inference, perovskites")
    axes.legend()


@styled(4.8, 3.0)
def infrared_barium_titanate(axes: Axes) -> None:
    """Draw the spectrum of BaTiO3 by dynamics, from its result file, with measured resonances."""
    found = results("infrared_barium_titanate.json")
    wavenumbers, absorption = (np.array(column) for column in found["spectrum"][:2])
    axes.plot(wavenumbers, absorption / 1e5, color=BLUE, label="SevenNet-0, charges of the package")
    for number, place in enumerate(found["measured"]["resonances_per_cm"]):
        label = None if number else "resonances fitted to reflectivity"
        axes.axvline(place, color=ORANGE, ls="--", lw=0.9, label=label)
    axes.set(xlabel="Wavenumber (cm⁻¹)", ylabel="Absorption (10⁵ cm⁻¹)", xlim=(0, 750))
    axes.legend()


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


def network() -> Path:
    """Draw the way from a structure to tensors."""
    boxes = (
        ("structure", "elements,\npositions, cell"),
        ("graph", "every image\nwithin the cutoff"),
        ("embedding", "a vector for\neach element: 0e"),
        ("interactions", "0e + 1o +\n1e + 2e,\nf channels"),
        ("readout", "0e + 1e + 2e\nto 3 × 3"),
        ("sum rule", r"$\sum_i Z_i = Q\,1$"),
    )
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "svg.hashsalt": "network"}):
        figure = Figure(figsize=(9.2, 2.6))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 9.2), ylim=(0, 2.6))
        axes.axis("off")
        for k, (title, text) in enumerate(boxes):
            x, colour = 0.15 + 1.52 * k, ORANGE if title == "interactions" else BLUE
            axes.add_patch(
                mpl.patches.FancyBboxPatch(
                    (x, 1.25), 1.2, 1.0, "round,pad=0.02", fc="white", ec=colour, lw=1.4
                )
            )
            axes.text(x + 0.6, 2.02, title, ha="center", weight="bold", color=colour, fontsize=11)
            axes.text(x + 0.6, 1.6, text, ha="center", va="center", fontsize=8.6)
            if k:
                axes.annotate(
                    "", (x - 0.03, 1.75), (x - 0.29, 1.75), arrowprops={"arrowstyle": "->", "lw": 1.2}
                )
        axes.text(
            4.6,
            0.55,
            r"$x_i' = x_i + W\,\frac{1}{\sqrt{N}}\;\sum_j\;\sum_p\;"
            r"C_p\,x_j\;\rho_{ij}^{\,l}\;Y_l(\hat r_{ij})$",
            ha="center",
            fontsize=13,
        )
        axes.annotate("", (5.3, 1.2), (5.0, 0.85), arrowprops={"arrowstyle": "->", "color": ORANGE})
        return _vector(figure, "network")


def factored() -> Path:
    """Draw the work of the plain and of the factored form."""
    plain = (
        ("for each edge:\nClebsch-Gordan\nproduct", RED),
        ("stored: edges ×\ncomponents ×\nchannels", RED),
        ("summed over\nedges", BLUE),
        ("for each node:\nmix channels", GREEN),
    )
    outer = ("for each edge:\nouter product x ρ Y,\nsummed in registers", BLUE)
    nodes = (("for each node:\nClebsch-Gordan", GREEN), ("for each node:\nmix channels", GREEN))
    return _rows("factored", {"plain": plain, "factored": (outer, *nodes)})


def derivative_form() -> Path:
    """Draw how tensors come from features: read out, or as derivatives of a polarisation."""
    features = ("features of\nevery atom", BLUE)
    direct = (features, ("read out:\n0e + 1e + 2e", GREEN), ("Z, less its mean:\nsum rule", RED))
    derived = (
        features,
        ("dipole μ of an atom,\ncharge q of an element", GREEN),
        ("V P =\nΣ μ + q u", GREEN),
        ("Z = V ∂P/∂u:\nsum rule exact", RED),
    )
    return _rows("derivative_form", {"direct": direct, "polarisation": derived})


def _rows(name: str, rows: dict[str, tuple[tuple[str, str], ...]]) -> Path:
    """Draw rows of boxes with arrows between them; each has a text and a colour."""
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "svg.hashsalt": name}):
        figure = Figure(figsize=(9.2, 2.6))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 9.2), ylim=(0, 2.6))
        axes.axis("off")
        for row, (title, steps) in enumerate(rows.items()):
            y, width = 1.45 - 1.25 * row, 7.9 / len(steps)
            axes.text(0.05, y + 0.5, title, va="center", weight="bold", fontsize=11)
            for k, (text, colour) in enumerate(steps):
                x = 1.25 + k * width
                box = mpl.patches.FancyBboxPatch(
                    (x, y), width - 0.35, 1.0, "round,pad=0.02", fc="white", ec=colour, lw=1.4
                )
                axes.add_patch(box)
                middle = x + width / 2 - 0.175
                axes.text(middle, y + 0.5, text, ha="center", va="center", fontsize=9.5, color=colour)
                if k:
                    ends = (x - 0.03, y + 0.5), (x - 0.32, y + 0.5)
                    axes.annotate("", *ends, arrowprops={"arrowstyle": "->", "lw": 1.2})
        return _vector(figure, name)


def _vector(figure: Figure, name: str) -> Path:
    path = Path(f"{name}.svg")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path
