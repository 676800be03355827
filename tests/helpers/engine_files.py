"""What CASTEP, CRYSTAL, CP2K and VASP (HDF5) write for a given response to a field."""

from pathlib import Path

import h5py
import numpy as np

from helpers.dipole import crystal_and_tensors

CRYSTAL, TENSORS = crystal_and_tensors()
"""A crystal without symmetry; its tensors [atom, field, displacement] by finite differences of the dipole."""
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 4.7, 0.1], [-0.3, 0.1, 6.2]])
RULE = " " + "=" * 51 + "\n"


def rows(array: np.ndarray, form: str, indent: str = "") -> str:
    return "".join(indent + "".join(format(x, form) for x in row) + "\n" for row in array)


def castep_charges(tensors: np.ndarray = TENSORS, label: str = "") -> str:
    """The rows of an atom are displacements."""
    text = RULE + " " * 19 + "Born Effective Charges\n" + " " * 19 + "----------------------\n"
    numbers = {"Pb": [1], "Ti": [1], "O": [1, 2, 3]}
    for symbol, tensor in zip(CRYSTAL.symbols, tensors, strict=True):
        first, *others = rows(tensor.T, "12.5f").splitlines()
        text += f"   {symbol:<3s}{numbers[symbol].pop(0):6d}    {first}{label}\n"
        text += "".join(f"                {other}\n" for other in others)
    return text + RULE


def castep_structure(atoms=CRYSTAL, columns: str = "") -> str:
    cell = np.hstack([atoms.cell.array, np.eye(3)])
    text = f"        Real Lattice(A)               Reciprocal Lattice(1/A)\n{rows(cell, '14.7f')}\n"
    text += (
        f"            {'x' * 60}\n            x  Element    Atom        Fractional coordinates of atoms  x\n"
    )
    text += f"            x            Number         u        v        w      x\n            x{'-' * 58}x\n"
    numbers = {"Pb": [1], "Ti": [1], "O": [1, 2, 3]}
    for symbol, place in zip(atoms.symbols, atoms.get_scaled_positions(wrap=False), strict=True):
        text += f"            x  {symbol:<3s}{numbers[symbol].pop(0):11d}      "
        text += "".join(f"{x:11.6f}" for x in place) + f"   {columns}x \n"
    return text + f"            {'x' * 60}\n\n"


def castep_text(charges: str | None = None, structure: str | None = None) -> str:
    optical = np.hstack([EPSILON, 3 * EPSILON])
    return (
        " |      CCC   AA    SSS  TTTTT  EEEEE  PPPP |\n |     C     A  A  S       T    E      P   P |\n"
        " |     C     AAAA   SS     T    EEE    PPPP |\n |      CCC  A  A  SSS     T    EEEEE  P |\n"
        " | Welcome to Academic Release CASTEP version 24.1 |\n\n Run started: Tue, 16 Jul 2024\n\n"
        + (castep_structure() if structure is None else structure)
        + "        Optical Permittivity (f->infinity)             DC Permittivity (f=0)\n"
        "        ----------------------------------             ---------------------\n"
        + rows(optical, "12.5f")
        + RULE
        + (castep_charges() if charges is None else charges)
        + "\nTotal time          =   1234.56 s\n"
    )


def crystal_structure(dimension: int = 3, atoms=CRYSTAL) -> str:
    text = f" GEOMETRY FOR WAVE FUNCTION - DIMENSIONALITY OF THE SYSTEM    {dimension}\n"
    text += f" ATOMS IN THE ASYMMETRIC UNIT    5 - ATOMS IN THE UNIT CELL: {len(atoms):4d}\n\n"
    text += (
        " DIRECT LATTICE VECTORS CARTESIAN COMPONENTS (ANGSTROM)\n          X              Y              Z\n"
    )
    text += rows(atoms.cell.array, "21.12E") + "\n\n CARTESIAN COORDINATES - PRIMITIVE CELL\n"
    text += f" {'*' * 79}\n *      ATOM      X(ANGSTROM)     Y(ANGSTROM)     Z(ANGSTROM)\n {'*' * 79}\n"
    for index, (atom, place) in enumerate(zip(atoms, atoms.positions, strict=True)):
        text += f"{index + 1:5d}{atom.number:6d} {atom.symbol.upper():<2s}   "
        text += "".join(f"{x:20.12E}" for x in place) + "\n"
    return text + "\n"


