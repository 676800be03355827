"""The rows of the benchmark on a GPU: what is measured, in which order, and at which sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks.gpu.measure import (
    Measure,
    measure_copy,
    measure_crystal,
    measure_epoch,
    measure_one_layer,
    prepare_network,
)


class Row(NamedTuple):
    """One line of the tables."""

    name: str
    """Unique, such as "network bm1.py 4000 inference"."""
    about: dict[str, Any]
    """What is measured: `table`, `config`, `atoms` and the like; known whether it was measured or not."""
    prepare: Callable[[], Measure]
    """Compiles, with the rows of its group side by side, and returns what measures."""


class Group(NamedTuple):
    """Rows that are prepared side by side and measured one after the other."""

    rows: tuple[Row, ...]
    seconds: float
    """With less time left the group is not begun. A guess for an H200, from no measurement."""


class Sizes(NamedTuple):
    """How large everything is."""

    copied_bytes: int
    atoms: tuple[int, ...]
    """Of the batches of BM1 and BM2, the smallest first."""
    atoms_of_others: tuple[int, ...]
    """Of the batches of BM3 and of the polarisation form."""
    structures_of_layer: int
    crystals: tuple[int, ...]
    """Atoms of one crystal, for Fig. S2 of the paper."""
    sets: tuple[int, ...]
    """Structures of a training set, for Fig. S3."""
    giant: int
    """Atoms of the largest crystal."""
    repeats: int
    network: dict[str, int]
    """Settings of the networks that are changed."""
    layers: tuple[str, ...]
    """Configs whose width the layer beside other libraries has."""


FULL = Sizes(
    copied_bytes=2**31,
    atoms=(4_000, 20_000, 100_000),
    atoms_of_others=(4_000,),
    structures_of_layer=200,
    crystals=(20, 1_280, 10_000, 100_000),
    sets=(32, 512),
    giant=10_000_000,
    repeats=7,
    network={},
    layers=("bm1.py", "bm2.py"),
)
TINY = Sizes(
    copied_bytes=2**20,
    atoms=(40,),
    atoms_of_others=(20,),
    structures_of_layer=1,
    crystals=(20,),
    sets=(2,),
    giant=160,
    repeats=1,
    network={"channels": 8, "interactions": 1},
    layers=("test.py",),
)
SMALL = ("bm1.py", "bm2.py")
OTHERS = ("bm3.py", "bm4.py")
COPY = "copy"


def make_groups(sizes: Sizes) -> list[Group]:
    """Return all rows, what matters most first."""
    copy = Row(COPY, {"table": "rates", "bytes": sizes.copied_bytes}, lambda: partial(measure_copy, sizes))
    first, *larger = sizes.atoms
    groups = [
        Group((copy,), 5),
        Group(_network_rows(SMALL, (first,), sizes), 60),
        Group(_network_rows(SMALL, larger, sizes), 90),
        Group(_network_rows(OTHERS, sizes.atoms_of_others, sizes), 90),
    ]
    groups += [Group((_layer_row(name, sizes),), 45) for name in sizes.layers]
    groups.append(Group((_crystal_row("giant", "bm2.py", sizes.giant, sizes),), 90))
    for name in SMALL:
        groups += [Group((_crystal_row("S2", name, atoms, sizes),), 10) for atoms in sizes.crystals]
        groups += [Group((_epoch_row(name, count, sizes),), 20) for count in sizes.sets]
    groups.append(Group((_crystal_row("giant", "bm1.py", sizes.giant, sizes),), 90))
    return [group for group in groups if group.rows]


def _network_rows(
    names: tuple[str, ...], atoms: tuple[int, ...] | list[int], sizes: Sizes
) -> tuple[Row, ...]:
    """Return a row for inference and one for a step of training, of each network at each size."""
    return tuple(
        Row(
            f"network {name} {count} {kind}",
            {"table": "networks", "config": name, "atoms": count, "kind": kind},
            partial(prepare_network, name, count, kind, sizes),
        )
        for count in atoms
        for name in names
        for kind in ("inference", "training")
    )


def _layer_row(name: str, sizes: Sizes) -> Row:
    about = {"table": "layers", "config": name, "atoms": 20 * sizes.structures_of_layer}
    return Row(f"layer {name}", about, lambda: partial(measure_one_layer, name, sizes))


def _crystal_row(table: str, name: str, atoms: int, sizes: Sizes) -> Row:
    about = {"table": table, "config": name, "atoms": atoms}
    again = table == "S2"
    return Row(f"{table} {name} {atoms}", about, lambda: partial(measure_crystal, name, atoms, again, sizes))


def _epoch_row(name: str, count: int, sizes: Sizes) -> Row:
    about = {"table": "S3", "config": name, "structures": count}
    return Row(f"S3 {name} {count}", about, lambda: partial(measure_epoch, name, count, sizes))
