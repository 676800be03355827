"""Code blocks of the pages of `docs`, how they are run, and the files that a reader of each page has."""

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.trajectory import Trajectory
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.__main__ import main as equivar
from equivar_jax.datasets.demonstration.polarisable_ion import born_effective_charges
from equivar_jax.io import write_structures
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs
from helpers import abinit_files, quantum_espresso_files, vasp_files
from helpers.crystals import labelled_crystal
from helpers.dipole import crystal_and_tensors
from helpers.field_crystals import heat
from helpers.titanates import QUICK_CONFIG, thermal_frames

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"(?P<notes>(?:^<!-- .*? -->\n)*)^```(?P<kind>sh|python)\n(?P<code>.*?)^```$", re.M | re.S)
NOTE = re.compile(r"<!-- (small|long): (.*?) -->")


class Block(NamedTuple):
    """A block of a page."""

    kind: str
    """`sh` or `python`."""
    code: str
    """As the reader sees it."""
    small: tuple[tuple[str, str], ...]
    """What is replaced in a test, so that it takes seconds."""
    is_long: bool
    """Whether it takes long nonetheless."""

    def to_run(self) -> str:
        """The code with small sizes; each replacement must find its text."""
        code = self.code
        for old, new in self.small:
            assert old in code, f"{old!r} is not in the block, so that its small size is out of date"
            code = code.replace(old, new)
        return code


def blocks_of(text: str) -> list[Block]:
    """All blocks of a page, in their order."""
    found = []
    for match in BLOCK.finditer(text):
        notes = NOTE.findall(match["notes"])
        pairs = [part.split(" -> ") for kind, said in notes if kind == "small" for part in said.split("; ")]
        small = tuple((old, new) for old, new in pairs)
        found.append(Block(match["kind"], match["code"], small, any(kind == "long" for kind, _ in notes)))
    return found


def run(block: Block) -> None:
    """Run a block by itself, in the working directory: nothing but files is left of those before it."""
    code = block.to_run()
    if block.kind == "python":
        exec(compile(code, "a block of the page", "exec"), {"__name__": "__main__"})
        return
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "equivar", line
            assert not any("*" in word for word in words) or "'" in line, f"quote the pattern: {line}"
            equivar(words[1:])


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# What a reader has.


def poscar() -> None:
    """A structure."""
    write("POSCAR", bulk("MgO", "rocksalt", a=4.21), format="vasp")


def springs_of(atoms):
    """Force constants of rock salt that is stable."""
    return nearest_neighbour_springs(atoms, 8.0, 1.5)


def phonopy_params() -> None:
    """Phonons of MgO of springs, with forces, and the crystal itself."""
    poscar()
    cell = bulk("MgO", "rocksalt", a=4.21)
    unit = PhonopyAtoms(
        numbers=cell.numbers, cell=cell.cell.array, scaled_positions=cell.get_scaled_positions()
    )
    phonon = Phonopy(unit, 2 * np.eye(3, dtype=int), primitive_matrix="P")
    phonon.generate_displacements()
    large = cell.__class__(
        phonon.supercell.numbers, positions=phonon.supercell.positions, cell=phonon.supercell.cell, pbc=True
    )
    constants = springs_of(large)
    for step in phonon.dataset["first_atoms"]:
        step["forces"] = -constants[:, step["number"]] @ step["displacement"]
    phonon.force_constants = constants
    phonon.save("phonopy_params.yaml", settings={"force_constants": True})


def potential() -> None:
    """A module with a potential of springs, and a crystal for it."""
    write("MgO.cif", bulk("MgO", "rocksalt", a=4.21))
    Path("springs.py").write_text(
        "from ase.calculators.lj import LennardJones\n\n\ndef make():\n"
        '    """A potential under which rock salt is near its minimum."""\n'
        "    return LennardJones(sigma=2.1 / 2 ** (1 / 6), epsilon=2.0, rc=2.6, smooth=False)\n"
    )


def trajectory() -> None:
    """Frames with velocities of a crystal of springs; and a potential."""
    from ase import units
    from ase.md.verlet import VelocityVerlet

    from helpers.field_crystals import springs

    potential()
    atoms, atoms.calc = springs()
    heat(atoms)
    with Trajectory("md.traj", "w") as file:
        dynamics = VelocityVerlet(atoms, 2 * units.fs)

        def keep():
            frame = atoms.copy()
            frame.calc = SinglePointCalculator(frame)
            file.write(frame)

        dynamics.attach(keep)
        dynamics.run(300)


def calculations() -> None:
    """Output of VASP, Quantum ESPRESSO and Abinit for crystals without symmetry."""
    poscar()
    crystal, _ = crystal_and_tensors()
    rng = np.random.default_rng(0)
    for k in range(6):
        atoms = crystal.copy()
        atoms.positions += rng.normal(scale=0.05, size=(5, 3))
        tensors = born_effective_charges(atoms)
        response = tensors.transpose(1, 0, 2)
        for program in ("vasp", "qe", "abinit"):
            Path(program, str(k)).mkdir(parents=True)
        text = vasp_files.vasprun_text([vasp_files.calculation_xml(atoms, response)])
        Path(f"vasp/{k}/vasprun.xml").write_text(text, encoding="iso-8859-1")
        charges = quantum_espresso_files.charges_text(response)
        Path(f"qe/{k}/ph.out").write_text(quantum_espresso_files.ph_text(charges, crystal=atoms))
        text = abinit_files.output_text(atoms, abinit_files.charges_text(tensors))
        Path(f"abinit/{k}/run.abo").write_text(text)
    write("POSCAR", crystal, format="vasp", sort=False)


def labelled() -> None:
    """A run, and labelled structures."""
    from equivar_jax.train import main as train

    write_structures("labelled.extxyz", [labelled_crystal(seed) for seed in range(8)])
    train(
        ["--config", "test.py", "--data", "labelled.extxyz", "--run-dir", "runs/mine", "--train.epochs", "1"]
    )


def material() -> None:
    """Frames of one material, and the config of a small network."""
    write_structures("mine.extxyz", thermal_frames(10))
    write_structures("labelled.extxyz", thermal_frames(12)[10:])
    Path("quick.py").write_text(QUICK_CONFIG)
    write("POSCAR", thermal_frames(1)[0], format="vasp", sort=False)


def candidates() -> None:
    """Structures without labels."""
    Path("candidates").mkdir()
    for k, a in enumerate((4.21, 4.3, 4.0)):
        atoms = bulk("MgO", "rocksalt", a=a, cubic=True)
        atoms.rattle(0.1 * k, seed=k)
        write(f"candidates/{k}.cif", atoms)


def crystals() -> None:
    """A folder of crystals."""
    Path("crystals").mkdir()
    for name, a in (("MgO", 4.21), ("CaO", 4.81)):
        write(f"crystals/{name}.cif", bulk(name, "rocksalt", a=a))


def nothing() -> None:
    """No file."""


HAS: dict[str, Callable[[], None]] = {
    "start/first-tensor.md": poscar,
    "start/first-spectrum.md": phonopy_params,
    "howto/train.md": calculations,
    "howto/judge.md": labelled,
    "howto/fine-tune.md": material,
    "howto/teach.md": material,
    "howto/select.md": candidates,
    "howto/structure.md": potential,
    "howto/born.md": phonopy_params,
    "howto/dielectric.md": phonopy_params,
    "howto/infrared-phonons.md": phonopy_params,
    "howto/infrared-md.md": trajectory,
    "howto/screen.md": crystals,
}
"""What the reader of a page has; pages that are not here begin with nothing."""
