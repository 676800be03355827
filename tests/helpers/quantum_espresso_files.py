"""What ph.x prints and writes for a given response to a field."""

import numpy as np
from ase import Atoms
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


def ph_text(
    charges: str | None = None, labels: list[str] | None = None, crystal: Atoms = CRYSTAL, extra: str = ""
) -> str:
    axes = crystal.cell.array / Bohr / ALAT
    sites = crystal.positions / Bohr / ALAT
    rows = "".join(
        f"               a({i + 1}) = (" + "".join(f"{x:8.4f}" for x in axis) + " )  \n"
        for i, axis in enumerate(axes)
    )
    atoms = "".join(
        f"      {i + 1:3d}     {label:<3s}{47.867:10.4f}   tau({i + 1:5d}) = ("
        + "".join(f"{x:11.5f}" for x in site)
        + "  )\n"
        for i, (label, site) in enumerate(zip(labels or crystal.symbols, sites, strict=True))
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
        f"{extra}     End of electric fields calculation\n\n"
        f"          Dielectric constant in cartesian axis \n\n{dielectric}{charges}\n"
        "     Convergence has been achieved \n\n"
        "     Diagonalizing the dynamical matrix\n\n     PHONON       :     1.04s CPU         1.18s WALL\n\n"
        "=------------------------------------------------------------------------------=\n"
        "   JOB DONE.\n"
        "=------------------------------------------------------------------------------=\n"
    )


def matrix_text(
    response: np.ndarray | None = RESPONSE,
    heading: str = "E-U: Z_{alpha}{s,beta}",
    by_displacement: np.ndarray | None = None,
) -> str:
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
    if by_displacement is not None:
        text += "\n     Effective Charges U-E: Z_{s,alpha}{beta}\n\n"
        for atom in range(by_displacement.shape[1]):
            rows = by_displacement[:, atom].T  # the displacement direction first
            text += f"     atom # {atom + 1:4d}\n"
            text += "".join("".join(f"{x:23.12E}" for x in row) + "\n" for row in rows)
    stars = " " + "*" * 74 + "\n"
    return (
        f"{text}\n     Diagonalizing the dynamical matrix\n\n     q = ( 0.0 0.0 0.0 ) \n\n{stars}"
        f"     freq (    1) =      -0.739647 [THz] =     -24.671976 [cm-1]\n{stars}"
    )


def constants_text(response: np.ndarray | None = RESPONSE, digits: int = 7) -> str:
    """Force constants of q2r.x."""
    kinds = {"Pb": 1, "Ti": 2, "O": 3}
    celldm = "".join(f"{x:11.7f}" for x in (ALAT, 0, 0, 0, 0, 0))
    text = f"  3    5   0{celldm}\n" + printed(CRYSTAL.cell.array / Bohr / ALAT, 9, 15)
    text += "".join(
        f"           {kind}  '{name:<3s}'    25598.366692512345\n" for name, kind in kinds.items()
    )
    for i, (name, site) in enumerate(zip(CRYSTAL.symbols, CRYSTAL.positions / Bohr / ALAT, strict=True)):
        text += f"{i + 1:5d}{kinds[name]:5d}" + "".join(f"{x:18.10f}" for x in site) + "\n"
    if response is None:
        text += " F\n"
    else:
        text += " T\n" + printed(EPSILON, 12, 24)
        for atom in range(response.shape[1]):
            text += f"{atom + 1:5d}\n" + printed(response[:, atom], digits, 15)
    text += "   1   1   1\n"
    for i, j, a, b in np.ndindex(3, 3, 5, 5):
        text += f"{i + 1:4d}{j + 1:4d}{a + 1:4d}{b + 1:4d}\n   1   1   1   1.79704675157E-01\n"
    return text


def xml_text(response: np.ndarray | None = RESPONSE, attributes: bool = False) -> str:
    """A dynamical matrix in XML: of version 6.0 with attributes, or of 6.7, which closes Root by root."""
    kinds = {"Pb": 1, "Ti": 2, "O": 3}

    def element(name: str, values, kind: str = "real") -> str:
        array = np.atleast_2d(np.asarray(values))
        if kind == "character":
            rows, inner = str(values), f'type="{kind}" size="1" len="3"'
        else:
            rows = "\n".join(
                " ".join(f"{x:d}" if kind == "integer" else f"{x:22.15E}" for x in row) for row in array
            )
            inner = f'type="{kind}" size="{array.size}"'
        return f"<{name} {inner}>\n{rows}\n</{name}>\n" if attributes else f"<{name}>\n{rows}\n</{name}>\n"

    cell = CRYSTAL.cell.array / Bohr / ALAT
    text = element("NUMBER_OF_TYPES", 3, "integer") + element("NUMBER_OF_ATOMS", 5, "integer")
    text += element("BRAVAIS_LATTICE_INDEX", 0, "integer") + element("CELL_DIMENSIONS", [ALAT, 0, 0, 0, 0, 0])
    text += element("AT", cell) + element("BG", np.linalg.inv(cell).T)
    text += element("UNIT_CELL_VOLUME_AU", np.linalg.det(cell) * ALAT**3)
    for name, kind in kinds.items():
        text += element(f"TYPE_NAME.{kind}", f"{name:<3s}", "character") + element(f"MASS.{kind}", 47.9)
    for i, (name, site) in enumerate(zip(CRYSTAL.symbols, CRYSTAL.positions / Bohr / ALAT, strict=True)):
        place = " ".join(f"{x:.15E}" for x in site)
        text += f'<ATOM.{i + 1} SPECIES="{name:<3s}" INDEX="{kinds[name]}" TAU="{place}"/>\n'
    text = f"<GEOMETRY_INFO>\n{text}{element('NUMBER_OF_Q', 1, 'integer')}</GEOMETRY_INFO>\n"
    if response is not None:
        # Fortran's zstareu(field, displacement, atom) in the order of memory, three numbers a line.
        charges = "".join(
            element(f"Z_AT_.{atom + 1}", response[:, atom].flatten(order="F").reshape(3, 3))
            for atom in range(response.shape[1])
        )
        text += "<DIELECTRIC_PROPERTIES" + ("" if attributes else ' epsil="true" zstar="true" raman="true"')
        text += ">\n" + element("EPSILON", EPSILON) + f"<ZSTAR>\n{charges}</ZSTAR>\n"
        text += (
            "<RAMAN_TENSOR_A2>\n 9.538641881922051-309 NaN\n</RAMAN_TENSOR_A2>\n</DIELECTRIC_PROPERTIES>\n"
        )
    text += "<DYNAMICAL_MAT_.1>\n</DYNAMICAL_MAT_.1>\n"
    instructions = '<?iotk version="1.2.0"?>\n' if attributes else ""
    root = "Root" if attributes else "root"
    return f'<?xml version="1.0"?>\n{instructions}<Root>\n{text}</{root}>\n'
