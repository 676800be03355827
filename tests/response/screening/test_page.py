"""The page: what is in it, that it asks for nothing, and that it sorts."""

import json
import re
import shutil
import subprocess

import pytest

from equivar_jax.response.screening.columns import COLUMNS, from_words, to_words
from equivar_jax.response.screening.page import write_page
from equivar_jax.response.screening.ranking import rank_rows


def row(index, **values):
    empty = from_words(dict.fromkeys(COLUMNS, ""))
    return empty | {"file": "a.extxyz", "index": index, "frame": index, "formula": f"MgO{index}"} | values


ROWS = [
    row(0, anomaly=1.5, epsilon_inf=9.0),
    row(1, anomaly=None, error="atoms at the same place", formula=""),
    row(2, anomaly=4.0, epsilon_inf=3.0, rare_element=True, warnings="elements hardly seen: <Pr>"),
    row(3, anomaly=2.0, file="</script><script>alert(1)</script>.cif"),
    row(4, anomaly=1.5, nominal_signs=False),
]


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "screen.html"
    write_page(path, rank_rows(ROWS, "anomaly"), "anomaly")
    return path


def embedded(text):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    )


def test_rows_are_in_the_order_of_the_ranking_with_flags_in_words(page):
    data = embedded(page.read_text())
    names = [name for name, *_ in data["columns"]]
    column = lambda name: [one[names.index(name)] for one in data["rows"]]  # noqa: E731
    assert column("formula") == ["MgO2", "MgO3", "MgO0", "MgO4", ""]
    assert column("rank") == [1, 2, 3, 4, None]
    assert column("anomaly") == [4.0, 2.0, 1.5, 1.5, None]
    assert column("flags") == [
        [["rare element"], "elements hardly seen: <Pr>"],
        [[], ""],
        [[], ""],
        [["sign not nominal"], ""],
        [["refused"], "atoms at the same place"],
    ]
    assert data["sorted"] == "anomaly"
    assert column("file")[1] == "</script><script>alert(1)</script>.cif"


def test_the_page_asks_for_nothing_and_ends_no_script_early(page):
    text = page.read_text()
    assert "default-src 'none'" in text
    assert not re.findall(r"https?:|\bsrc=|<link|@import|url\(|fetch\(|XMLHttp|import\(", text)
    assert text.count("</script>") == 2
    assert "{{" not in text


def test_values_of_the_table_come_back():
    for one in ROWS:
        words = dict(zip(COLUMNS, to_words(one), strict=True))
        assert from_words(words) == one


@pytest.mark.slow  # a browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_click_on_a_head_sorts_and_the_filter_hides(page, tmp_path):
    """The page itself is opened, with a script that clicks and leaves what it sees in the title."""
    text = page.read_text()
    click = """
const names = () => [...document.querySelectorAll("#body tr")].map(one => one.cells[1].textContent).join(" ");
const titled = title => [...document.querySelectorAll("th button")].find(one => one.textContent === title);
const seen = [names()];
for (const title of ["ε∞", "ε∞", "formula", "flags"]) { titled(title).click(); seen.push(names()); }
filter.value = "rare"; filter.dispatchEvent(new Event("input")); seen.push(names());
filter.value = ""; quiet.click(); seen.push(names());
document.body.textContent = JSON.stringify(seen);
</script>
</body>"""
    clicked = tmp_path / "clicked.html"
    clicked.write_text(text.replace("</script>\n</body>", click))
    quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    words = [f"--{word}" for word in f"{quiet} disable-component-update disable-sync".split()]
    command = ["chromium", "--headless", *words, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run(
        [*command, clicked.as_uri()], capture_output=True, text=True, check=True, timeout=900
    )
    seen = json.loads(re.search(r"<body>(.*)</body>", shown.stdout, re.DOTALL)[1])
    assert seen == [
        "MgO2 MgO3 MgO0 MgO4 ",
        "MgO0 MgO2 MgO3 MgO4 ",
        "MgO2 MgO0 MgO3 MgO4 ",
        "MgO0 MgO2 MgO3 MgO4 ",
        "MgO2 MgO4  MgO3 MgO0",
        "MgO2",
        "MgO3 MgO0",
    ]
