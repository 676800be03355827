"""Reader of VASP's HDF5 output, `vaspout.h5` (VASP 6.3 and later), with LEPSILON or LCALCEPS.

Index order of the data set `results/linear_response/born_charges` as Python sees it: [atom, displacement,
field], in |e|. So the **first index of a tensor is the displacement**, the transpose of what `OUTCAR` and
`vasprun.xml` have. Sources: VASP wiki, "Born effective charges"; and py4vasp (2026), whose
`BornEffectiveCharge.to_INCAR` (test `test_Sr2TiO4_to_INCAR`) transposes each tensor to get the rows of
`OUTCAR`, which have the field first. Layout: py4vasp 0.11 (`_raw/definition.py`), and `vaspout_sanitized.h5`
of VASP 6 among the test data of Euphonic (github.com/pace-neutrons/Euphonic).

For IBRION = 7 and 8 (density-functional perturbation theory) the order is not established; such tensors are
taken if they are symmetric, and refused otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import check_elements, finish_structure, refuse_choices
from equivar_jax.io.files import base_name, excerpt, plain_file
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.vasp_checks import CUT_SHORT, masses_of_types, refuse_doubtful

_MAGIC = b"\x89HDF\r\n\x1a\n"
_CHARGES = "results/linear_response/born_charges"
_EPSILON = "results/linear_response/electron_dielectric_tensor"
_STEPS = "intermediate/ion_dynamics"
_IONS = "results/positions"
_LARGEST_RATIO = 64
"""Largest size of a data set, in sizes of the file, that is read; compression may make it more than one."""
_SYMMETRIC = 1e-4
"""Largest difference, in e, of a tensor and its transpose for which the order does not matter."""


def recognises_vaspout(path: Path, head: bytes) -> bool:
    """Return whether a file is a `vaspout.h5`: HDF5 with this in its name, or with VASP's groups."""
    name = base_name(path).lower()
    if not head.startswith(_MAGIC) or not name.endswith((".h5", ".hdf5")):
        return False
    return "vaspout" in name or _has_positions(path)


def _has_positions(path: Path) -> bool:
    """Return whether an uncompressed HDF5 file has the group of VASP's final positions."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return f"{_IONS}/ion_types" in file
    except Exception:  # h5py raises OSError, RuntimeError, ... by the place of the damage
        return False


def read_vaspout(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a `vaspout.h5`; without charges, all ionic steps.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure with its label [atom, field, displacement] in e, and the electronic dielectric tensor,
        float64 (3, 3), at `info["epsilon_inf"]` if the file has it; or every ionic step without label. An
        `InputError` stands in the place of a structure that cannot be used.

    Raises:
        InputError: h5py cannot read the file, it is not a complete `vaspout.h5`, charges were to be computed
            and are not there, or an option was given.
    """
    refuse_choices(path, options)
    with plain_file(path) as plain:
        content = _load(path, plain)
    steps, charges = content["positions"], content["charges"]
    asked = [tag for tag in ("LEPSILON", "LCALCEPS") if content["settings"].get(tag) in ("1", "T")]
    if charges is None and asked:
        raise InputError(f"{path}: {asked[0]} is set, but there are no Born effective charges: {CUT_SHORT}")
    if charges is None:
        for index in range(len(steps)):
            yield _frame_or_error(content, index, f"{path}, frame {index}")
        return
    # The file does not say which ionic step its tensors belong to.
    if len(steps) > 1 and content["settings"].get("IBRION") not in ("5", "6"):
        raise InputError(
            f"{path}: Born effective charges and {len(steps)} ionic steps, so their structure is unknown; "
            "read the vasprun.xml of the calculation"
        )
    yield _frame_or_error(content, 0, f"{path}, frame 0")


