import re

import pytest

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.other_engines import ENGINES

HEADS = {
    "FHI-aims": "          Invoking FHI-aims ...\n",
    "CP2K": "APT | Write the final apt matrix per atom\nAPT | Atom  1 - GAPT  1.0\n",
    "SIESTA": "Siesta Version  : v4.1-b4\nArchitecture    : unknown\n",
    "Octopus": "    Running octopus\n\nVersion                : 11.4\n",
    "exciting": "================\n|  EXCITING NITROGEN-14 started  =\n",
    "CASTEP": " BEGIN header\n Number of ions         2\n",
    "Quantum ESPRESSO": "\n     Program Q2R v.6.7MaX starts on  1Jan2024\n",
    "GULP": "*                       GENERAL UTILITY LATTICE PROGRAM                        *\n",
    "WIEN2k": ":LABEL1: using WIEN2k_19.1\n",
    "OpenMX": "***\n  This calculation was performed by OpenMX Ver. 3.9.2\n",
    "ABACUS": "                             WELCOME TO ABACUS v3.0\n",
    "Psi4": "          Psi4: An Open-Source Ab Initio Electronic Structure Package\n",
    "LAMMPS": "LAMMPS (2 Aug 2023)\n",
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("file", ["data", "run.out", "run.log"])
def test_a_file_of_a_known_engine_names_it_and_says_what_to_take(tmp_path, name, file):
    path = tmp_path / file
    path.write_text(HEADS[name] + "\n more\n" * 3)
    with pytest.raises(InputError) as caught:
        read_structures(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert re.search(rf"\b{re.escape(name)}\b", message)
    assert "UnknownFileTypeError" not in message
    assert "\n" not in message


def test_nobody_is_told_the_names_of_ase_exceptions_for_an_unknown_file(tmp_path):
    path = tmp_path / "notes"
    path.write_text("nothing that is known\n")
    with pytest.raises(InputError, match="nor another known format"):
        read_structures(path)


def test_each_engine_is_named_once_and_has_advice():
    names = [engine.name for engine in ENGINES]
    assert len(set(names)) == len(names)
    assert all(engine.advice for engine in ENGINES)
    assert not [engine.name for engine in ENGINES if engine.pattern.search(b"")]
