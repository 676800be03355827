"""Write the initial weights of BM1 and BM2 as checkpoints into a folder."""

import sys
from pathlib import Path

from benchmarks.speed.end_to_end import write_checkpoint

for name in ("bm1", "bm2"):
    write_checkpoint(f"{name}.py", Path(sys.argv[1]) / name)
