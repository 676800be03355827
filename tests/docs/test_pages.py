"""The code of every page of the site runs, block by block, with the files that its reader has."""

import re

import pytest
from helpers.pages import DOCS, HAS, Block, blocks_of, nothing, run

ILLUSTRATED = {DOCS / "engines" / "jax.md", DOCS / "engines" / "lammps.md"}
"""Pages whose blocks are parts of programs that have tests of their own beside this file."""
PAGES = sorted(
    path.relative_to(DOCS).as_posix()
    for path in DOCS.rglob("*.md")
    if path.parent.name != "making" and path not in ILLUSTRATED and blocks_of(path.read_text())
)
SLOW = {
    "howto/infrared-md.md",
    "howto/judge.md",
    "howto/loop.md",
    "howto/train.md",
    "start/first-spectrum.md",
    "start/install.md",
}
"""Pages that take more than half a minute, also with small sizes."""
PICTURE = re.compile(r"!\[[^\]]+\]\((?:\.\./)*(pictures/[\w.-]+)\)")


def is_slow(page):
    return page in SLOW or any(block.is_long for block in blocks_of((DOCS / page).read_text()))


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")  # of tiny networks
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if is_slow(page) else ()) for page in PAGES]
)
def test_every_block_of_a_page_runs_alone(page, tmp_path, monkeypatch):
    """In their order, in one folder; names of Python do not go from one block to the next."""
    monkeypatch.chdir(tmp_path)
    HAS.get(page, nothing)()
    for block in blocks_of((DOCS / page).read_text()):
        run(block)


def test_pages_with_files_are_there():
    assert HAS.keys() <= set(PAGES)
    assert set(PAGES) >= SLOW


HOW_TO = [page for page in PAGES if page.startswith("howto/")]
HOW_TO += ["engines/README.md", "engines/lammps.md", "cluster/README.md"]


@pytest.mark.parametrize("page", HOW_TO)
def test_a_page_of_how_to_begins_with_what_one_has_and_ends_with_a_picture_and_doubts(page):
    text = (DOCS / page).read_text()
    assert "**You have** " in text.split("```")[0]
    before, heading, doubts = text.partition("## What to distrust\n")
    assert heading
    assert len(doubts) > 100
    named = PICTURE.findall(before)
    assert named
    assert all((DOCS / name).is_file() for name in named)


def test_blocks_are_found_with_their_small_sizes():
    text = "<!-- long: why -->\n<!-- small: 10 -> 2; a b -> c -->\n```sh\nequivar x 10 a b\n```\n"
    text += "\n```python\n1\n```\n"
    first, second = blocks_of(text)
    assert first == Block("sh", "equivar x 10 a b\n", (("10", "2"), ("a b", "c")), True)
    assert first.to_run() == "equivar x 2 c\n"
    assert second == Block("python", "1\n", (), False)
    with pytest.raises(AssertionError, match="out of date"):
        first._replace(small=(("20", "2"),)).to_run()
