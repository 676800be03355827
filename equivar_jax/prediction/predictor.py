"""`Predictor`: a loaded network or committee that predicts Born effective charges of structures."""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import AnyGraph, find_neighbours
from equivar_jax.prediction.dielectric import dielectric_tensors, require_readout
from equivar_jax.prediction.in_cpp import NetworksInCpp, why_not_in_cpp
from equivar_jax.prediction.members import Networks, Prediction, Uncertain
from equivar_jax.prediction.polarisation import CellDipole, Images, cell_dipoles, require_polarisation
from equivar_jax.prediction.remarks import element_warnings, prediction_warnings, structure_warnings
from equivar_jax.prediction.windows import predict_in_windows
from equivar_jax.runtime import require_precision
from equivar_jax.structures import list_structures
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import DomainWarning, without_domain_warnings
from equivar_jax.weights.metadata import Metadata
from equivar_jax.weights.stacking import leaves_of, member_of

if TYPE_CHECKING:
    from equivar_jax.network.core import Core
    from equivar_jax.prediction.giant import NetworksOnDevices


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """A trained network, or a committee of networks whose mean is predicted.

    On a CPU the tensors are computed in C++, without JAX; where there is none, and on a GPU, by JAX. For JAX
    pipelines, `network.apply` and `params` are the pure function and its weights. For a committee, take those
    of one `member`.
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
            f"Predictor({networks} in the form {self.config.form!r}, {len(self.metadata.elements)} elements, "
            f"cutoff {self.config.cutoff:g} Å, {self.dtype})"
        )

    @property
    def config(self) -> ModelConfig:
        """The settings of the network."""
        return self.metadata.config.model

    @functools.cached_property
    def network(self) -> "Core":
        """The network as a Flax module."""
        from equivar_jax.network.forms import (
            make_network,  # brings JAX along, which the C++ form does not need
        )

        return make_network(self.config)

    @property
    def model(self) -> "Core":
        """The network under its old name; warns with a `DeprecationWarning`."""
        warnings.warn(
            "Predictor.model is now Predictor.network; the old name goes with the next minor version",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.network

    @property
    def members(self) -> int:
        """Number of networks: that of the committee, or 1 for a single network."""
        return self.metadata.members

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

    def member(self, number: int) -> "Predictor":
        """Return one network of the committee as a predictor of its own: faster, but without uncertainty.

        Args:
            number: Of the member, counted from 0.

        Raises:
            InputError: there is no member with this number.
        """
        if not 0 <= number < self.members:
            raise InputError(f"member={number}: the model has {self.members} members; count from 0")
        if self.members == 1:
            return self
        features = self.metadata.features[number : number + 1]
        metadata = dataclasses.replace(
            self.metadata, members=1, calibration=None, dielectric_calibration=None, features=features
        )
        return Predictor(member_of(self.weights, number), metadata)

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
        require_readout(self)
        if self.members > 1 and self.metadata.dielectric_calibration is None:
            raise InputError(
                "the committee was not calibrated for dielectric tensors; join the members anew, on "
                "structures with info['epsilon_inf']: equivar committee RUN RUN ... -o FOLDER"
            )
        return self.metadata.dielectric_calibration or self.calibration

    @overload
    def predict(
        self,
        structures: Atoms,
        *,
        allow_unseen: bool = False,
        uncertainty: Literal[False] = False,
        dielectric: Literal[False] = False,
        devices: int | None = None,
    ) -> Float[np.ndarray, "atoms 3 3"]: ...

    @overload
    def predict(
        self,
        structures: Sequence[Atoms],
        *,
        allow_unseen: bool = False,
        uncertainty: Literal[False] = False,
        dielectric: Literal[False] = False,
        devices: int | None = None,
    ) -> list[Float[np.ndarray, "atoms 3 3"]]: ...

    @overload
    def predict(
        self,
        structures: Atoms,
        *,
        allow_unseen: bool = False,
        uncertainty: Literal[True],
        dielectric: Literal[False] = False,
        devices: int | None = None,
    ) -> Uncertain: ...

    @overload
    def predict(
        self,
        structures: Sequence[Atoms],
        *,
        allow_unseen: bool = False,
        uncertainty: Literal[True],
        dielectric: Literal[False] = False,
        devices: int | None = None,
    ) -> list[Uncertain]: ...

    @overload
    def predict(
        self,
        structures: Atoms | Sequence[Atoms],
        *,
        allow_unseen: bool = False,
        uncertainty: bool = False,
        dielectric: Literal[True],
        devices: int | None = None,
    ) -> Any: ...

    def predict(self, structures, *, allow_unseen=False, uncertainty=False, dielectric=False, devices=None):
        """Predict the Born effective charges of a structure, or of each structure of a list.

        Args:
            structures: `ase.Atoms`, or an iterable of them; `info["charge"]` is the charge of a cell in e.
            allow_unseen: Only warn about elements that did not occur in the training data.
            uncertainty: Return pairs (Z, sigma), where sigma has the shape of Z and is the standard deviation
                of each component in e (see `equivar_jax.uncertainty.calibration`). This needs a calibrated
                committee.
            dielectric: Return pairs (Z, eps_inf) with the electronic dielectric tensor (3, 3) of the crystal,
                and with `uncertainty` ((Z, sigma), (eps_inf, sigma)). This needs a model that was trained
                with `--model.dielectric True`, and takes twice the time.
            devices: Divide each structure among this many of JAX's devices, for one that is too large for one
                of them (see `equivar_jax.prediction.giant`). By default it is not divided.

        Returns:
            float64 (N, 3, 3) in e, [atom, field direction, displacement direction], or a list of such arrays
            for a list of structures. The sum over atoms is the net charge times the identity within 1e-8 e.

        Raises:
            InputError: something is no structure or cannot be used, it has an element that the model has
                never seen, or the uncertainty is asked for without a calibrated committee; or eps_inf without
                the readout, or of what is no crystal; or there are fewer devices, or the network or eps_inf
                is not divided.
        """
        calibration = self.calibration if uncertainty else None  # before anything is computed
        if isinstance(structures, Atoms):
            (found,) = self.predict(
                [structures],
                allow_unseen=allow_unseen,
                uncertainty=uncertainty,
                dielectric=dielectric,
                devices=devices,
            )
            return found
        structures = list_structures(structures)
        if dielectric:
            if devices is not None:
                raise InputError(
                    f"devices={devices}: eps_inf is not divided among devices; leave one of them out"
                )
            for atoms in structures:
                self.check_elements(atoms, allow_unseen)
            tensors = dielectric_tensors(self, structures, uncertainty=uncertainty)
            charges = self.predict(structures, allow_unseen=allow_unseen, uncertainty=uncertainty)
            return list(zip(charges, zip(*tensors, strict=True) if uncertainty else tensors, strict=True))
        found = self.predictions(structures, allow_unseen=allow_unseen, devices=devices)
        if calibration is None:
            return [prediction.tensors for prediction in found]
        return [
            (prediction.tensors, prediction.sigma(calibration, atoms.numbers))
            for atoms, prediction in zip(structures, found, strict=True)
        ]

    def predictions(
        self,
        structures: Sequence[Atoms],
        *,
        allow_unseen: bool = False,
        progress: bool = False,
        devices: int | None = None,
    ) -> list[Prediction]:
        """Predict a list of structures as `predict` does, with all that is known about each of them.

        Args:
            structures: The structures.
            allow_unseen: Only warn about elements that did not occur in the training data.
            progress: Show a progress bar, unless there is only one structure.
            devices: Divide each structure among so many devices (see `predict`).

        Returns:
            One `Prediction` for each structure: tensors after and before the sum rule, and the spread of the
            members.

        Raises:
            InputError: a structure cannot be used, or it has an element that the model has never seen.
        """
        for atoms in structures:  # before anything is computed
            self.check_elements(atoms, allow_unseen)
        networks = self._networks if devices is None else self.networks_on(devices)
        return predict_in_windows(self, networks, structures, allow_unseen, progress)

    @overload
    def polarisation(
        self, structures: Atoms, reference: Atoms, *, images: Images = "nearest", allow_unseen: bool = False
    ) -> CellDipole: ...

    @overload
    def polarisation(
        self,
        structures: Sequence[Atoms],
        reference: Atoms,
        *,
        images: Images = "nearest",
        allow_unseen: bool = False,
    ) -> list[CellDipole]: ...

    def polarisation(self, structures, reference, *, images="nearest", allow_unseen=False):
        """Compute the dipole V P of the cell relative to a reference, of a structure or of each of a list.

        P is what the tensors are derivatives of, so that `Z[i, a, b] = V dP_a / du_i,b` holds exactly. It is
        zero for the reference, and determined up to a quantum; `equivar_jax.prediction.polarisation` derives
        what is determined and what is not. Divided by the volume, it is in e/Å².

        Args:
            structures: `ase.Atoms`, or a sequence of them, with the atoms and the cell of the reference.
            reference: From where displacements count; for P itself a structure whose symmetry forbids one.
            images: "nearest": atoms are displaced to their images nearest to the reference, so that
                structures may be wrapped into the cell. "path": the structures come in the order of a path,
                and atoms are displaced to their images nearest to the structure before. "unwrapped": to their
                positions as they stand.
            allow_unseen: Only warn about elements that did not occur in the training data.

        Returns:
            A `CellDipole`, or a list of them for a list of structures: dipole and quantum in e Å, and of a
            committee the spread of the dipole.

        Raises:
            InputError: the model gives tensors directly, or a structure cannot be used or does not belong to
                the reference (other atoms, another cell), is charged in a periodic cell, or has moved too far
                for its images to be known.
        """
        if isinstance(structures, Atoms):
            return cell_dipoles(self, [structures], reference, images, allow_unseen)[0]
        return cell_dipoles(self, list_structures(structures), reference, images, allow_unseen)

    def dipoles_of_samples(self, samples: Sequence[Sample]) -> list[Float[np.ndarray, "members atoms 3"]]:
        """Compute the dipoles mu of the atoms in e Å, a part of the polarisation; emit no warnings.

        Args:
            samples: What `prepare` makes of structures; the model must be in the form of a polarisation.

        Raises:
            InputError: the model gives tensors directly.
        """
        require_polarisation(self)
        return self._networks.dipoles(samples, self._networks.stage(samples))

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

    @overload
    def domain_distance(self, structures: Atoms) -> Float[np.ndarray, " atoms"]: ...

    @overload
    def domain_distance(self, structures: Sequence[Atoms]) -> list[Float[np.ndarray, " atoms"]]: ...

    def domain_distance(self, structures):
        """Compute how far each atom of a structure, or of each of a list, is from the training data.

        Args:
            structures: `ase.Atoms`, or a sequence of them.

        Returns:
            float64 (N,), or a list of such arrays for a list: the distance of the features of each atom (see
            `equivar_jax.uncertainty.features`) in units of what 99 % of held-out atoms of its element do not
            exceed; infinite for an element that training did not have. Of a committee the mean of its
            members.

        Raises:
            InputError: a structure cannot be used, or the checkpoint does not know the features of its
                training data, since an earlier version wrote it.
        """
        self.check_knows_features()
        if isinstance(structures, Atoms):
            return self.domain_distance([structures])[0]
        structures = list_structures(structures)
        with without_domain_warnings():  # the numbers say it
            found = self.predictions(structures, allow_unseen=True)
        return [prediction.distances for prediction in found]

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

    def networks_on(self, devices: int) -> "NetworksOnDevices":
        """Return what computes the tensors of structures that are divided among so many devices.

        Raises:
            InputError: there are fewer devices, or the network is of a form that is not divided.
        """
        from equivar_jax.prediction.giant import NetworksOnDevices

        return NetworksOnDevices(
            self.network, self.weights, self.members, self.dtype, self.metadata.features, devices
        )

    def dielectric_of_members(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members structures 3 3"]:
        """Compute the electronic dielectric tensors of each network (see `dielectric_tensors`).

        Args:
            samples: What `prepare` makes of crystals; the network must have the readout.
        """
        roots = np.eye(3) + self._networks.dielectric(samples)
        return np.eye(3) + np.einsum("msac,msbc->msab", roots, roots)

    def export(
        self,
        path: str | os.PathLike[str],
        platforms: Sequence[str] = ("cpu", "cuda"),
        *,
        members: str = "mean",
        kernel: str = "chunked",
    ) -> Path:
        """Write the network as a file that a program with JAX alone can run, by `jax.export`.

        The archive has any number of atoms and neighbours, and one backward derivative. Its `metadata.json`
        and `exported_reader.py` (see `equivar_jax.prediction.exported_reader`) say what goes in and comes
        out. It is `born_effective_charges`, in the precision of the weights, with the sum rule; of networks
        in the form of a polarisation also the dipoles.

        Args:
            path: The file; "model.jaxexport" is a good name.
            platforms: For which JAX platforms; none of them need be there.
            members: What of a committee: "mean", or "each" member on a leading axis.
            kernel: "chunked" is the only one that can be exported.

        Returns:
            The path.

        Raises:
            InputError: another kernel or other members are asked for, JAX knows no such platform, the package
                flatbuffers is not installed, or the file cannot be written.
        """
        from equivar_jax.prediction.export import export_predictor  # brings JAX along

        return export_predictor(self, Path(path), platforms, members=members, kernel=kernel)

    @functools.cached_property
    def _networks(self) -> Networks:
        """What computes the tensors."""
        if why_not_in_cpp(self.config, self.dtype) is None:
            each = [self.weights] if self.members == 1 else map(self._weights_of, range(self.members))
            return NetworksInCpp(self.config, list(each), self.dtype, self.metadata.features)
        from equivar_jax.prediction.in_xla import NetworksInXla

        return NetworksInXla(self.network, self.weights, self.members, self.dtype, self.metadata.features)

    def _weights_of(self, number: int) -> dict:
        return member_of(self.weights, number)

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """Precision of the weights, and so of the computation."""
        return np.dtype(next(leaves_of(self.weights)).dtype)
