"""The formats that can be read: how each is recognised, and which module reads it.

To add a format, add a line to `FORMATS` and a module with `read_<name>` and `recognises_<name>` (see
`options.Reader`). Modules are imported only when a file needs them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.files import read_head, require_file
from equivar_jax.io.options import ReadOptions


@dataclass(frozen=True)
class Format:
    """One line of the table of formats."""

    name: str
    """Name of the format in the functions `read_<name>` and `recognises_<name>`."""
    module: str
    """Module of `equivar_jax.io` that has these functions."""
    title: str
    """Name of the format in messages."""
    passes_over: bool = False
    """Whether its reader passes over frames that are not wanted without parsing them
    (`ReadOptions.wanted`)."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether a file has this format, by its name and its first decompressed bytes."""
        return getattr(self._module(), f"recognises_{self.name}")(path, head)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
        """Read a file of this format; see `options.Reader`."""
        return getattr(self._module(), f"read_{self.name}")(path, options)

    def _module(self):
        """Import and return the module that reads this format."""
        return import_module(f"equivar_jax.io.{self.module}")


FORMATS = (
    Format("extxyz", "extxyz", "extended XYZ", passes_over=True),
    Format("trajectory", "ase_database", "ASE trajectory", passes_over=True),
    Format("database", "ase_database", "ASE database", passes_over=True),
    Format("vasprun", "vasp", "VASP vasprun.xml"),
    Format("outcar", "vasp", "VASP OUTCAR"),
    Format("vaspout", "vaspout", "VASP vaspout.h5"),
    Format("ph_output", "quantum_espresso", "Quantum ESPRESSO ph.x output"),
    Format("dynamical_matrix", "quantum_espresso_matrix", "Quantum ESPRESSO dynamical matrix"),
    Format("q2r_constants", "quantum_espresso_matrix", "Quantum ESPRESSO q2r.x force constants"),
    Format("q_matrix_xml", "quantum_espresso_xml", "Quantum ESPRESSO dynamical matrix in XML"),
    Format("phonopy_yaml", "phonopy_yaml", "phonopy YAML"),
    Format("born", "phonopy_born", "phonopy BORN"),
    Format("anaddb", "abinit", "Abinit anaddb.nc"),
    Format("ddb", "abinit", "Abinit DDB"),
    Format("ddb_netcdf", "abinit_netcdf", "Abinit DDB.nc"),
    Format("abinit_output", "abinit_output", "Abinit response output"),
    Format("gpaw_charges", "gpaw", "GPAW Born charges (JSON)"),
    Format("elk_charges", "elk", "Elk Born charges"),
    Format("elk_part", "elk", "another file of Elk's Born charges"),
    Format("castep", "castep", "CASTEP .castep"),
    Format("cp2k", "cp2k", "CP2K output"),
    Format("crystal_output", "crystal_output", "CRYSTAL output"),
    Format("bare_structure", "ase_formats", "structure files (CIF, POSCAR, ...)"),
)
"""All formats, in the order in which they are tried; the first that recognises a file reads it."""
_ANYTHING = FORMATS[-1]


def recognise_format(path: Path) -> Format | None:
    """Return the format of a file by its name and content, or None if no format recognises it.

    Args:
        path: the file. One that cannot be read is recognised by its name alone.
    """
    head = read_head(path)
    return next((form for form in FORMATS if form.recognises(path, head)), None)


def passes_over_frames(path: Path) -> bool:
    """Return whether frames of a file can be left out without parsing them (see `ReadOptions.wanted`)."""
    return (recognise_format(path) or _ANYTHING).passes_over


def read_file(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read one file of any format; a file that no format recognises is passed to ASE.

    Args:
        path: the file.
        options: what the user says about it.

    Yields:
        Its structures, and an `InputError` in the place of each frame that cannot be used.

    Raises:
        InputError: the file cannot be read to its end.
    """
    require_file(path)
    yield from (recognise_format(path) or _ANYTHING).read(path, options)
