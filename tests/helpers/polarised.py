"""A tiny network of the polarisation form with random weights, which nobody trained."""

import functools

import jax
import numpy as np
from ase import Atoms

from equivar_jax.config import Config, ModelConfig
from equivar_jax.network.forms import make_network
from equivar_jax.prediction import Predictor
from equivar_jax.weights.metadata import Metadata
from equivar_jax.weights.stacking import map_weights, stack_weights

CONFIG = ModelConfig(
    form="polarisation",
    kernel="chunked",
    channels=8,
    interactions=2,
    radial_functions=10,
    mean_neighbours=6.0,
    envelope=True,
)
STRENGTH = 0.3
"""Of the dipoles of atoms, with which tensors change by some tenths of e."""


@functools.cache
def weights(seed=0):
    """Weights in NumPy and double precision, with charges of the elements, which are not neutral."""
    with jax.enable_x64(True):
        params = jax.jit(lambda key: make_network(CONFIG).init(key, method="make_weights"))(
            jax.random.key(seed)
        )
    rng = np.random.default_rng(seed)
    drawn = map_weights(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), jax.device_get(params))
    table = drawn["params"]
    table["element_dipole"] = STRENGTH * table["element_dipole"]
    table["element_charge"] = np.zeros(CONFIG.species)
    table["element_charge"][[8, 12]] = -1.9, 2.2
    return drawn


def predictor(members=1, dtype=np.float64, config=CONFIG):
    """A network, or a committee, that knows Mg and O."""
    drawn = weights() if members == 1 else stack_weights([weights(k) for k in range(members)])
    given = map_weights(lambda leaf: np.asarray(leaf, dtype), drawn)
    return Predictor(given, Metadata(Config(model=config), (8, 12), members=members))


def molecule(seed=0):
    """Five atoms without symmetry."""
    places = np.array([[0, 0, 0], [1.9, 0, 0], [0, 2, 0.3], [0.2, 0.1, 2.1], [1.8, 1.9, 0.2]])
    return Atoms("MgO2MgO", positions=places + 0.1 * np.random.default_rng(seed).normal(size=places.shape))
