"""Hooks of MkDocs: pages that are made at build time, numbers of result files, equations.

Nothing that another file of the repository knows is written down again in a page. A page may have

- `[[benchmarks/results/metals.json tests.experiment.metals_found | .0%]]`: a number of a result file, see
  `values`;
- a block ```` ```math ````, one equation a line, which becomes a drawing (`equations`);
- a comment `<!-- tables of FILE: SECTION -->`, in whose place the tables of that section stand;
- a comment `<!-- table of index orders -->`, the same for what the readers of `equivar_jax.io` say;
- a comment `<!-- small: ... -->`, which is for the test of the page (`tests/docs`) and is left out.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `gallery`

from api import api_page, room_pages
from equations import draw_equations
from gallery import gallery_text
from messages import messages_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import commands_page, formats_page, index_orders, settings_page
from results import benchmark_page, result_pages, tables_of
from tutorials import tutorial_pages
from values import fill_in

ROOT = Path(__file__).parents[2]
ORDERS = "<!-- table of index orders -->"
TABLES = re.compile(r"<!-- tables of (?P<path>\S+): (?P<section>.*?) -->")
SMALL = re.compile(r"^<!-- (small|long):.*?-->\n", flags=re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that are made from code and results."""
    pages: dict[str, str | bytes] = {
        "reference/api.md": api_page(),
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/formats.md": formats_page(),
        "reference/messages.md": messages_page(),
        "method/benchmarks.md": benchmark_page(),
        **room_pages(),
        **result_pages(),
        **tutorial_pages(),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put numbers and equations into a page, and leave out what is for its test."""
    del config, files
    if page.file.src_uri == "gallery.md":
        markdown = markdown.replace("<!-- gallery -->", gallery_text())
    text = SMALL.sub("", markdown)
    if ORDERS in text:
        text = text.replace(ORDERS, index_orders())
    text = TABLES.sub(lambda match: tables_of(match["path"], match["section"]), text)
    return draw_equations(fill_in(text))


def on_post_build(config: MkDocsConfig) -> None:
    """Write the index of the search as a script, too, for pages that were opened as files."""
    folder = Path(config.site_dir, "search")
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
