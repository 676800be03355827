"""What ph.x prints and writes for a given response to a field."""

import numpy as np
from ase.units import Bohr

from helpers.dipole import crystal_and_tensors

CRYSTAL, _TENSORS = crystal_and_tensors()
RESPONSE = _TENSORS.transpose(1, 0, 2)
"""Force on each atom in a unit field, e: [field direction, atom, force direction]."""
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 4.7, 0.1], [-0.3, 0.1, 6.2]])
ALAT = 7.5  # bohr
WITHOUT_ASR = "(d Force / dE) in cartesian axis without acoustic sum rule applied (asr)"
WITH_ASR = "(d Force / dE) in cartesian axis with asr applied: "
OLD = "(d Force / dE) in cartesian axis"
POLARISATION = "(d P / du) in cartesian axis "


def printed(array: np.ndarray, digits: int, width: int) -> str:
    return "".join("".join(f"{x:{width}.{digits}f}" for x in row) + "\n" for row in array)


def charges_text(response: np.ndarray, heading: str = WITHOUT_ASR, letter: str = "E") -> str:
    text = f"\n          Effective charges {heading}\n\n"
    star = "*" if "with asr" in heading else ""
    mean = "" if heading == OLD else " Mean Z*:        1.23456"
    for atom in range(response.shape[1]):
        text += f"           atom {atom + 1:6d} {CRYSTAL.symbols[atom]:>4s}{mean}\n"
        for field in range(3):
            numbers = "".join(f"{x:15.5f}" for x in response[field, atom])
            text += f"      {letter}{star}{'xyz'[field]}{' ' if star else '  '}({numbers} )\n"
    return text


def ph_text(charges: str | None = None, labels: list[str] | None = None) -> str:
    axes = CRYSTAL.cell.array / Bohr / ALAT
    sites = CRYSTAL.positions / Bohr / ALAT
    rows = "".join(
        f"               a({i + 1}) = (" + "".join(f"{x:8.4f}" for x in axis) + " )  \n"
        for i, axis in enumerate(axes)
    )
    atoms = "".join(
        f"      {i + 1:3d}     {label:<3s}{47.867:10.4f}   tau({i + 1:5d}) = ("
        + "".join(f"{x:11.5f}" for x in site)
        + "  )\n"
        for i, (label, site) in enumerate(zip(labels or CRYSTAL.symbols, sites, strict=True))
    )
    dielectric = "".join(f"          ({''.join(f'{x:18.9f}' for x in row)} )\n" for row in EPSILON)
    if charges is None:
        charges = charges_text(RESPONSE)
    return (
        "\n     Program PHONON v.7.2 starts on 29Jul2024 at 21:37: 6 \n\n"
        "     Calculation of q =    0.0000000   0.0000000   0.0000000\n\n"
        "     bravais-lattice index     =            0\n"
        f"     lattice parameter (alat)  =  {ALAT:11.4f}  a.u.\n"
        "     number of atoms/cell      =            5\n"
        f"     celldm(1)={ALAT:11.5f}  celldm(2)=    0.00000  celldm(3)=    0.00000\n\n"
        f"     crystal axes: (cart. coord. in units of alat)\n{rows}\n"
        "     reciprocal axes: (cart. coord. in units 2 pi/alat)\n"
        "               b(1) = ( -1.0000 -1.0000  1.0000 )  \n\n"
        f"     site n.  atom      mass           positions (alat units)\n{atoms}\n"
        "     End of electric fields calculation\n\n"
        f"          Dielectric constant in cartesian axis \n\n{dielectric}{charges}\n"
        "     Convergence has been achieved \n\n"
        "     Diagonalizing the dynamical matrix\n\n     PHONON       :     1.04s CPU         1.18s WALL\n\n"
        "=------------------------------------------------------------------------------=\n"
        "   JOB DONE.\n"
        "=------------------------------------------------------------------------------=\n"
    )


def matrix_text(response: np.ndarray | None = RESPONSE, heading: str = "E-U: Z_{alpha}{s,beta}") -> str:
    kinds = {"Pb": 1, "Ti": 2, "O": 3}
    celldm = "".join(f"{x:11.7f}" for x in (ALAT, 0, 0, 0, 0, 0))
    text = f"Dynamical matrix file\nBärium {'x' * 20}\n  3    5   0{celldm}\nBasis vectors\n"
    text += printed(CRYSTAL.cell.array / Bohr / ALAT, 9, 15)
    text += "".join(f"           {kind}  '{name:<6s}'    25598.3667\n" for name, kind in kinds.items())
    for i, (name, site) in enumerate(zip(CRYSTAL.symbols, CRYSTAL.positions / Bohr / ALAT, strict=True)):
        text += f"{i + 1:5d}{kinds[name]:5d}" + "".join(f"{x:18.10f}" for x in site) + "\n"
    text += "\n     Dynamical  Matrix in cartesian axes\n\n     q = (    0.000000000   0.0   0.0 ) \n\n"
    text += "    1    1\n" + printed(np.ones((3, 6)), 8, 12)
    if response is not None:
        text += f"\n     Dielectric Tensor:\n\n{printed(EPSILON, 12, 24)}"
        text += f"\n     Effective Charges {heading}\n\n"
        for atom in range(response.shape[1]):
            text += f"     atom # {atom + 1:4d}\n" + printed(response[:, atom], 12, 24)
    stars = " " + "*" * 74 + "\n"
    return (
        f"{text}\n     Diagonalizing the dynamical matrix\n\n     q = ( 0.0 0.0 0.0 ) \n\n{stars}"
        f"     freq (    1) =      -0.739647 [THz] =     -24.671976 [cm-1]\n{stars}"
    )
