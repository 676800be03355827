"""VASP's output files of a given response to a field, and how to read them back."""

from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.vasp import read_outcar, read_vasprun
from equivar_jax.structures import born_effective_charges
from helpers.dipole import crystal_and_tensors

CRYSTAL, _TENSORS = crystal_and_tensors()
RESPONSE = _TENSORS.transpose(1, 0, 2)
"""Force on each atom in a unit field, e: [field direction, atom, force direction]."""
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 4.7, 0.1], [-0.3, 0.1, 6.2]])
INCLUDING = "(including local field effects) (in |e|, cummulative output)"
EXCLUDING = "(excluding local field effects) (in |e|, cummulative output)"
SETTINGS = {"IBRION": "-1", "LRPA": "F", "NELM": "60"}


def vectors(array: np.ndarray) -> str:
    return "".join("<v>" + "".join(f" {x:16.8f}" for x in row) + " </v>\n" for row in array)


def structure_xml(atoms: Atoms, name: str = "") -> str:
    return (
        f'<structure{name}>\n<crystal>\n<varray name="basis" >\n{vectors(atoms.cell.array)}</varray>\n'
        f'<varray name="rec_basis" >\n{vectors(np.eye(3))}</varray>\n</crystal>\n'
        f'<varray name="positions" >\n{vectors(atoms.get_scaled_positions(wrap=False))}</varray>\n'
        "</structure>\n"
    )


def calculation_xml(atoms: Atoms, response: np.ndarray | None, iterations: int = 3) -> str:
    """One ionic step; the tensor of an atom has a line for each field direction."""
    text = "<calculation>\n" + "<scstep><energy></energy></scstep>\n" * iterations + structure_xml(atoms)
    text += "<scstep><energy></energy></scstep>\n"  # of the response
    if response is not None:
        tensors = "".join(f"<set>\n{vectors(response[:, atom])}</set>\n" for atom in range(response.shape[1]))
        text += (
            f'<varray name="epsilon_ion" >\n{vectors(20 * EPSILON)}</varray>\n'
            f'<varray name="epsilon" >\n{vectors(EPSILON)}</varray>\n'
            f'<array name="born_charges" >\n<dimension dim="1">ion</dimension>\n{tensors}</array>\n'
        )
    return text + "<eigenvalues><array><set><r> 1.0 2.0 </r></set></array></eigenvalues>\n</calculation>\n"


def vasprun_text(calculations: list[str], **changes: str) -> str:
    settings = "".join(f'<i name="{name}"> {value} </i>\n' for name, value in {**SETTINGS, **changes}.items())
    species = "".join(f"<rc><c>{symbol:2s}</c><c>   1</c></rc>\n" for symbol in CRYSTAL.symbols)
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
        '<i name="program" type="string">vasp </i>\n<i name="SYSTEM">Bärium</i>\n </generator>\n'
        f'<parameters>\n<separator name="ionic" >\n{settings}</separator>\n</parameters>\n<atominfo>\n'
        f'<atoms> 5 </atoms>\n<array name="atoms" >\n<set>\n{species}</set>\n</array>\n</atominfo>\n'
        + structure_xml(CRYSTAL, ' name="initialpos" ')
        + "".join(calculations)
        + structure_xml(CRYSTAL, ' name="finalpos" ')
        + "</modeling>\n"
    )


def printed(array: np.ndarray, digits: int, width: int) -> str:
    return "".join("  " + "".join(f"{x:{width}.{digits}f}" for x in row) + "\n" for row in array)


def charges_text(response: np.ndarray, title: str = INCLUDING) -> str:
    lines = [f" BORN EFFECTIVE CHARGES {title}", " " + "-" * 80]
    for atom in range(response.shape[1]):
        lines.append(f" ion {atom + 1:4d}")
        for field in range(3):
            lines.append(f"{field + 1:5d}" + "".join(f"{x:12.5f}" for x in response[field, atom]))
    return "\n".join(lines) + "\n\n"


def dielectric_text(epsilon: np.ndarray, title: str) -> str:
    rule = " " + "-" * 60 + "\n"
    return f" MACROSCOPIC STATIC DIELECTRIC TENSOR {title}\n{rule}{printed(epsilon, 6, 13)}{rule}\n"


def step_text(atoms: Atoms, end: str = "aborting loop because EDIFF is reached", tensors: str = "") -> str:
    rows = np.hstack([atoms.cell.array, np.eye(3)])
    table = np.hstack([atoms.positions, np.zeros((len(atoms), 3))])
    return (
        f"{'-' * 40} Iteration    1(   1)  {'-' * 40}\n\n{'-' * 24} {end} {'-' * 40}\n"
        "  volume of cell :       60.00\n"
        "      direct lattice vectors                 reciprocal lattice vectors\n"
        f"{printed(rows, 9, 13)}\n POSITION                                       TOTAL-FORCE (eV/Angst)\n"
        f" {'-' * 80}\n{printed(table, 5, 13)} {'-' * 80}\n"
        f"  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n\n{tensors}"
    )


def full_tensors(response: np.ndarray = RESPONSE) -> str:
    return (
        dielectric_text(EPSILON, "(including local field effects in DFT)")
        + charges_text(response)
        + dielectric_text(20 * EPSILON, "IONIC CONTRIBUTION")
    )


def outcar_text(steps: list[str], **changes: str) -> str:
    steps = [step.replace("Iteration    1(", f"Iteration {i + 1:4d}(") for i, step in enumerate(steps)]
    potentials = "".join(f" POTCAR:    PAW_PBE {name} 02Aug2007\n" for name in ("Pb_d", "Ti_pv", "O"))
    settings = "".join(
        f"   {name} = {value:>6s}    comment\n" for name, value in {**SETTINGS, **changes}.items()
    )
    return (
        " vasp.6.3.2 27Jun22 (build Jul 04 2022 11:47:50) complex\n \n executed on   Linux date 2022.08.31\n"
        f" INCAR:\n   IBRION = 6\n{potentials}{potentials}   ions per type =               1   1   3\n"
        f"{settings}      direct lattice vectors                 reciprocal lattice vectors\n"
        f"{printed(np.ones((3, 6)), 9, 13)}{''.join(steps)}"
        " General timing and accounting informations for this job:\n"
        " ========================================================\n"
        "  Total CPU time used (sec):        5.1\n"
    )


def vasprun(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "vasprun.xml"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_vasprun(path, ReadOptions()))


def outcar(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "OUTCAR"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_outcar(path, ReadOptions()))


# How to read a complete calculation with these responses to a field along x, y and z, in either format.
def from_vasprun(tmp_path: Path, response: np.ndarray | None = RESPONSE) -> list[Atoms | InputError]:
    return vasprun(tmp_path, vasprun_text([calculation_xml(CRYSTAL, response)]))


def from_outcar(tmp_path: Path, response: np.ndarray | None = RESPONSE) -> list[Atoms | InputError]:
    return outcar(
        tmp_path,
        outcar_text([step_text(CRYSTAL, tensors="" if response is None else full_tensors(response))]),
    )


def label(atoms: Atoms | InputError) -> np.ndarray:
    assert isinstance(atoms, Atoms)
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def only_error(frames: list[Atoms | InputError]) -> str:
    (error,) = frames
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    assert ", frame " in str(error)
    return str(error)


def displaced() -> Atoms:
    atoms = CRYSTAL.copy()
    atoms.positions[1, 2] += 0.015
    return atoms