def crystal_charges(tensors: np.ndarray = TENSORS) -> str:
    """The rows of an atom are fields."""
    text = " ATOMIC BORN CHARGE TENSOR (UNITS OF e, ELECTRON CHARGE).\n DYNAMIC CHARGE = 1/3 * TRACE .\n\n"
    for index, (symbol, tensor) in enumerate(zip(CRYSTAL.symbols, tensors, strict=True)):
        text += f" ATOM {index + 1:3d} {symbol.upper():<2s} DYNAMIC CHARGE {np.trace(tensor) / 3:12.6f}\n\n"
        text += "              1           2           3\n"
        text += "".join(f"{i + 1:4d}   {rows(row[None], '12.4E')}" for i, row in enumerate(tensor)) + "\n"
    return text


def crystal_epsilon() -> str:
    names = ("XX", "XY", "XZ", "YY", "YZ", "ZZ")
    values = zip(names, EPSILON[np.triu_indices(3)], strict=True)
    return (
        " SUSCEPTIBILITY (CHI(1)) TENSORS (INDEPENDENT COMPONENTS)\n\n"
        "  FR.(eV) COMP.   ALPHA(Re,Im)           EPSILON(Re,Im)                CHI(1)\n"
        + "".join(
            f"  0.000   {name}      18.8509  0.0000 {x:12.4f}  0.0000 {x - 1:12.4f}\n" for name, x in values
        )
    )


def crystal_text(charges: str | None = None, structure: str | None = None) -> str:
    return (
        f" {'*' * 79}\n *{' ' * 31}CRYSTAL17{' ' * 37}*\n {'*' * 79}\n\n"
        + (crystal_structure() if structure is None else structure)
        + crystal_epsilon()
        + (crystal_charges() if charges is None else charges)
        + " +++ SYMMETRY ADAPTION OF VIBRATIONAL MODES +++\n EEEEEEEEEE TERMINATION  DATE 20 09 2019\n"
    )


def cp2k_charges(tensors: np.ndarray = TENSORS) -> str:
    """The rows of an atom are displacements."""
    text = "APT | Write the final apt matrix per atom (Position perturbation)\n"
    for index, tensor in enumerate(tensors):
        text += f"APT | Atom {index + 1:2d} - GAPT {np.trace(tensor) / 3:15.6f}\n"
        text += rows(tensor.T, "15.6f", "APT | ")
    return text + "APT | Write the total apt matrix\n" + rows(tensors.sum(axis=0).T, "15.6f", "APT | ")


def cp2k_text(charges: str | None = None, run: str = "ENERGY", periodic: str = "XYZ", charge: int = 0) -> str:
    text = " DBCSR| CPU Multiplication driver\n\n CP2K| version string:    CP2K version 2023.1\n"
    text += f" GLOBAL| Run type {run:>60s}\n CELL| Volume [angstrom^3]:  61.0\n"
    for axis, vector in zip("abc", CRYSTAL.cell.array, strict=True):
        text += (
            f" CELL| Vector {axis} [angstrom]: {rows(vector[None], '9.3f').rstrip()}   |{axis}| =     3.95\n"
        )
    text += f" CELL| Periodicity {periodic:>58s}\n DFT| Charge {charge:64d}\n\n"
    text += " MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM\n\n"
    text += "   Atom Kind Element         X             Y             Z       Z(eff)     Mass\n"
    for index, (atom, place) in enumerate(zip(CRYSTAL, CRYSTAL.positions, strict=True)):
        text += f"{index + 1:7d}    1 {atom.symbol:<2s}{atom.number:5d}"
        text += f" {rows(place[None], '13.6f').rstrip()}   6.0000  15.9994\n"
    return text + "\n\n\n" + (cp2k_charges() if charges is None else charges)


def vaspout(path: Path, tensors: np.ndarray | None = TENSORS, steps: int = 1, **settings) -> Path:
    """The rows of an atom are displacements."""
    fractions = CRYSTAL.get_scaled_positions(wrap=False)
    with h5py.File(path, "w") as file:
        file["results/positions/ion_types"] = np.array([b"Pb", b"Ti_sv", b"O"])
        file["results/positions/number_ion_types"] = np.array([1, 1, 3], dtype=np.int32)
        file["intermediate/ion_dynamics/scale"] = 2.0
        file["intermediate/ion_dynamics/lattice_vectors"] = np.stack([CRYSTAL.cell.array / 2] * steps)
        file["intermediate/ion_dynamics/position_ions"] = np.stack([fractions] * steps)
        for key, value in settings.items():
            file[f"input/incar/{key}"] = value
        if tensors is not None:
            file["results/linear_response/born_charges"] = tensors.transpose(0, 2, 1)
            file["results/linear_response/electron_dielectric_tensor"] = EPSILON
    return path
