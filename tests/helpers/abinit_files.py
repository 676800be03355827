"""What Abinit prints and writes for given Born effective charges."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.units import Bohr

IONIC = {"Pb": 14.0, "Ti": 12.0, "O": 6.0}
KINDS = {"Pb": 1, "Ti": 2, "O": 3}
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


def echoed(name: str, values, per_line: int = 3) -> str:
    words = [f"{x:22.14E}" if isinstance(x, float) else f"{x:9d}" for x in values]
    lines = [" ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
    return f"{name:>17s}" + ("\n" + " " * 17).join(lines) + "\n"


def elements(tensors: np.ndarray, field_second: bool) -> str:
    """Tensors [atom, field, displacement], each element with its two perturbations."""
    count, text = len(tensors), ""
    for field, atom, displacement in np.ndindex(3, count, 3):
        one, other = (displacement + 1, atom + 1), (field + 1, count + 2)
        names = (*one, *other) if field_second else (*other, *one)
        text += "".join(f"{number:{4 + place % 2}d}" for place, number in enumerate(names))
        text += f"  {tensors[atom, field, displacement]:20.10f} {0.0:20.10f}\n"
        text += "  \n" if displacement == 2 else ""
    return text


def charges_text(tensors: np.ndarray, kind: str = "electric field") -> str:
    note = f"  (from {kind} response) \n" if kind else ""
    return (
        f"  Effective charges, in cartesian coordinates,\n{note}   if specified in the inputs, asr has been "
        "imposed\n     j1       j2             matrix element\n  dir pert dir pert     real part    imagi"
        f"nary part\n  \n{elements(tensors, kind == 'electric field')}  \n"
    )


def output_text(
    atoms: Atoms,
    *charges: str,
    positions: str = "xred",
    suffix: str = "",
    epsilon: np.ndarray | None = EPSILON,
) -> str:
    """An output with a ground state (data set 1) and the response (data set 2)."""
    vectors, count = atoms.cell.array / Bohr, len(atoms)
    places = {
        "xred": atoms.get_scaled_positions(wrap=False),
        "xcart": atoms.positions / Bohr,
        "xangst": atoms.positions,
    }[positions]
    lattice = "".join(
        f" R({i + 1})=" + "".join(f"{x:11.7f}" for x in row) + f"  G({i + 1})=  0.1000000  0.0  0.0\n"
        for i, row in enumerate(vectors)
    )
    rows = "".join(
        f"{a + 1:4d}{count + 2:5d}{b + 1:4d}{count + 2:5d}  {value:20.10f} {0.0:20.10f}\n"
        for (a, b), value in np.ndenumerate(EPSILON if epsilon is None else epsilon)
    )
    dielectric = (
        "  Dielectric tensor, in cartesian coordinates,\n     j1       j2             matrix element\n"
        f"  dir pert dir pert     real part    imaginary part\n  \n{rows}  \n"
    )
    edges = np.linalg.norm(vectors, axis=1)
    echo = echoed(f"acell{suffix}", [float(x) for x in edges])[:-1] + " Bohr\n"
    echo += echoed("amu", [2.072e2, 47.9, 15.999]) + "-          fftalg         112\n"
    echo += echoed("natom", [count]) + "P           mkmem           4\n" + echoed("ntypat", [3])
    echo += echoed(f"rprim{suffix}", [float(x) for x in (vectors / edges[:, None]).ravel()])
    echo += echoed("typat", [KINDS[name] for name in atoms.symbols], 10)
    echo += echoed(f"{positions}{suffix}", [float(x) for x in places.ravel()])
    echo += echoed("znucl", [float(atomic_numbers[name]) for name in KINDS])
    rule = "=" * 80 + "\n"
    return (
        "\n.Version 9.6.2 of ABINIT \n.(MPI version, prepared for a x86_64 computer) \n\n"
        f" -outvars: echo values of preprocessed input variables --------\n{echo}\n{rule}\n"
        f"== DATASET  1 {'=' * 66}\n{lattice}\n== DATASET  2 {'=' * 66}\n{lattice}"
        " At SCF step   14       vres2   =  1.55E-09 < tolvrs=  1.00E-08 =>converged.\n\n"
        f"{dielectric if epsilon is not None else ''}{''.join(charges)}"
        "  Phonon wavevector (reduced coordinates) :  0.00000  0.00000  0.00000\n\n"
        f"== END DATASET(S) {'=' * 62}\n{rule}\n -outvars: echo values of variables after computation  ---\n"
        f"{echo}\n{rule}\n Calculation completed.\n.Delivered   6 WARNINGs and   6 COMMENTs to log file.\n"
    )


def ddb_netcdf(path: Path, atoms: Atoms, tensors: np.ndarray, computed: np.ndarray | None = None) -> Path:
    """A `_DDB.nc` file: derivatives [field, atom, displacement] of the electrons in reduced coordinates."""
    import netCDF4

    ionic = np.array([IONIC[name] for name in atoms.symbols])
    electrons = tensors - ionic[:, None, None] * np.eye(3)
    inverse = np.linalg.inv(atoms.cell.array)
    reduced = 2 * np.pi * inverse.T @ electrons @ atoms.cell.array.T
    mask = np.ones((3, len(atoms), 3), dtype=np.int32) if computed is None else computed.astype(np.int32)
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"atoms": len(atoms), "types": len(KINDS), "three": 3}.items():
            file.createDimension(name, size)
        arrays = {
            "primitive_vectors": (atoms.cell.array / Bohr, ("three", "three")),
            "reduced_atom_positions": (atoms.get_scaled_positions(), ("atoms", "three")),
            "atom_species": (np.array([KINDS[s] for s in atoms.symbols], dtype=np.int32), ("atoms",)),
            "atomic_numbers": (np.array([float(atomic_numbers[name]) for name in KINDS]), ("types",)),
            "valence_charges": (np.array(list(IONIC.values())), ("types",)),
            "q_point_reduced_coord": (np.zeros(3), ("three",)),
            "born_effective_charge_tensor": (reduced.transpose(1, 0, 2), ("three", "atoms", "three")),
            "born_effective_charge_tensor_mask": (mask, ("three", "atoms", "three")),
        }
        for name, (values, dimensions) in arrays.items():
            file.createVariable(name, values.dtype, dimensions)[:] = values
    return path
