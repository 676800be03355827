"""What pages take from code and results: nothing is left out, and what is not there is an error."""

import importlib
import re
from pathlib import Path

import pytest

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import setting_types
from equivar_jax.io import formats
from equivar_jax.response.__main__ import TASKS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def made(monkeypatch):
    """Imports a module of `docs/making`."""
    monkeypatch.syspath_prepend(str(DOCS / "making"))
    return importlib.import_module


def test_a_number_comes_from_its_file(made):
    values = made("values")
    text = values.fill_in(
        'a [[metals.json threshold]] b [[metals.json tests."Materials Project".metals | ,]] c'
    )
    assert text == "a 0.8 b 1,939 c"
    with pytest.raises(KeyError, match=r"metals.json: nothing at 'no_such' of 'tests.no_such'"):
        values.fill_in("[[metals.json tests.no_such]]")


def test_tables_come_from_their_section(made):
    tables = made("results").tables_of("benchmarks/results/accuracy/README.md", "Real DFPT data")
    assert "| BaTiO3-300K, BM1 |" in tables
    assert "Seeds" not in tables
    with pytest.raises(KeyError, match="no table below a heading 'No such section'"):
        made("results").tables_of("benchmarks/results/accuracy/README.md", "No such section")


def test_an_equation_becomes_a_drawing_with_its_words(made):
    text = made("equations").draw_equations("before\n\n```math\nZ_i = \\frac{a}{b}\n```\nafter\n")
    assert text.startswith("before")
    assert 'aria-label="Z_i = \\frac{a}{b}"' in text
    assert "<svg" in text
    assert "currentColor" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_every_setting_has_a_line(made):
    page = made("reference").settings_page()
    for name in setting_types(Config):
        assert f"| `--{name}` |" in page
    assert "Radius of the neighbourhood in Å." in page
    assert "| `--teach.members` |" in page


def test_no_bar_of_a_description_ends_its_cell(made):
    page = made("reference").settings_page()
    rows = [line for line in page.splitlines() if line.startswith("| `--")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert r"Largest \|Z\| of a component" in page


def test_every_command_prints_its_help(made):
    page = made("reference").commands_page()
    for task in TASKS:
        assert f"### equivar response {task}\n" in page
    assert "usage: equivar predict" in page
    assert page.count("usage: ") > len(TASKS)
    assert "\x1b" not in page


def test_every_format_and_every_index_order_is_there(made):
    page, orders = made("reference").formats_page(), made("reference").index_orders()
    assert all(f"| {form.title} |" in page for form in formats.FORMATS)
    first = {line.split("|")[1].strip(): line.split("|")[2].strip(" *") for line in orders.splitlines()[2:]}
    assert first["VASP vasprun.xml, VASP OUTCAR"] == "field"
    assert first["VASP vaspout.h5"] == "displacement"
    assert first["CASTEP .castep"] == first["CP2K output"] == "displacement"
    assert first["Elk Born charges, another file of Elk's Born charges"] == "field"
    assert (
        next(value for name, value in first.items() if name.startswith("Abinit anaddb.nc")) == "displacement"
    )
    assert len(first) >= 12


def test_messages_and_warnings_are_listed(made):
    page = made("messages").messages_page()
    assert "; give one or more" not in page
    assert "no command ⟨…⟩; \\`equivar\\` lists all" in page.replace("`equivar`", "\\`equivar\\`")
    assert "start anew with --train.learning\\_rate below" in page
    assert "| `LikelyMetalWarning` |" in page
    assert "Args:" not in page.partition("## Errors")[0]
    assert page.count("\n- ") > 200


def test_public_names_are_those_that_the_packages_export(made):
    import equivar_jax.calculators

    page = made("api").api_page()
    assert all(f"| `{name}` |" in page for name in equivar_jax.calculators.__all__)
    assert "| `predict` |" in page
    pages = made("api").room_pages()
    assert "::: equivar_jax.calculators.born.EquivarCalculator\n" in pages["reference/api-calculators.md"]
    predictor = pages["reference/api-prediction.md"].partition("predictor.Predictor\n")[2]
    assert predictor.startswith("    options:\n      inherited_members: true\n")  # `TrainedModel` has no page


def test_pictures_of_the_gallery_are_small_and_there(made, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    gallery = made("gallery")
    sizes = {name: gallery.file_of(name).stat().st_size for name in gallery.GALLERY}
    assert max(sizes.values()) < 150_000
    assert sum(sizes.values()) < 1_500_000
    assert {path.stem for path in (DOCS / "pictures").iterdir()} == sizes.keys()
    assert all((DOCS / one.page).is_file() or "tutorials" in one.page for one in gallery.GALLERY.values())
