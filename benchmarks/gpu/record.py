"""The result file of the benchmark on a GPU, written after every row, so that a cut leaves what there is."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.tables import make_page
from equivar_jax.io.files import write_whole

UNMEASURED, MEASURED, FAILED = "unmeasured", "measured", "failed"


class Record:
    """Rows by name, each with `status`, what it is about, and numbers or the reason why there are none.

    Args:
        path: The JSON file; tables in Markdown go beside it.
        head: What stands before the rows: machine, versions, commit.
        rows: Name and description of every row, in the order of the tables.
    """

    def __init__(self, path: Path, head: dict[str, Any], rows: Sequence[tuple[str, dict[str, Any]]]):
        self.path = path
        self._lock = threading.Lock()
        self._closed = False
        self.result = {
            **head,
            "rows": {name: {"status": UNMEASURED, "reason": "not begun", **about} for name, about in rows},
        }
        self.write()

    def enter(self, name: str, status: str, **values: Any) -> None:
        """Enter what was found of a row, or why nothing was, and write the files."""
        with self._lock:
            if self._closed:
                return
            row = self.result["rows"][name]
            del row["reason"]
            row.update(status=status, **values)
            self._write()
        print(f"{name}: {status}{': ' + values['reason'] if 'reason' in values else ''}", flush=True)

    def write(self) -> None:
        """Write the files."""
        with self._lock:
            self._write()

    def close(self, reason: str, **head: Any) -> None:
        """Enter for every row that was not reached why, write the files, and take no further rows."""
        with self._lock:
            for row in self.result["rows"].values():
                if row.get("reason") == "not begun":
                    row["reason"] = reason
            self.result.update(head)
            self._closed = True
            self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(self.result, indent=2) + "\n")
        self.path.with_suffix(".md").write_text(make_page(self.result))
