"""The networks of a checkpoint on many devices: what `prediction.predictor` asks for with `devices=N`."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.network.core import Core
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.distances import known_of
from equivar_jax.prediction.giant.run import place, tensors_on_devices
from equivar_jax.prediction.members import Prediction, mean_and_spread
from equivar_jax.runtime import require_precision, use_compilation_cache
from equivar_jax.uncertainty.features import FeatureDomain
from equivar_jax.weights.stacking import member_of


class NetworksOnDevices:
    """The networks of a checkpoint, by JAX on the first of its devices.

    Args:
        network: The network.
        weights: Its weights; those of a committee have a leading axis with one entry for each member.
        members: Number of networks.
        dtype: Precision of the computation.
        features: What the last features of the training data of each network were like; none if not known.
        devices: How many devices.

    Raises:
        InputError: There are not so many devices, the network is of a form that is not divided, or float64 is
            asked for without `jax_enable_x64`.
    """

    def __init__(
        self,
        network: Core,
        weights: dict,
        members: int,
        dtype: np.dtype,
        features: Sequence[FeatureDomain],
        devices: int,
    ):
        if not isinstance(network, Equivar):
            raise InputError(
                f"devices={devices}: this network gives tensors as derivatives of a polarisation, and its "
                "way back through the layers is not divided among devices; leave out devices (--devices)"
            )
        there = jax.devices()
        if not 1 <= devices <= len(there):
            raise InputError(
                f"devices={devices}: JAX sees {len(there)} ({there[0].platform}); give a number from 1 to "
                "that, or start the program where it sees more (CUDA_VISIBLE_DEVICES; on a CPU "
                f"XLA_FLAGS=--xla_force_host_platform_device_count={max(devices, 1)})"
            )
        require_precision(dtype)
        use_compilation_cache()
        self.network, self.weights, self.members, self.dtype = network, weights, members, dtype
        self.devices = there[:devices]
        self._known = known_of(features, network.config.species, dtype) if features else None

    def run(
        self,
        samples: Sequence[Sample],
        structures: Sequence[Atoms],
        progress: bool,
        advance: Callable[[int], object],
    ) -> list[Prediction]:
        """Predict structures one after the other; see `Predictor.predict_samples`.

        Args:
            samples: Their graphs.
            structures: The structures themselves, for their positions.
            progress: Show a progress bar for the layers of each structure.
            advance: Called with the number of atoms of each structure, as soon as it is done.
        """
        found = []
        for sample, atoms in zip(samples, structures, strict=True):
            found.append(self.predict(atoms, sample, progress))
            advance(len(atoms))
        return found

    def predict(self, atoms: Atoms, sample: Sample, progress: bool = False) -> Prediction:
        """Predict one structure, whose atoms are divided among the devices.

        Args:
            atoms: The structure.
            sample: Its graph.
            progress: Show a progress bar.
        """
        placed = place(self.network, self.dtype, atoms, sample.graph, self.devices)
        far: list[np.ndarray | None] = []

        def tensors(number: int) -> np.ndarray:
            weights = self.weights if self.members == 1 else member_of(self.weights, number)
            known = None if self._known is None else jax.tree.map(lambda leaf: leaf[number], self._known)
            found, distances = tensors_on_devices(self.network, weights, placed, progress, known)
            far.append(distances)
            return found

        moments = mean_and_spread(map(tensors, range(self.members)), self.members)
        charge = float(sample.graph.globals["charge"][0])
        each = [one for one in far if one is not None]
        return Prediction.of(moments, charge, np.mean(each, axis=0) if each else None)
