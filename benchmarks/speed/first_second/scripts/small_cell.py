"""Time warm calls on a 2-atom cell: `small_cell.py BM2_CHECKPOINT CALLS`; print medians in ms as JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from ase.build import bulk

from equivar_jax import load

bm2, calls = load(sys.argv[1]), int(sys.argv[2])
committee, member = load(), load(member=0)

cells = []
for number in range(calls):  # no two are the same, so that nothing can be remembered
    cell = bulk("BaO", "rocksalt", a=5.54)
    cell.positions[1] += 1e-3 * number / calls
    cells.append(cell)


def median_ms(call: Callable[..., Any]) -> float:
    """Time a call on each of the cells, after five calls that are not counted."""
    for cell in cells[:5]:
        call(cell)
    seconds = []
    for cell in cells:
        started = time.perf_counter()
        call(cell)
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


found = {
    "bm2": median_ms(bm2.predict),
    "member": median_ms(member.predict),
    "committee": median_ms(lambda cell: committee.predict(cell, uncertainty=True)),
}
print(json.dumps(found))
