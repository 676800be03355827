"""Read and use a network that `equivar export` wrote, with JAX and NumPy alone.

This file is a part of every such archive and imports nothing of equivar_jax. The archive is a zip file:
`metadata.json`, this file, and for each function the bytes that `jax.export.deserialize` takes, for which JAX
needs the package flatbuffers. Python can import from a zip file:

    import sys
    sys.path.insert(0, "model.jaxexport")
    from exported_reader import find_neighbours, read_exported

    model = read_exported("model.jaxexport")
    vectors, neighbours = find_neighbours(positions, cell, model.cutoff)
    Z = model.charges(vectors, neighbours, species)       # may stand inside jax.jit, jax.vjp and jax.grad

Inputs of every function, for N atoms with room for K neighbours each, both any number from 1 on:

    vectors     float [N, K, 3]  from each atom to its neighbours in Å; anything finite where there are none
    neighbours  int32 [N, K]     number of the neighbouring atom; N, or another outside 0 to N - 1, where none
    species     int32 [N]        atomic numbers; 0 is padding, which must come after the atoms
    charge      float []         net charge of the cell in e

Every periodic image within the cutoff is a neighbour of its own, those of the atom itself, too; what is
farther away is left out, so that a list may have a skin. `charges` returns [N, 3, 3] in e: atom, direction of
the electric field, direction of the displacement. The sum over the atoms is `charge` times the identity.
The force of a field E in V/Å on atom i is, in eV/Å,

    F[i, b] = sum_a E[a] Z[i, a, b]

Positions enter by the vectors: with `positions[neighbours] + shifts - positions[:, None]` inside a function
that is differentiated, derivatives by positions follow.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

_ELEMENTS = """
X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr
Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir
Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""
SYMBOLS = _ELEMENTS.split()
"""Symbols of the elements by atomic number."""


class ExportedModel:
    """The functions of an archive, and what its metadata say.

    Args:
        metadata: Contents of `metadata.json`.
        functions: By name, as `jax.export.deserialize` returns them.
    """

    def __init__(self, metadata: dict[str, Any], functions: dict[str, export.Exported]):
        self.metadata, self._functions = metadata, functions
        self.cutoff: float = metadata["cutoff_A"]
        """Largest distance of a neighbour in Å."""
        self.elements: list[str] = metadata["elements"]
        """Elements that the network was trained on; tensors of others mean nothing."""

    def charges(self, vectors: Any, neighbours: Any, species: Any, charge: float = 0.0) -> jax.Array:
        """Compute Born effective charges in e, [atom, field, displacement]; see the module for the arguments.

        Of a committee that was exported with each member, there is a leading axis for the members.
        """
        return self._call("charges", vectors, neighbours, species, charge)

    def dipoles(
        self, vectors: Any, neighbours: Any, species: Any, charge: float = 0.0
    ) -> tuple[jax.Array, jax.Array]:
        """Compute dipoles mu [N, 3] in e Å and charges q [N] in e, of networks of the form "polarisation".

        `V P = sum_i mu_i + q_i u_i` is the dipole of the cell, up to a constant, with displacements u in Å
        from one reference for all configurations, not wrapped into the cell. Z are its derivatives.

        Raises:
            ValueError: The network gives tensors directly.
        """
        if "dipoles" not in self._functions:
            raise ValueError("no dipoles: the network is not of the form 'polarisation'")
        return self._call("dipoles", vectors, neighbours, species, charge)

    def _call(self, name: str, vectors: Any, neighbours: Any, species: Any, charge: Any) -> Any:
        dtype = self.metadata["dtype"]
        if dtype == "float64" and not jax.config.read("jax_enable_x64"):
            raise ValueError('this network computes in float64: jax.config.update("jax_enable_x64", True)')
        numpy = jax.numpy
        return self._functions[name].call(
            numpy.asarray(vectors, dtype),
            numpy.asarray(neighbours, "int32"),
            numpy.asarray(species, "int32"),
            numpy.asarray(charge, dtype),
        )


def read_exported(path: str | Path) -> ExportedModel:
    """Read an archive that `equivar export` wrote."""
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
        functions = {
            name: export.deserialize(bytearray(archive.read(entry["file"])))
            for name, entry in metadata["functions"].items()
        }
    return ExportedModel(metadata, functions)


def atomic_numbers(symbols: list[str] | tuple[str, ...]) -> np.ndarray:
    """Return the atomic numbers, int32, of elements such as ["Mg", "O"]."""
    return np.array([SYMBOLS.index(symbol) for symbol in symbols], np.int32)


def find_neighbours(
    positions: np.ndarray, cell: np.ndarray | None, cutoff: float, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find all neighbours within the cutoff by trying all pairs: for cells of up to some hundred atoms.

    Args:
        positions: [N, 3] in Å.
        cell: Rows are the lattice vectors in Å; None for a molecule.
        cutoff: In Å.
        width: Room for neighbours K; by default as many as the atom with the most has.

    Returns:
        vectors [N, K, 3] in Å and neighbours [N, K].
    """
    shifts = np.zeros((1, 3))
    if cell is not None:
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)  # between the faces of the cell
        # Atoms may lie outside the cell, as far as they are apart in fractional coordinates.
        apart = np.ptp(np.linalg.solve(np.transpose(cell), np.transpose(positions)), axis=1)
        most = np.ceil(cutoff / heights + apart).astype(int)
        shifts = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(
            -1, 3
        )
        shifts = shifts @ np.asarray(cell)
    receivers, senders, vectors = [], [], []
    for atom, position in enumerate(positions):
        found = positions[None] + shifts[:, None] - position
        length = np.linalg.norm(found, axis=2)
        image, other = np.nonzero((length < cutoff) & (length > 1e-6))
        receivers.append(np.full(len(other), atom))
        senders.append(other)
        vectors.append(found[image, other])
    return to_table(
        np.concatenate(receivers), np.concatenate(senders), np.concatenate(vectors), len(positions), width
    )


def to_table(
    receivers: np.ndarray, senders: np.ndarray, vectors: np.ndarray, atoms: int, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn any full neighbour list into the arrays that the functions take.

    With ase: `receivers, senders, vectors = ase.neighborlist.neighbor_list("ijD", atoms, cutoff)`.

    Args:
        receivers: [E] the atoms that have the neighbours, in any order; each pair is listed both ways.
        senders: [E] their neighbours.
        vectors: [E, 3] from receiver to sender in Å.
        atoms: Number of atoms N.
        width: Room for neighbours K; by default as many as the atom with the most has, and at least 1. One K
            for a whole trajectory compiles once.

    Returns:
        vectors [N, K, 3] in Å and neighbours [N, K].

    Raises:
        ValueError: An atom has more neighbours than `width`.
    """
    counts = np.bincount(receivers, minlength=atoms)
    most = max(1, int(counts.max()))
    width = most if width is None else width
    if most > width:
        raise ValueError(f"an atom has {most} neighbours, and there is room for {width}; give a larger width")
    order = np.argsort(receivers, kind="stable")
    first = np.cumsum(counts) - counts
    rows, places = receivers[order], np.arange(len(receivers)) - first[receivers[order]]
    table, neighbours = np.ones((atoms, width, 3)), np.full((atoms, width), atoms, np.int32)
    table[rows, places], neighbours[rows, places] = vectors[order], senders[order]
    return table, neighbours
