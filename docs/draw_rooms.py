"""Draw the rooms of the package on their floors, from its imports: `python docs/draw_rooms.py`.

The floors are those of the contract in `pyproject.toml`. The arrows are the imports that grimp finds in code,
the thicker the more; an arrow that a chain of others implies is left out, and so is the ground floor.
"""

import tomllib
from collections import Counter
from pathlib import Path

import grimp
import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("rooms.svg")
WIDTH, FLOOR, BOX = 12.0, 0.95, 0.5
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")


def read_floors() -> list[list[str]]:
    """Read the rooms of each floor, the top floor first, from the contract of import-linter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one.get("containers") == ["equivar_jax"])
    return [layer.replace(":", "|").replace(" ", "").split("|") for layer in layers]


def count_imports(rooms: set[str]) -> Counter[tuple[str, str]]:
    """Count the imports from each room into each other room."""
    graph = grimp.build_graph("equivar_jax", exclude_type_checking_imports=True)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            upper, lower = (f"{name}.".split(".")[1] for name in (module, imported))
            if upper != lower and {upper, lower} <= rooms:
                found[upper, lower] += 1
    return found


def leave_out_implied(imports: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Keep the imports that no chain of other imports implies (the transitive reduction)."""
    below: dict[str, set[str]] = {}
    for upper, lower in imports:
        below.setdefault(upper, set()).add(lower)

    def reached(room: str) -> set[str]:
        return below.get(room, set()).union(*(reached(other) for other in below.get(room, ())))

    return Counter(
        {
            (upper, lower): number
            for (upper, lower), number in imports.items()
            if not any(lower in reached(other) for other in below[upper] - {lower})
        }
    )


def width_of(room: str) -> float:
    """Return the width of a box that its name fits into."""
    return 0.16 + 0.105 * len(room)


def place_rooms(floors: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Choose the centre of each room: floors from the top down, rooms of one floor with equal gaps."""
    places = {}
    for level, floor in enumerate(floors):
        gap = (WIDTH - sum(map(width_of, floor))) / len(floor)
        left = gap / 2 + (0.0 if len(floor) > 1 else 0.16 * WIDTH * (-1) ** level)
        for room in floor:
            places[room] = (left + width_of(room) / 2, (len(floors) - level - 0.5) * FLOOR)
            left += width_of(room) + gap
    return places


def draw(floors: list[list[str]], imports: Counter[tuple[str, str]]) -> Figure:
    """Draw boxes and arrows; every room imports from the ground floor, so that is left out."""
    places = place_rooms(floors)
    height = FLOOR * len(floors)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    for (upper, lower), number in imports.items():
        (x, y), (u, v) = places[upper], places[lower]
        level = next(k for k, floor in enumerate(floors) if upper in floor)
        arrow = FancyArrowPatch(
            (x, y - BOX / 2),
            (u, v + BOX / 2),
            arrowstyle="-|>",
            mutation_scale=10,
            linewidth=0.6 + min(number, 12) / 8,
            color=COLOURS[level % len(COLOURS)],
            alpha=0.8,
        )
        axes.add_patch(arrow)
    for room, (x, y) in places.items():
        wide = width_of(room)
        box = FancyBboxPatch(
            (x - wide / 2, y - BOX / 2),
            wide,
            BOX,
            boxstyle="round,pad=0.02",
            facecolor="white",
            edgecolor="black",
        )
        axes.add_patch(box)
        axes.text(x, y, room, ha="center", va="center", fontsize=9)
    return figure


def main() -> None:
    """Write the picture beside this file."""
    floors = read_floors()
    above_ground = {room for floor in floors[:-1] for room in floor}
    imports = leave_out_implied(count_imports(above_ground))
    with mpl.rc_context({"svg.hashsalt": "rooms", "svg.fonttype": "none"}):  # the same code, the same file
        draw(floors, imports).savefig(PICTURE, metadata={"Date": None})
    print(f"written: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
