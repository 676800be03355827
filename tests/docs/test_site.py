"""The site is built by one command, strictly, and needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\s\">]+)|<link[^>]*rel=\"?(?:stylesheet|preload)[^>]*href=\"?(https?:[^\s\">]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.slow
def test_links_hold_and_nothing_comes_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text()
        assert LOADED.findall(text) == [], page
        assert "```math" not in text, page
        assert "<!-- table" not in text, page
        assert not re.search(r"\[\[\S+\.json ", text), page
    assert not [path for path in site.rglob("*.css") if "url(http" in path.read_text()]


@pytest.mark.slow
def test_the_index_of_the_search_is_a_script_too(site):
    index = (site / "search" / "search_index.js").read_text()
    assert index.startswith("var __index = {")
    assert "Born effective charge" in index
    assert (site / "assets" / "worker.js").is_file()
