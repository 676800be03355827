"""Numbers of result files in texts: `[[FILE KEYS | FORMAT]]`.

FILE is a JSON file of the repository, KEYS are names and places of lists, joined by dots (a part that has
dots itself stands in quotation marks), FORMAT is one of Python's for numbers. `[[metals.json threshold]]`
looks below `benchmarks/results`.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
VALUE = re.compile(r"\[\[(?P<file>\S+\.json) (?P<keys>[^|\]]+?)(?: \| (?P<format>[^\]]+))?\]\]")
PART = re.compile(r'"([^"]+)"|([^."]+)')


@functools.cache
def load(path: str) -> Any:
    """Read a JSON file, given by its path in the repository or below the results."""
    below = RESULTS / path
    return json.loads((below if below.is_file() else ROOT / path).read_text())


def look_up(path: str, keys: str) -> Any:
    """Return what a result file has under keys.

    Raises:
        KeyError: there is nothing; the message names file and keys.
    """
    found = load(path)
    for quoted, plain in PART.findall(keys):
        try:
            found = found[int(plain)] if isinstance(found, list) else found[quoted or plain]
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(f"{path}: nothing at {quoted or plain!r} of {keys!r}") from None
    return found


def fill_in(text: str) -> str:
    """Replace every `[[FILE KEYS | FORMAT]]` of a text by the number."""
    return VALUE.sub(lambda match: format(look_up(match["file"], match["keys"]), match["format"] or ""), text)
