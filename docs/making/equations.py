"""Equations of pages as drawings by matplotlib, inside the page: no script, no font, no network."""

import functools
import hashlib
import html
import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

BLOCK = re.compile(r"^```math\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)
_SIZE = 14.0
_DRAWING = re.compile(r"<svg.*</svg>", flags=re.DOTALL)


def draw_equations(text: str) -> str:
    """Replace blocks ```` ```math ```` by drawings, one for each line, with the line as their description."""
    return BLOCK.sub(lambda match: _drawn(match[1].strip().splitlines()), text)


def _drawn(lines: list[str]) -> str:
    drawings = "".join(f"<div>{draw(line)}</div>" for line in lines if line.strip())
    return f'<div class="equation">{drawings}</div>\n'


@functools.cache
def draw(equation: str) -> str:
    """Draw one equation in TeX, as far as matplotlib knows it, as SVG in the colour of the text."""
    figure = Figure(figsize=(0.1, 0.1))
    figure.text(0, 0, f"${equation}$", fontsize=_SIZE, color="#010203", math_fontfamily="stix")
    made = io.StringIO()
    settings = {"svg.fonttype": "path", "svg.hashsalt": equation}
    with mpl.rc_context(settings):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(
            made, format="svg", bbox_inches="tight", pad_inches=0.03, transparent=True, metadata=metadata
        )
    match = _DRAWING.search(made.getvalue())
    assert match is not None  # matplotlib has drawn
    label = f'<svg role="img" aria-label="{html.escape(equation, quote=True)}"'
    drawing = match[0].replace("#010203", "currentColor").replace("<svg", label, 1)
    key = hashlib.sha256(equation.encode()).hexdigest()[
        :8
    ]  # names of glyphs must not be those of another drawing
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>e{key}-", drawing)
    return re.sub(r">\s+<", "><", drawing).replace("\n", " ")
