"""BaTiO3 from labelled frames to a P-E loop.

Frames with DFPT labels train a network of one material; it gives the charges with which a field moves the
atoms. The frames are 59 of a molecular dynamics run at 300 K where the folder that `EQUIVAR_DATA` names has
them. Else they are rattled cells with labels of the demonstration model, which is **not DFT**: then the
road is shown, not BaTiO3.
"""

import json
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from equivar_jax import load
from equivar_jax.datasets.demonstration.polarisable_ion import born_effective_charges
from equivar_jax.evaluate import main as evaluate
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.io import read_structures, write_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.polarisation import barium_titanate
from equivar_jax.structures import labels_of, with_born_effective_charges
from equivar_jax.train import main as train

SMALL = bool(os.environ.get("SMALL"))

# %%
# ## Frames
file = Path(os.environ.get("EQUIVAR_DATA", ""), "BaTiO3-300K.extxyz.gz")
if file.is_file() and not SMALL:
    frames = read_structures(file)
else:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(10 if SMALL else 80):
        atoms = barium_titanate()
        atoms.positions += rng.normal(scale=0.06, size=atoms.positions.shape)
        frames.append(with_born_effective_charges(atoms, born_effective_charges(atoms)))
held_out = max(len(frames) // 5, 2)
write_structures("train.extxyz", frames[:-held_out])
write_structures("test.extxyz", frames[-held_out:])
print(f"{len(frames)} frames of {len(frames[0])} atoms, {held_out} held out")

# %%
# ## Train
#
# The last frames are held out: neighbours in time resemble each other, so that a random choice would
# flatter. In the shell: `equivar train --config bm3_deep.py --data train.extxyz --run-dir runs/barium`.
# Here are fewer channels and epochs than it has, so that it takes minutes; `equivar teach` makes more of
# the same frames.
size = ["--model.channels", "16", "--model.interactions", "2", "--train.epochs", "2" if SMALL else "60"]
train(["--config", "bm3_deep.py", "--data", "train.extxyz", "--run-dir", "runs/barium", *size])

# %%
# ## Judge
evaluate(["--checkpoint", "runs/barium", "--data", "test.extxyz"])
errors = json.loads(Path("runs/barium/evaluation/evaluation.json").read_text())
print(*errors, sep=", ")

# %%
# ## The loop
#
# A double well for the soft mode gives the forces, as in `equivar response hysteresis --example`; the
# network gives the charges, and so the polarisation and what the field does. Charges of frames at 300 K are
# asked for at displacements that a field of switching makes: look at the warnings, if there are any.
points = ["--points", "6" if SMALL else "60"]
response(["hysteresis", "--checkpoint", "runs/barium", "-o", "loop.png", *points])
response(["hysteresis", "--example", "-o", "fixed.png", *points])
found, fixed = (json.loads(Path(name).read_text()) for name in ("loop.json", "fixed.json"))

# %%
# ## The picture
#
# Left the charges of the test frames; right the loop with charges of the network beside that with fixed
# ones. Coercive fields are those of homogeneous switching, orders of magnitude above measured ones.
test = read_structures("test.extxyz")
wanted = np.concatenate([labels_of(atoms).ravel() for atoms in test])
got = np.concatenate([tensors.ravel() for tensors in load("runs/barium").predict(test)])
with mpl.rc_context(STYLE):
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.axline((0, 0), slope=1, color="0.7", lw=0.8)
    left.plot(wanted, got, ".", ms=2, color=COLOURS[0], rasterized=True)
    left.set(xlabel="label (e)", ylabel="network (e)", title="Components of the test frames")
    for name, loop, colour in (("network", found, COLOURS[0]), ("fixed charges", fixed, COLOURS[1])):
        right.plot(loop["field_kV_per_cm"], loop["polarisation_uC_per_cm2"], color=colour, label=name)
    right.set(xlabel="field (kV/cm)", ylabel="polarisation (µC/cm²)", title="P-E loop")
    right.legend(loc="center", bbox_to_anchor=(0.5, 0.36))  # inside the loop, on no line
    save_figure(figure, Path("barium_titanate.png"))
