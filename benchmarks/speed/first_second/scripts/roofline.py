"""Time BM1 beside the machine's own rates, as the build's own benchmark does: `roofline.py CELLS ROUNDS`."""

import json
import sys

from benchmarks.speed.roofline import measure

print(json.dumps(measure("bm1.py", int(sys.argv[1]), int(sys.argv[2]))))
