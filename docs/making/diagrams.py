"""Diagrams of the site, without numbers; `docs/gallery.py` runs them."""

from pathlib import Path

import matplotlib as mpl
from canvas import BLUE, GREEN, ORANGE, RED
from matplotlib.figure import Figure

from equivar_jax.figures import STYLE


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
