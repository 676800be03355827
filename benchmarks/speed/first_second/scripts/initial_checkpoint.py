"""Write the initial weights of a shipped config as a checkpoint: `initial_checkpoint.py CONFIG FOLDER`."""

import sys
from pathlib import Path

from benchmarks.speed.end_to_end import write_checkpoint

write_checkpoint(sys.argv[1], Path(sys.argv[2]))
