"""The page of all results of a crystal: one HTML file that needs neither a network nor a library.

The folder `page` has its parts: a skeleton, a style sheet and scripts. They are put into one file together
with the results as JSON. From that JSON alone the scripts make tables, plots and the picture of the
structure, in the browser.
"""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from equivar_jax.io.files import open_for_writing

_SCRIPTS = (
    "basics.js",
    "header.js",
    "modes.js",
    "tensors.js",
    "algebra.js",
    "scene.js",
    "brush.js",
    "structure.js",
    "turning.js",
    "controls.js",
    "axes.js",
    "curves.js",
    "bands.js",
    "plots.js",
    "explanations.js",
    "start.js",
)
"""In this order they make one script."""
_SLOT = re.compile(r"\{\{(\w+)\}\}")
# A browser looks for these inside a script, whatever quotes they are in.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def write_report(results: dict[str, Any], path: Path) -> None:
    """Write the results of a crystal as a page for a browser.

    Args:
        results: What `equivar response crystal` writes as `results.json`: plain numbers, texts, lists and
            dictionaries, each name with its unit. What is None is replaced by the reason why.
        path: The file to write, compressed if its name ends in `.gz` or `.zst`.

    Raises:
        InputError: The file cannot be written.
        ValueError: A number is not finite, which JSON does not have.
    """
    page = _make_page(results)
    with open_for_writing(path) as handle:
        handle.write(page)


def _make_page(results: dict[str, Any]) -> str:
    """Put the parts of the page together."""
    style = _read_part("report.css")
    script = "\n".join(_read_part(name) for name in _SCRIPTS)
    slots = {
        "title": html.escape(f"{results['formula']} ({results['spacegroup']['symbol']})"),
        "policy": _security_policy(style, script),
        "style": style,
        "script": script,
        "results": _as_json(results),
    }
    # All slots are filled in one go, so that one in a file's name stays what it is.
    return _SLOT.sub(lambda slot: slots[slot[1]], _read_part("report.html"))


def _read_part(name: str) -> str:
    """Return the text of a file of the folder `page`."""
    return files("equivar_jax.response.crystal").joinpath("page", name).read_text(encoding="utf-8")


def _as_json(results: dict[str, Any]) -> str:
    """Format results as JSON in ASCII that cannot end the element of the page that holds it."""
    text = json.dumps(results, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: _UNSAFE[found[0]], text)


def _security_policy(style: str, script: str) -> str:
    """Return the policy with which a browser runs this style and this script, and loads nothing at all."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """Return the name that a security policy has for the text of an element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
