"""Turn files into the training and validation parts of a run: read, set aside, divide, build graphs.

Each stage is kept in the cache under a key made of content, settings and code, so that the second run of a
configuration opens its data at once.
"""

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from equivar_jax.cache import cache_directory, code_version, content_key
from equivar_jax.config.schema import Config, DataConfig
from equivar_jax.datasets.demonstration.dataset import demonstration_set
from equivar_jax.datasets.set_aside import drop_refused, find_overlap
from equivar_jax.datasets.splits import split
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.graph_table import SampleTable, cached_samples
from equivar_jax.hygiene import Finding
from equivar_jax.io import files_that_decide, scan_structures
from equivar_jax.progress import announce_if_slow
from equivar_jax.storage.structure_table import StructureTable, cached_table
from equivar_jax.structures import born_effective_charges, epsilon_inf, source


class LabelledStructures(NamedTuple):
    """The labelled structures of a file, folder or glob, and a record of everything else in it."""

    structures: StructureTable
    """The structures with Born effective charges."""
    unreadable: list[InputError]
    """The errors of frames and files that cannot be used."""
    unlabelled: int
    """Number of structures without Born effective charges."""


@dataclass(frozen=True)
class Dataset:
    """The training and validation parts of a run, and a record of the structures in neither."""

    training: SampleTable
    validation: SampleTable
    findings: list[Finding]
    """Findings about structures that hygiene set aside or only reports, each with its reason."""
    unlabelled: int
    """Number of structures without Born effective charges."""
    remarks: tuple[str, ...] = ()
    """What the user should know about the data and their division."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the training part, in rising order."""
        return tuple(self.training.structures.elements.tolist())

    @property
    def statistics(self) -> dict[str, int | float]:
        """Numbers of structures, atoms and edges of the training part, and the mean number of neighbours."""
        sizes = self.training.sizes
        atoms, edges = int(sizes.atoms.sum()), int(sizes.edges.sum())
        return {
            "structures": len(self.training),
            "atoms": atoms,
            "edges": edges,
            "mean_neighbours": edges / atoms,
        }


def read_labelled(data: DataConfig, path: str | None) -> LabelledStructures:
    """Read the labelled structures of a file, folder or glob; without a path, make the demonstration set.

    Raises:
        InputError: the only file named cannot be read, or no structure has a label.
    """
    if path is None:
        return LabelledStructures(demonstration_set(**dataclasses.asdict(data.demonstration)), [], 0)
    unreadable: list[str] = []
    without: list[tuple[str, str]] = []

    def scan_labelled() -> Iterator[Atoms]:
        for atoms in scan_structures(path, data.key, data.first_index):
            if isinstance(atoms, InputError):
                unreadable.append(str(atoms))
            elif born_effective_charges(atoms) is None:
                columns = ", ".join(sorted(set(atoms.arrays) - {"numbers", "positions"})) or "none"
                without.append((source(atoms), columns))
            else:
                yield atoms

    options = f"{data.key} {data.first_index}"
    with announce_if_slow(f"reading {path}"):
        table = cached_table(
            _cache_folder("structures", path, options),
            f"{content_key(files_that_decide(path))} {options} {code_version('io', *_STRUCTURE_CODE)}",
            scan_labelled,
            lambda: {"unreadable": unreadable, "unlabelled": len(without), "first unlabelled": without[:1]},
        )
    notes = table.columns.notes
    if len(table) == 0 and notes["unlabelled"]:
        (where, columns), *_ = notes["first unlabelled"]
        raise InputError(
            f"{where}: no Born effective charges, nor in any other structure of {path} (columns there: "
            f"{columns}); name the column with --data.key (in evaluation --key)"
        )
    if len(table) == 0:
        raise InputError(notes["unreadable"][0])
    return LabelledStructures(table, [InputError(text) for text in notes["unreadable"]], notes["unlabelled"])


_STRUCTURE_CODE = ("structures.py", "storage")
_GRAPH_CODE = ("graphs/graph.py", "graphs/graph_table.py", *_STRUCTURE_CODE)


def load_structures(data: DataConfig, path: str | None) -> StructureTable:
    """Read the labelled structures as `read_labelled` does, and print what is left out to standard error.

    Returns:
        The structures with Born effective charges.
    """
    found = read_labelled(data, path)
    if found.unreadable:
        print(
            f"set aside: {len(found.unreadable)} unreadable, such as {found.unreadable[0]}", file=sys.stderr
        )
    if found.unlabelled:
        print(f"skipped: {found.unlabelled} without Born effective charges", file=sys.stderr)
    return found.structures


def make_samples(structures: Sequence[Atoms], cutoff: float) -> list[Sample]:
    """Build the graph of every structure and pair it with its label, in memory.

    Raises:
        InputError: no graph can be built from a structure.
    """
    return [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]


