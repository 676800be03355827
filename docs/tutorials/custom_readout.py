"""A custom readout in 40 lines.

The network makes features of every atom; Born charges are one thing that can be read from them. Here the
features of the package's weights learn another one, a scalar of every atom: its energy in a Lennard-Jones
crystal, which is known, so that the result can be checked. Take a quantity of your own in its place.
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from ase.build import bulk
from ase.calculators.lj import LennardJones
from matplotlib.figure import Figure

from equivar_jax import load
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.graphs import graph_of
from equivar_jax.kernels import HIDDEN
from equivar_jax.network import Equivar, displace

FRAMES, STEPS = (6, 3) if os.environ.get("SMALL") else (32, 150)


# %%
# ## The readout
#
# A subclass of the network with weights of its own. `last_features` are the irreps that the last
# interaction leaves; the first, 0e, are scalars, one for each channel. Vectors and tensors are read in the
# same way from the others.
class SiteEnergy(Equivar):
    """A scalar of every atom."""

    def setup(self):
        """Make the weights."""
        super().setup()
        self.site_weight = self.param("site_weight", jax.nn.initializers.zeros, (self.config.channels,))
        self.site_bias = self.param("site_bias", jax.nn.initializers.zeros, ())

    def __call__(self, graph):
        """Return (nodes,)."""
        return self.last_features(graph).select(HIDDEN[:1])[:, 0] @ self.site_weight + self.site_bias


# %%
# ## Frames and labels
#
# One crystal, displaced at random; edges stay, so that a frame is an array of displacements.
atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
moves = np.random.default_rng(0).normal(scale=0.05, size=(FRAMES, len(atoms), 3))
labels = []
for move in moves:
    frame = atoms.copy()
    frame.positions += move
    frame.calc = LennardJones(sigma=1.8, epsilon=0.2, rc=3.6, smooth=True)
    labels.append(frame.get_potential_energies())
labels, moves = np.array(labels), jnp.array(moves, jnp.float32)
mean, spread = labels.mean(), labels.std()
train, test = slice(0, -FRAMES // 4), slice(-FRAMES // 4, None)

# %%
# ## Weights
#
# Those of the package, and new ones for the readout.
model = load("shipped", member=0)
network = SiteEnergy(model.network.config)
graph = graph_of(atoms, model.network.config.cutoff)
new = {"site_weight": jnp.zeros(model.network.config.channels), "site_bias": jnp.zeros(())}
params = {"params": {**model.params["params"], **new}}


# %%
# ## Train
#
# `vmap` over the frames, `grad` through the network, Adam on all weights.
@jax.jit
def energies(params, moves):
    """(frames, atoms), in units of their spread."""
    return jax.vmap(lambda move: network.apply(params, displace(graph, move)))(moves)


def loss(params):
    """Return the mean square error, in units of the variance."""
    return jnp.mean((energies(params, moves[train]) - (labels[train] - mean) / spread) ** 2)


optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))


@jax.jit
def step(params, state):
    """Make one step of the optimiser."""
    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, value


state, losses = optimizer.init(params), []
for _ in range(STEPS):
    params, state, value = step(params, state)
    losses.append(float(value))
found = np.asarray(energies(params, moves[test])) * spread + mean
error = abs(found - labels[test]).mean()
print(f"error {1000 * error:.1f} of a spread of {1000 * spread:.1f} meV, {len(found)} frames not trained on")


# %%
# ## The picture
names = {12: "Mg", 8: "O"}
with mpl.rc_context(STYLE):
    figure = Figure(figsize=(6.2, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(losses, color=COLOURS[0])
    left.set(xlabel="step", ylabel="loss (variance of the labels)", title="Training")
    right.axline((labels.min(), labels.min()), slope=1, color="0.7", lw=0.8)
    for species, colour in ((12, COLOURS[0]), (8, COLOURS[1])):
        chosen = atoms.numbers == species
        pairs = labels[test][:, chosen].ravel(), found[:, chosen].ravel()
        right.plot(*pairs, ".", color=colour, label=names[species])
    right.set(xlabel="energy of the atom (eV)", ylabel="read out (eV)", title="Frames not trained on")
    right.legend()
    save_figure(figure, Path("custom_readout.png"))