def _load(path: Path, plain: Path) -> dict[str, Any]:
    """Read what is needed from the file: arrays, settings, and None for charges that are not there.

    Raises:
        InputError: h5py cannot read the file, or a data set is missing.
    """
    import h5py

    most = _LARGEST_RATIO * plain.stat().st_size

    def read(name: str | bytes) -> Any:
        """Return a data set, unless damage makes it announce more than the file can hold."""
        stored = file[name]
        if stored.nbytes > most:
            raise ValueError(f"{name!r} announces {stored.nbytes} bytes")
        return stored[()]

    def read_if_there(name: str) -> Any:
        return read(name) if name in file else None

    try:
        with h5py.File(plain, "r") as file:
            scale = read(f"{_STEPS}/scale" if f"{_STEPS}/scale" in file else f"{_IONS}/scale")
            tags = [(tag, entry.name) for tag, entry in file.get("input/incar", {}).items()]
            unconverged = read_if_there(f"{_STEPS}/electronic_step_converged")
            return {
                "elements": [name.decode().strip() for name in read(f"{_IONS}/ion_types")],
                "counts": read(f"{_IONS}/number_ion_types"),
                "lattice": read(f"{_STEPS}/lattice_vectors") * float(scale),
                "positions": read(f"{_STEPS}/position_ions"),
                "charges": read_if_there(_CHARGES),
                "epsilon": read_if_there(_EPSILON),
                "settings": {_word(tag).upper(): _word(read(name)) for tag, name in tags},
                "unconverged": np.zeros(1) if unconverged is None else unconverged,
            }
    except Exception as error:
        # h5py raises OSError, KeyError, RuntimeError, ValueError, ... by the place of the damage.
        raise InputError(
            f"{path}: not a complete vaspout.h5 ({type(error).__name__}: {excerpt(str(error), 120)}); copy "
            "it again, or read the vasprun.xml of the calculation"
        ) from None


def _word(value: Any) -> str:
    """Return a setting of the INCAR as a word; logical values are 0 and 1."""
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value)


def _frame_or_error(content: dict[str, Any], index: int, where: str) -> Atoms | InputError:
    """Return one ionic step, with the charges if the file has them, or the reason why it cannot be used."""
    try:
        return _make_frame(content, index, where)
    except InputError as error:
        return error


def _make_frame(content: dict[str, Any], index: int, where: str) -> Atoms:
    """Return one ionic step, with the charges if the file has them."""
    counts = np.asarray(content["counts"])
    lattice, positions = content["lattice"], content["positions"]
    fits = (
        counts.dtype.kind in "iu"
        and counts.shape == (len(content["elements"]),)
        and (counts > 0).all()
        and lattice.shape == (len(positions), 3, 3)
        and positions.shape[1:] == (counts.sum(), 3)
        and lattice.dtype.kind == positions.dtype.kind == "f"
    )
    if not fits:
        raise InputError(
            f"{where}: {counts.tolist()} atoms, lattice vectors of shape {lattice.shape} and positions of "
            f"shape {positions.shape} do not fit; copy the file again"
        )
    names = [element.split("_")[0] for element in content["elements"]]
    symbols = check_elements([n for n, count in zip(names, counts, strict=True) for _ in range(count)], where)
    with np.errstate(all="ignore"):  # check_structure refuses what is not finite
        places = positions[index] @ lattice[index]
    atoms = Atoms(symbols, cell=lattice[index], positions=places, pbc=True)
    settings = content["settings"]
    kinds = np.repeat(np.arange(len(counts)) + 1, counts).astype(str).tolist()
    masses = masses_of_types(settings.get("POMASS", "").strip("[]").split(), kinds)
    if masses is not None:
        set_stated_masses(atoms, symbols, masses)
    if content["charges"] is None:
        return finish_structure(atoms, where)
    lrpa = {"LRPA": "T" if settings.get("LRPA", "0") in ("1", "T") else "F"}
    first = np.ravel(content["unconverged"])[:1]
    refuse_doubtful({**settings, **lrpa}, index, not first.any(), where)
    tensors = content["charges"]
    if tensors.shape != (len(atoms), 3, 3) or tensors.dtype.kind != "f":
        raise InputError(f"{where}: Born effective charges of shape {tensors.shape}; repeat the calculation")
    asymmetry = float(np.abs(tensors - tensors.transpose(0, 2, 1)).max())
    if settings.get("IBRION") in ("7", "8") and not asymmetry <= _SYMMETRIC:
        raise InputError(
            f"{where}: tensors of IBRION = {settings['IBRION']}, whose index order is not established and "
            f"which are not symmetric (by {asymmetry:.4f} e); repeat the calculation with IBRION = -1"
        )
    return finish_structure(atoms, where, tensors.transpose(0, 2, 1), _epsilon(content["epsilon"], where))


def _epsilon(stored: Any, where: str) -> np.ndarray | None:
    """Return the electronic dielectric tensor, checked; None if the file has none."""
    if stored is None:
        return None
    if np.shape(stored) != (3, 3) or not np.isfinite(stored).all():
        raise InputError(f"{where}: the dielectric tensor is not 3x3 finite numbers; copy the file again")
    return np.asarray(stored, dtype=np.float64)
