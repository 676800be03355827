"""Committees of tiny networks that nobody trained."""

import dataclasses

import jax
import numpy as np

from equivar_jax.config import Config, ModelConfig
from equivar_jax.prediction import Predictor, join_members
from equivar_jax.uncertainty import Calibration
from equivar_jax.weights.checkpoint import Metadata
from helpers.networks import random_params

CONFIG = ModelConfig(channels=16, interactions=2, mean_neighbours=9.0)
MEMBERS = 3
CALIBRATION = Calibration(0.5, 0.01, 0.68, 0.95, 0.5, 900)
DIELECTRIC_CALIBRATION = Calibration(2.0, 0.003, 0.68, 0.95, 0.5, 900, relative=0.0)


def drawn(seed, config=CONFIG):
    """Weights that nobody trained; those of all seeds resemble each other."""
    rng = np.random.default_rng(seed)
    shape = {
        name: getattr(config, name) for name in ("channels", "interactions", "dielectric", "form", "envelope")
    }
    one = random_params(ModelConfig(mean_neighbours=9.0, **shape))
    return jax.tree.map(lambda leaf: leaf * (1 + 0.2 * rng.normal(size=leaf.shape)).astype(np.float32), one)


def network(seed, config=CONFIG, elements=(8, 20, 22)):
    """A predictor with these weights."""
    return Predictor(drawn(seed, config), Metadata(Config(model=config), elements))


def with_kernel(predictor, kernel):
    """The same weights with another kernel: "auto" computes in C++ on a CPU, "chunked" by XLA."""
    config = predictor.metadata.config
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, kernel=kernel))
    return Predictor(predictor.weights, dataclasses.replace(predictor.metadata, config=config))


def joined(config=CONFIG, calibration=CALIBRATION, members=MEMBERS):
    found = join_members([network(k, config) for k in range(members)], ["a", "b", "c"][:members])
    return dataclasses.replace(found, metadata=dataclasses.replace(found.metadata, calibration=calibration))


def calibrated_with_dielectric():
    """A committee with the readout for electronic dielectric tensors, calibrated for both."""
    found = joined(dataclasses.replace(CONFIG, interactions=1, dielectric=True))
    metadata = dataclasses.replace(found.metadata, dielectric_calibration=DIELECTRIC_CALIBRATION)
    return dataclasses.replace(found, metadata=metadata)
