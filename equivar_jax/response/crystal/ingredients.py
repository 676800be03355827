"""Born effective charges and eps_inf of a crystal, and where each of them came from."""

import argparse
import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import NacParams
from phonopy.physical_units import get_calculator_physical_units

from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.phonopy_born import read_born_tensors
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.phonopy_crystal import structure_of
from equivar_jax.response.phonons.propagation import Members, members_of
from equivar_jax.response.splitting.born_nac import nac_params
from equivar_jax.structures import EPSILON, source
from equivar_jax.uncertainty import LikelyMetalWarning
from equivar_jax.weights import NAME


@dataclasses.dataclass(frozen=True)
class Tensors:
    """Born effective charges and eps_inf of the primitive cell, in the symmetry of the crystal."""

    nac: NacParams
    """For phonopy: `born`, [atom, field, displacement] in e, of the primitive cell; `dielectric`."""
    charges_source: str
    """Where the charges came from."""
    epsilon_source: str
    """Where eps_inf came from."""
    charges_std: Float[np.ndarray, "atoms 3 3"] | None = None
    """Standard deviations of the charges in e, calibrated; None without a calibrated committee."""
    members: Members | None = None
    """What each member of a committee says, symmetrised; None if the charges are not those of a committee."""
    remarks: tuple[str, ...] = ()
    """What the model warned of."""

    @property
    def charges(self) -> Float[np.ndarray, "atoms 3 3"]:
        """Born effective charges in e, [atom, field, displacement]."""
        return np.asarray(self.nac["born"])

    @property
    def epsilon_inf(self) -> Float[np.ndarray, "3 3"]:
        """Electronic dielectric tensor, dimensionless."""
        return np.asarray(self.nac["dielectric"])


def predictor_of(options: argparse.Namespace, known: bool) -> Predictor | None:
    """Load the network that the options name; None if the tensors are known and none is named.

    Args:
        options: With `checkpoint` and `born`.
        known: Whether the input has charges and eps_inf.

    Raises:
        InputError: Both `--born` and `--checkpoint` are given, or there is no such model.
    """
    if options.born is not None and options.checkpoint is not None:
        raise InputError("--born and --checkpoint both name Born effective charges; leave one of them out")
    if options.checkpoint is None and (options.born is not None or known):
        return None
    return load(options.checkpoint)


def check_predictable(atoms: Atoms, options: argparse.Namespace, predictor: Predictor) -> None:
    """Refuse what the network cannot answer, before anything that takes long.

    Args:
        atoms: The crystal, not yet relaxed.
        options: With `allow_unseen`, `insulator` and `epsilon_inf`.
        predictor: The network.

    Raises:
        InputError: An element is unknown, the crystal is likely a metal, or there will be no eps_inf.
    """
    with _remarks() as remarks:
        predictor.predict(atoms, allow_unseen=options.allow_unseen)
    _refuse_metal(atoms, remarks, options.insulator)
    if options.epsilon_inf is None and EPSILON not in atoms.info and not predictor.config.dielectric:
        choose_epsilon_inf(atoms, None, predictor)  # says what to do


def find_tensors(
    phonon: Phonopy, where: str, options: argparse.Namespace, predictor: Predictor | None
) -> Tensors:
    """Find the tensors of a crystal: those of `--born`, of the phonopy file, or of the network.

    Args:
        phonon: The crystal. Its NAC parameters, if it has any and there is no `predictor`, are taken.
        where: Name of the file that the crystal is from.
        options: With `born`, `epsilon_inf`, `first_index`, `allow_unseen`, `insulator`.
        predictor: The network.

    Raises:
        InputError: The tensors cannot be read or predicted, or the crystal is likely a metal.
    """
    if options.born is not None:
        path = Path(options.born)
        read = read_born_tensors(
            path, phonon.primitive, Path(where), ReadOptions(first_index=options.first_index)
        )
        nac, named = _with_factor(read, phonon), str(path)
    elif predictor is None:
        assert phonon.nac_params is not None  # else there is a predictor
        nac, named = phonon.nac_params, where
    else:
        return _predict(phonon, where, options, predictor)
    if options.epsilon_inf is None:
        return Tensors(nac, named, named)
    atoms = structure_of(phonon, phonon.unitcell, where)
    given = choose_epsilon_inf(atoms, options.epsilon_inf)
    return Tensors({**nac, "dielectric": given}, named, "--epsilon-inf")


