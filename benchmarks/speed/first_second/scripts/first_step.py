"""Train one step of BM2 as `equivar train --config bm2.py --run-dir RUN` does; print its seconds as JSON."""

import json
import sys
import time
from pathlib import Path

import jax

from equivar_jax.config.files import load_config
from equivar_jax.training import start_run

run = start_run(load_config("bm2.py"), Path(sys.argv[1]))
batch = run.plan.collate(run.plan.epoch(0)[0])
started = time.perf_counter()
jax.block_until_ready(run.plan.steps.train(run.state, batch))
print(json.dumps({"step": time.perf_counter() - started}))
