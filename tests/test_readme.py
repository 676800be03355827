import json
import re
from pathlib import Path

import pytest

from equivar_jax.config.files import shipped_configs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_every_python_example_runs_alone(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) == 2
    exec(EXAMPLES[number], {})


def test_it_fits_on_a_few_screens():
    assert len(README.splitlines()) <= 120


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    inside = [link for link in links if "://" not in link]
    assert len(inside) > 20
    assert [link for link in inside if not (ROOT / link).is_file()] == []


def test_the_first_screen_has_the_two_commands():
    first_screen = README.splitlines()[:20]
    commands = [line.strip() for line in first_screen if line.startswith("    ")]
    assert commands == [
        "python -m pip install -e . && python -m equivar_jax.train --config bm2.py",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_every_named_config_is_shipped():
    named = set(re.findall(r"`(\w+\.py)`", README))
    assert named == set(shipped_configs())


def test_its_numbers_are_those_of_the_results():
    card = (ROOT / "equivar_jax" / "weights" / "README.md").read_text()
    assert "0.043 and 0.054 e" in README
    assert "**0.0431**" in card
    assert "**0.0543**" in card
    tables = (ROOT / "benchmarks" / "results" / "accuracy" / "README.md").read_text()
    assert "0.042, 0.015, 0.011 e" in README
    for row in ("BM1 | 510,081 | 120 | 1 | 312 | 0.406 | 0.0208 | 0.0424", "BM3 | 269,225 | 120 | 2 |"):
        assert row in tables
    assert "| 0.0145 ± 0.0000 |" in tables
    kept = json.loads((ROOT / "benchmarks" / "results" / "kept.json").read_text())
    assert f"{kept['BaTiO3-300K']['mae']:.3f}" == "0.011"
    peers = json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())["results"][0]
    for kind, times in (("inference", 36), ("training", 22)):
        medians = {name: one["median"] for name, one in peers[kind].items()}
        assert round(medians["torch e3nn uuw"] / medians["equivar_jax"]) == times
    assert "| 36, 22 (" in README
    found = json.loads((ROOT / "benchmarks" / "results" / "from_structure.json").read_text())["medians"]
    assert f"{found['both']['static']:.0%}" == "17%"
    assert "| 17 % off (" in README