def _predict(phonon: Phonopy, where: str, options: argparse.Namespace, predictor: Predictor) -> Tensors:
    """Predict the tensors, with what a committee knows of their errors."""
    # The eps_inf of a phonopy file stays; its charges are replaced.
    atoms = structure_of(phonon, phonon.unitcell, where)
    named = (
        "network: weights of the package"
        if options.checkpoint in (None, NAME)
        else (f"network: {options.checkpoint}")
    )
    is_calibrated = predictor.metadata.calibration is not None
    with _remarks() as remarks:
        if is_calibrated:
            charges, sigma = predictor.predict(atoms, allow_unseen=options.allow_unseen, uncertainty=True)
        else:
            charges, sigma = predictor.predict(atoms, allow_unseen=options.allow_unseen), None
    _refuse_metal(atoms, remarks, options.insulator)
    epsilon = choose_epsilon_inf(atoms, options.epsilon_inf, predictor)
    is_known = options.epsilon_inf is not None or EPSILON in atoms.info
    members = members_of(predictor, atoms, epsilon if is_known else None)
    of_input = "--epsilon-inf" if options.epsilon_inf is not None else where
    return Tensors(
        nac_params(phonon, charges, epsilon),
        charges_source=named,
        epsilon_source=of_input if is_known else named,
        charges_std=None if sigma is None else sigma[_unit_cell_atoms(phonon)],
        members=None if members is None else _symmetrised(phonon, members),
        remarks=tuple(str(remark.message) for remark in remarks),
    )


def _symmetrised(phonon: Phonopy, members: Members) -> Members:
    """Impose the symmetry of the crystal on what each member says, of the atoms of the primitive cell."""
    assert members.epsilon_inf is not None  # a spectrum needs it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            nac_params(phonon, charges, tensor)
            for charges, tensor in zip(members.charges, members.epsilon_inf, strict=True)
        ]
    return dataclasses.replace(
        members,
        charges=np.stack([np.asarray(nac["born"]) for nac in found]),
        epsilon_inf=np.stack([np.asarray(nac["dielectric"]) for nac in found]),
    )


def _unit_cell_atoms(phonon: Phonopy) -> list[int]:
    """Return the atom of the unit cell that stands for each atom of the primitive cell."""
    supercell = phonon.supercell
    return [int(supercell.u2u_map[supercell.s2u_map[atom]]) for atom in np.asarray(phonon.primitive.p2s_map)]


def _refuse_metal(atoms: Atoms, remarks: list[warnings.WarningMessage], insulator: bool) -> None:
    """Refuse what the model takes for a metal, unless the user knows better."""
    for remark in remarks:
        if isinstance(remark.message, LikelyMetalWarning) and not insulator:
            raise InputError(
                f"{remark.message}; no spectrum is made of them. If {source(atoms)} has a gap, say "
                "--insulator"
            )


def _with_factor(nac: dict, phonon: Phonopy) -> NacParams:
    """Give parameters of a BORN file the unit factor of the calculator, if they have none."""
    factor = nac.get("factor") or get_calculator_physical_units(phonon.calculator).nac_factor
    return {"born": nac["born"], "dielectric": nac["dielectric"], "factor": factor}


@contextmanager
def _remarks() -> Iterator[list[warnings.WarningMessage]]:
    """Collect the warnings of a block; they go to the report, not to the terminal one by one."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found
