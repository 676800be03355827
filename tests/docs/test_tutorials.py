"""Tutorials run from the first line to the last, and have a page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_ends_with_its_picture(path, tmp_path):
    words = [sys.executable, "-W", "ignore", str(path)]
    variables = {**os.environ, "SMALL": "1", "PYTHONPATH": str(DOCS.parent)}
    process = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / f"{path.stem}.png").stat().st_size > 10_000


def test_there_are_four_of_which_one_is_a_readout_in_forty_lines():
    assert len(TUTORIALS) == 4
    source = (DOCS / "tutorials" / "custom_readout.py").read_text()
    start, end = source.index("class SiteEnergy"), source.index("state, losses")
    code = [
        line for line in source[start:end].splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    assert len(code) <= 40


def test_text_and_code_of_a_script_become_a_page(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "making"))
    from tutorials import tutorial_page

    script = tmp_path / "one.py"
    script.write_text(
        '"""A title.\n\nWhat it says.\n"""\n\nx = 1\n\n# %%\n# ## A heading\n#\n# Words.\ny = 2\n'
    )
    page = tutorial_page(script)
    assert page.startswith("# A title\n")
    assert "What it says." in page
    assert "```python\nx = 1\n```" in page
    assert "## A heading\n\nWords.\n\n```python\ny = 2\n```" in page