def load_dataset(config: Config) -> Dataset:
    """Read the data, set aside bad structures, divide them and build graphs, as the config says.

    Raises:
        InputError: the data cannot be used, a part is empty, or the network's table has no row for an
            element.
    """
    data = config.data
    if data.validation_path is not None and (data.folds is not None or data.split_path is not None):
        raise InputError("--data.validation_path leaves nothing to divide; leave out folds and split_path")
    source = read_checked(data, data.path)
    samples = _load_samples(source.structures, config)
    findings, remarks, unlabelled = source.findings, [source.warning], source.unlabelled
    if data.validation_path is None:
        parts = split(source.structures, data)
        training, validation = samples.subset(parts.training), samples.subset(parts.validation)
        remarks.append(parts.note)
    else:
        other = read_checked(data, data.validation_path)
        training, validation = samples, _load_samples(other.structures, config)
        findings, unlabelled = findings + other.findings, unlabelled + other.unlabelled
        remarks.append(other.warning)
    if data.hygiene.enabled and data.path is not None:
        overlap = find_overlap(training.structures, validation.structures, data.hygiene)
        findings = findings + overlap
        left_out = {finding.index for finding in overlap if finding.refused}
        kept = [k for k in range(len(validation)) if k not in left_out]
        if not kept and left_out:
            raise InputError(
                f"all {len(validation)} structures to validate on are in the training part, too "
                f"({overlap[0].source}: {overlap[0].reason}); give others, or --data.hygiene.enabled False"
            )
        validation = validation.subset(kept)
    if not len(training) or not len(validation):
        raise InputError("the training or the validation part is empty; give some structures for both")
    if config.model.dielectric:
        remarks.append(_count_dielectric_labels(training, validation))
    return Dataset(training, validation, findings, unlabelled, tuple(filter(None, remarks)))


class CheckedData(NamedTuple):
    """The structures of a file, folder or glob without those that hygiene refuses."""

    structures: StructureTable
    findings: list[Finding]
    unlabelled: int
    warning: str = ""


def read_checked(data: DataConfig, path: str | None) -> CheckedData:
    """Read labelled structures and set aside those that hygiene refuses.

    Raises:
        InputError: nothing can be read, nothing is left, or hygiene is off and something is unreadable.
    """
    found = read_labelled(data, path)
    if path is None:  # the demonstration set needs no check
        return CheckedData(found.structures, [], 0)
    if not data.hygiene.enabled:
        if found.unreadable:
            raise found.unreadable[0]
        return CheckedData(found.structures, [], found.unlabelled)
    checked = drop_refused(found.structures, found.unreadable, data.hygiene)
    return CheckedData(checked.kept, checked.findings, found.unlabelled, checked.warning)


def _load_samples(structures: StructureTable, config: Config) -> SampleTable:
    """Return the graphs of structures from the cache, or build them now."""
    highest, cutoff = int(structures.elements.max(initial=0)), config.model.cutoff
    if highest >= config.model.species:
        raise InputError(
            f"atomic number {highest} does not fit a table of {config.model.species}; "
            f"use --model.species {highest + 1}"
        )
    rows = hashlib.sha256(structures.chosen.tobytes()).hexdigest()
    folder = _cache_folder("graphs", str(structures.columns.folder), f"{cutoff}")
    key = f"{structures.columns.key} {rows} {cutoff} {code_version(*_GRAPH_CODE)}"
    with announce_if_slow(f"building the graphs of {len(structures):,} structures"):
        return cached_samples(folder, key, structures, cutoff)


def _count_dielectric_labels(training: SampleTable, validation: SampleTable) -> str:
    """Count the electronic dielectric tensors of both parts, and those that cannot be used.

    Returns:
        A remark for the user with these counts.

    Raises:
        InputError: a part has no usable tensor.
    """
    refused, counts = [], {"training": 0, "validation": 0}
    for name, part in zip(counts, (training, validation), strict=True):
        usable = part.has_dielectric
        counts[name] = int(usable.sum())
        for place in np.flatnonzero(~usable):
            try:
                epsilon_inf(part.structures[int(place)])
            except InputError as error:
                refused.append(str(error))
    left_out = f"; left out {len(refused):,}, such as {refused[0]}" if refused else ""
    for name, count in counts.items():
        if not count:
            raise InputError(
                f"the {name} part has no dielectric tensor in info['epsilon_inf']{left_out}; give some, or "
                "train with --model.dielectric False"
            )
    return (
        f"dielectric tensors: {counts['training']:,} training, {counts['validation']:,} validation{left_out}"
    )


def _cache_folder(kind: str, path: str, options: str) -> Path:
    """Return the cache folder of a file and its settings.

    The same file and settings have one folder, so new content replaces the old.
    """
    name = hashlib.sha256(f"{Path(path).absolute()} {options}".encode()).hexdigest()
    return cache_directory() / f"{kind}-{name[:16]}"
