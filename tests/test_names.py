"""What texts and docstrings name is there."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import equivar_jax

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "equivar_jax", ROOT / "benchmarks", ROOT / "configs")
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "equivar_jax").rglob("README.md"),
]
DOTTED = re.compile(r"`((?:equivar_jax|benchmarks)(?:\.\w+)+)`")
PATHS = re.compile(r"`((?:equivar_jax|benchmarks|tests|docs|configs)/[\w./-]+)`")


def found(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            there = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[size:]:
            if not hasattr(there, attribute):
                return False
            there = getattr(there, attribute)
        return True
    return False


def docstrings():
    for path in (path for package in PACKAGES for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def test_dotted_names_in_docstrings_exist():
    named = {(path.name, name) for path, text in docstrings() for name in DOTTED.findall(text)}
    assert named
    assert [pair for pair in sorted(named) if not found(pair[1])] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_and_paths_in_texts_exist(path):
    text = path.read_text()
    assert [name for name in DOTTED.findall(text) if not found(name)] == []
    assert [name for name in PATHS.findall(text) if not (ROOT / name).exists()] == []


def test_every_room_has_a_page_that_says_what_lives_there():
    rooms = [
        ROOT / "equivar_jax" / room.name for room in pkgutil.iter_modules(equivar_jax.__path__) if room.ispkg
    ]
    assert len(rooms) > 10
    for room in rooms:
        lines = (room / "README.md").read_text().splitlines()
        assert 20 <= len(lines) <= 40 or room.name == "weights", room  # the card of the weights is longer
