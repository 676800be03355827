"""`TrainedModel`: the networks of a checkpoint and what is known of them; what they compute for samples.

`Predictor`, which takes structures, stands on it, and so do the modules that it calls.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import AnyGraph, find_neighbours
from equivar_jax.prediction.abilities import require_polarisation, require_readout
from equivar_jax.prediction.in_cpp import NetworksInCpp, why_not_in_cpp
from equivar_jax.prediction.members import Networks, Prediction
from equivar_jax.prediction.remarks import element_warnings, prediction_warnings, structure_warnings
from equivar_jax.runtime import require_precision
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import DomainWarning
from equivar_jax.weights.metadata import Metadata
from equivar_jax.weights.stacking import leaves_of, member_of

if TYPE_CHECKING:  # these bring JAX along, which the C++ form does not need
    from equivar_jax.network.core import Core
    from equivar_jax.prediction.giant import NetworksOnDevices


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A trained network, or a committee of them, with what its checkpoint knows of it.

    It makes samples of structures and computes their tensors, and it collects warnings without emitting them.
    """

    weights: dict
    """Weights of the network in NumPy; those of a committee have a leading axis with one entry for each
    member."""
    metadata: Metadata

    def __getstate__(self) -> dict[str, Any]:
        # What was made for this process stays here: a pickle is for another one.
        return {"weights": self.weights, "metadata": self.metadata}

    def __repr__(self) -> str:
        networks = "one network" if self.members == 1 else f"{self.members} networks"
        return (
            f"{type(self).__name__}({networks} in the form {self.config.form!r}, "
            f"{len(self.metadata.elements)} elements, cutoff {self.config.cutoff:g} Å, {self.dtype})"
        )

    @property
    def config(self) -> ModelConfig:
        """The settings of the network."""
        return self.metadata.config.model

    @property
    def members(self) -> int:
        """Number of networks: that of the committee, or 1 for a single network."""
        return self.metadata.members

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """Precision of the weights, and so of the computation."""
        return np.dtype(next(leaves_of(self.weights)).dtype)

    def predict_samples(
        self,
        samples: Sequence[Sample],
        *,
        progress: bool = False,
        advance: Callable[[int], object] = lambda _: None,
    ) -> list[Prediction]:
        """Predict structures that `prepare` has turned into samples; emit no warnings.

        Args:
            samples: The samples. Their order changes nothing but the order of the result.
            progress: Show a progress bar for the layers of large structures.
            advance: Called with the number of atoms of every batch or large structure, as soon as it is done.
        """
        return self._networks.run(samples, self._networks.stage(samples), progress, advance)

    def dipoles_of_samples(self, samples: Sequence[Sample]) -> list[Float[np.ndarray, "members atoms 3"]]:
        """Compute the dipoles mu of the atoms in e Å, a part of the polarisation; emit no warnings.

        Args:
            samples: What `prepare` makes of structures; the model must be in the form of a polarisation.

        Raises:
            InputError: the model gives tensors directly.
        """
        require_polarisation(self.config)
        return self._networks.dipoles(samples, self._networks.stage(samples))

    def dielectric_of_members(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members structures 3 3"]:
        """Compute the electronic dielectric tensors of each network (see `dielectric_tensors`).

        Args:
            samples: What `prepare` makes of crystals; the network must have the readout.
        """
        roots = np.eye(3) + self._networks.dielectric(samples)
        return np.eye(3) + np.einsum("msac,msbc->msab", roots, roots)

    def networks_on(self, devices: int) -> "NetworksOnDevices":
        """Return what computes the tensors of structures that are divided among so many devices.

        Raises:
            InputError: there are fewer devices, or the network is of a form that is not divided.
        """
        from equivar_jax.prediction.giant import NetworksOnDevices

        return NetworksOnDevices(
            self.network, self.weights, self.members, self.dtype, self.metadata.features, devices
        )

    @functools.cached_property
    def _networks(self) -> Networks:
        """What computes the tensors."""
        if why_not_in_cpp(self.config, self.dtype) is None:
            one = self.members == 1
            each = [self.weights] if one else [member_of(self.weights, k) for k in range(self.members)]
            return NetworksInCpp(self.config, each, self.dtype, self.metadata.features)
        from equivar_jax.prediction.in_xla import NetworksInXla

        return NetworksInXla(self.network, self.weights, self.members, self.dtype, self.metadata.features)

    def prepare(self, atoms: Atoms, *, allow_unseen: bool = False) -> tuple[Sample, list[UserWarning]]:
        """Build the graph of a structure, and collect its warnings (see `structure_warnings`).

        Args:
            atoms: The structure.
            allow_unseen: Only warn about elements that did not occur in the training data.

        Returns:
            The unlabelled sample with the graph, and the warnings, which are not yet emitted.

        Raises:
            InputError: the structure cannot be used, or it has an element that the model has never seen.
        """
        graph = find_neighbours(atoms, self.config.cutoff)
        return Sample(graph, None), self.structure_warnings(atoms, graph, allow_unseen)

    def check_elements(self, atoms: Atoms, allow_unseen: bool) -> list[UserWarning]:
        """Collect a warning about elements that did not occur in the training data, without emitting it.

        Raises:
            InputError: there are such elements, and either `allow_unseen` is false or the network has no
                place for them.
        """
        return element_warnings(atoms, self.metadata, allow_unseen)

    def structure_warnings(self, atoms: Atoms, graph: AnyGraph, allow_unseen: bool) -> list[UserWarning]:
        """Collect the warnings about a structure that need no prediction, without emitting them.

        They are about elements that were never or rarely seen in training, atoms without a neighbour, and
        atoms closer than in the training data.

        Args:
            atoms: The structure.
            graph: Its graph, as `find_neighbours` returns it.
            allow_unseen: Only warn about elements that did not occur in the training data.

        Raises:
            InputError: the structure has an element that the model has never seen, and `allow_unseen` is
                false; or the network has no place for the element.
        """
        return structure_warnings(atoms, graph, self.metadata, allow_unseen)

    def prediction_warnings(self, atoms: Atoms, prediction: Prediction) -> list[DomainWarning]:
        """Collect the warnings that need a prediction, without emitting them.

        Args:
            atoms: The structure.
            prediction: What this predictor returned for it.

        Returns:
            A warning if the features of atoms are far from those of the training data, where these are known;
            and one if atoms are less certain than those of the validation data, from a calibrated committee
            that knows its domain.
        """
        return prediction_warnings(atoms, prediction, self.metadata)

    @property
    def calibration(self) -> Calibration:
        """The calibration that turns the spread of the members into standard deviations.

        Raises:
            InputError: this is a single network, or a committee that was not calibrated.
        """
        how = "equivar committee RUN RUN ... -o FOLDER"
        if self.members == 1:
            raise InputError(
                "uncertainty needs a committee, but the model is a single network; train a few with "
                f"different --train.seed and join them: {how}"
            )
        if self.metadata.calibration is None:
            raise InputError(f"uncertainty needs a calibrated committee; join the members anew: {how}")
        return self.metadata.calibration

    @property
    def dielectric_calibration(self) -> Calibration:
        """The calibration for electronic dielectric tensors.

        Raises:
            InputError: the model has no readout for them, is a single network, or a committee that was not
                calibrated for them.
        """
        require_readout(self.config)
        if self.members > 1 and self.metadata.dielectric_calibration is None:
            raise InputError(
                "the committee was not calibrated for dielectric tensors; join the members anew, on "
                "structures with info['epsilon_inf']: equivar committee RUN RUN ... -o FOLDER"
            )
        return self.metadata.dielectric_calibration or self.calibration

    def check_knows_features(self) -> None:
        """Refuse to tell a distance from the training data if the checkpoint does not know their features.

        Raises:
            InputError: an earlier version wrote the checkpoint, or its members do not all know it.
        """
        if not self.metadata.features:
            raise InputError(
                "the checkpoint does not know how far an atom is from its training data, since an earlier "
                "version of this program wrote it; train again"
            )

    @functools.cached_property
    def network(self) -> "Core":
        """The network as a Flax module."""
        from equivar_jax.network.forms import make_network  # brings JAX along

        return make_network(self.config)

    @functools.cached_property
    def params(self) -> dict:
        """Weights of the single network as JAX arrays, the same at every call.

        Who donates them to a function of his own hands over a copy, `jax.tree.map(jnp.copy, params)`.

        Raises:
            InputError: this is a committee, with more than one network; or float64 without `jax_enable_x64`.
        """
        if self.members > 1:
            raise InputError(
                f"this needs the weights of one network, but the model is a committee of {self.members}; "
                "take one of them: load(..., member=0), or model.member(0)"
            )
        import jax

        require_precision(self.dtype)
        # They are kept, so that no tracer may be among them where a traced function asks for them first.
        with jax.ensure_compile_time_eval():
            return jax.tree.map(jax.numpy.asarray, self.weights)

    @property
    def model(self) -> "Core":
        """The network under its old name; warns with a `DeprecationWarning`."""
        warnings.warn(
            "Predictor.model is now Predictor.network; the old name goes with the next minor version",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.network
