"""`Predictor`: a loaded network or committee that predicts Born effective charges of structures."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.prediction.dielectric import dielectric_tensors
from equivar_jax.prediction.members import Prediction, Uncertain
from equivar_jax.prediction.polarisation import CellDipole, Images, cell_dipoles
from equivar_jax.prediction.trained_model import TrainedModel
from equivar_jax.prediction.windows import predict_in_windows
from equivar_jax.structures import list_structures
from equivar_jax.uncertainty.domain import without_domain_warnings
from equivar_jax.weights.stacking import member_of


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictor(TrainedModel):
    """A trained network, or a committee of networks whose mean is predicted.

    On a CPU the tensors are computed in C++, without JAX; where there is none, and on a GPU, by JAX. For JAX
    pipelines, `network.apply` and `params` are the pure function and its weights. For a committee, take those
    of one `member`.
    """

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
        several = list_structures(structures)
        epsilon = self._dielectric(several, allow_unseen, uncertainty, devices) if dielectric else None
        predicted = self.predictions(several, allow_unseen=allow_unseen, devices=devices)
        found: list[Any] = [one.tensors for one in predicted]
        if calibration is not None:
            numbers = [atoms.numbers for atoms in several]
            sigma = [one.sigma(calibration, own) for one, own in zip(predicted, numbers, strict=True)]
            found = list(zip(found, sigma, strict=True))
        if epsilon is not None:
            found = list(zip(found, epsilon, strict=True))
        return found[0] if isinstance(structures, Atoms) else found

    def _dielectric(
        self, structures: Sequence[Atoms], allow_unseen: bool, uncertainty: bool, devices: int | None
    ) -> list[Any]:
        """Predict eps_inf, with `uncertainty` (eps_inf, sigma), of each crystal; see `predict`."""
        if devices is not None:
            raise InputError(
                f"devices={devices}: eps_inf is not divided among devices; leave one of them out"
            )
        for atoms in structures:
            self.check_elements(atoms, allow_unseen)
        if uncertainty:
            return list(zip(*dielectric_tensors(self, structures, uncertainty=True), strict=True))
        return list(dielectric_tensors(self, structures))

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
        with without_domain_warnings():  # the numbers say it
            predicted = self.predictions(list_structures(structures), allow_unseen=True)
        found = [one.distances for one in predicted]
        return found[0] if isinstance(structures, Atoms) else found

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
        found = cell_dipoles(self, list_structures(structures), reference, images, allow_unseen)
        return found[0] if isinstance(structures, Atoms) else found

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
