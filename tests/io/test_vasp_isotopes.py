"""Masses that an INCAR gives (POMASS) stay with the structure; the rounded ones of POTCAR do not."""

import pytest
from helpers.vasp_files import (
    CRYSTAL,
    RESPONSE,
    calculation_xml,
    full_tensors,
    outcar_text,
    step_text,
    vasprun_text,
)

from equivar_jax.io import read_structures

TYPES = [1, 2, 3, 3, 3]
OF_POTCAR = [207.2, 47.88, 16.0]
FILES = pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])


def masses(folder, name: str, given: list[float] | None) -> list[float] | None:
    """The masses of a file of this INCAR, if it has others than those of the elements."""
    used = OF_POTCAR if given is None else given
    if name == "OUTCAR":
        text = outcar_text([step_text(CRYSTAL, tensors=full_tensors())])
        potentials = "".join(
            f"   POMASS = {m:8.3f}; ZVAL   =   16.000    mass and valenz\n" for m in OF_POTCAR
        )
        row = "".join(f"{mass:6.2f}" for mass in used)
        table = f"  Mass of Ions in am\n   POMASS = {row}\n  Ionic Valenz\n   ZVAL   =   4.00  1.00\n"
        text = text.replace("   ions per type", f"{potentials}   ions per type").replace(
            "   IBRION = ", f"{table}   IBRION = ", 1
        )
    else:
        text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)])
        words = " ".join(f"{mass:.8f}" for mass in used)
        incar = "" if given is None else f'<v name="POMASS"> {words}</v>\n'
        rows = "".join(
            f"<rc><c>{symbol:2s}</c><c>{kind:4d}</c></rc>\n"
            for symbol, kind in zip(CRYSTAL.symbols, TYPES, strict=True)
        )
        old = "".join(f"<rc><c>{symbol:2s}</c><c>   1</c></rc>\n" for symbol in CRYSTAL.symbols)
        assert old in text
        text = text.replace(old, rows).replace("<parameters>", f"<incar>\n{incar}</incar>\n<parameters>", 1)
    (folder / name).write_text(text, encoding="iso-8859-1")
    (atoms,) = read_structures(folder / name)
    return atoms.get_masses().tolist() if atoms.has("masses") else None


@FILES
def test_isotopes_of_the_incar_stay(tmp_path, name):
    """In an OUTCAR numbers of six characters touch each other: 208.00 and 150.00."""
    assert masses(tmp_path, name, [208.0, 49.95, 18.0]) == pytest.approx([208.0, 49.95, 18.0, 18.0, 18.0])
    assert masses(tmp_path, name, [208.0, 150.0, 18.0]) == pytest.approx([208.0, 47.867, 18.0, 18.0, 18.0])


@FILES
def test_masses_of_potcar_are_those_of_the_elements(tmp_path, name):
    assert masses(tmp_path, name, None) is None


@FILES
def test_masses_that_do_not_fit_the_types_are_left(tmp_path, name):
    assert masses(tmp_path, name, [208.0, 18.0]) is None
