"""Interatomic potentials by name: ASE calculators of energy and forces, for phonons and molecular dynamics.

None of them is part of this package, and none is imported before it is asked for. Any other potential is
named by `module:factory`, as in `ase.calculators.emt:EMT` or `my_potential:make`.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from equivar_jax.config.settings import did_you_mean
from equivar_jax.errors import InputError
from equivar_jax.structures import source

NEEDED = ("energy", "forces")
"""The properties that every potential must have."""


class Potential(NamedTuple):
    """A published potential: where it comes from, and how it is made."""

    module: str
    """Module that is imported."""
    install: str
    """Command that installs it."""
    what: str
    """What it is, in one line."""
    downloaded: bool
    """Whether the weights are downloaded on first use, and not a part of the package."""
    licence: str
    """Licence of the code and of the weights, as the package states them."""
    precision: str
    """Floating-point precision in which it computes here."""
    tried: str | None
    """Version with which energy, forces and stress were computed; None if that was never done."""
    make: Callable[[Any], Any]
    """Makes the calculator from the imported module."""


def _make_orb(pretrained: Any) -> Any:
    """Make the calculator of Orb v3, without compilation, which needs a C++ compiler and a minute."""
    inference = importlib.import_module("orb_models.forcefield.inference.calculator")
    model, adapter = pretrained.orb_v3_conservative_inf_omat(precision="float64", compile=False)
    return inference.ORBCalculator(model, atoms_adapter=adapter)


POTENTIALS = {
    "chgnet": Potential(
        "chgnet.model.dynamics",
        "pip install chgnet",
        "CHGNet 0.3.0, a graph network with magnetic moments, trained on MPtrj (PBE and PBE+U)",
        downloaded=False,
        licence="BSD-3-Clause (modified), weights alike",
        precision="float32",
        tried="0.4.2",
        make=lambda module: module.CHGNetCalculator(),
    ),
    "sevenn": Potential(
        "sevenn.calculator",
        "pip install sevenn",
        "SevenNet-0 (11 July 2024), an equivariant network, trained on MPtrj (PBE and PBE+U)",
        downloaded=False,
        licence="MIT, weights alike",
        precision="float32",
        tried="0.13.0",
        make=lambda module: module.SevenNetCalculator("7net-0"),
    ),
    "mace": Potential(
        "mace.calculators",
        "pip install mace-torch",
        "MACE-MPA-0 medium, an equivariant network, trained on MPtrj and sAlex (PBE and PBE+U)",
        downloaded=True,
        licence="MIT, weights alike",
        precision="float64",
        tried=None,
        make=lambda module: module.mace_mp(model="medium-mpa-0", default_dtype="float64"),
    ),
    "nequix": Potential(
        "nequix.calculator",
        "pip install nequix",
        "Nequix MP-1 tuned to phonons (PFT), an equivariant network in JAX, trained on MPtrj (PBE and PBE+U)",
        downloaded=True,
        licence="MIT, weights alike",
        precision="float32",
        tried=None,
        make=lambda module: module.NequixCalculator("nequix-mp-1-pft", backend="jax", use_kernel=False),
    ),
    "orb": Potential(
        "orb_models.forcefield.pretrained",
        "pip install orb-models",
        "Orb v3 with conservative forces and all neighbours, trained on OMat24 (PBE and PBE+U); Python 3.12",
        downloaded=True,
        licence="Apache-2.0, weights alike",
        precision="float64",
        tried=None,
        make=_make_orb,
    ),
    "mattersim": Potential(
        "mattersim.forcefield",
        "pip install mattersim",
        "MatterSim v1.0.0-1M, a graph network, for many temperatures and pressures (PBE, PBE+U); Python 3.12",
        downloaded=True,
        licence="MIT, weights alike",
        precision="float64",
        tried=None,
        make=lambda module: module.MatterSimCalculator(dtype="float64"),
    ),
    "upet": Potential(
        "upet.ase",
        "pip install upet",
        "PET-MAD-S, an unconstrained transformer, for crystals, surfaces and molecules (r2SCAN)",
        downloaded=True,
        licence="BSD-3-Clause, weights alike",
        precision="float64",
        tried=None,
        make=lambda module: module.UPETCalculator(model="pet-mad-s", dtype="float64"),
    ),
}
"""The potentials that have a name. Each is made by the constructor that its documentation gives."""

_ALIASES = {"sevennet": "sevenn"}


def load_potential(name: str) -> BaseCalculator:
    """Make the ASE calculator of a potential.

    The folder in which the program runs is searched for the module of `module:factory`, too. What a package
    prints while it loads goes to standard error. Nothing is done about threads.

    Args:
        name: A name in `POTENTIALS`, or `module:factory`: a function, or a class, that returns an ASE
            calculator when it is called without arguments; or the calculator itself.

    Raises:
        InputError: There is no potential of this name, its package is not installed, it cannot be made, or it
            is no ASE calculator with energy and forces.
    """
    if ":" in name:
        return _load_factory(name)
    found = _ALIASES.get(name.lower(), name.lower())
    if found not in POTENTIALS:
        raise InputError(
            f"no potential {name!r}; choose one of {', '.join(POTENTIALS)}, or give your own as "
            f"module:factory{did_you_mean(name.lower(), [*POTENTIALS, *_ALIASES])}"
        )
    potential = POTENTIALS[found]
    package = potential.module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"potential {name}: the package {package} is not installed; {potential.install}")
    fix = f"try a newer version ({potential.install} --upgrade)"
    if potential.downloaded:
        fix = "its weights are downloaded on first use, which needs the network; connect, or " + fix
    with _complaints_of(f"potential {name}", fix), contextlib.redirect_stdout(sys.stderr):
        calculator = potential.make(importlib.import_module(potential.module))
    return _checked(calculator, f"potential {name}")


def check_potential(calculator: BaseCalculator, atoms: Atoms, name: str) -> None:
    """Compute energy and forces of a structure once, so that a long run need not fail at its beginning.

    Args:
        calculator: The potential; it keeps its results.
        atoms: The structure; it is not changed.
        name: Name of the potential, for messages.

    Raises:
        InputError: The potential fails, or what it gives has a wrong shape or is not finite.
    """
    trial = atoms.copy()
    trial.calc = calculator
    where = f"{source(atoms)}: potential {name}"
    with _complaints_of(where, "choose a potential that knows these elements, or repair the structure"):
        energy, forces = trial.get_potential_energy(), np.asarray(trial.get_forces())
    if np.shape(energy) != () or forces.shape != (len(atoms), 3):
        raise InputError(
            f"{where} gives an energy of shape {np.shape(energy)} and forces of shape {forces.shape}, not () "
            f"and ({len(atoms)}, 3); repair it"
        )
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise InputError(
            f"{where} gives an energy of {energy} and forces that are not all finite; repair the structure, "
            "or choose another potential"
        )


def _load_factory(name: str) -> BaseCalculator:
    """Make the calculator that `module:factory` names."""
    where, (path, _, attribute) = f"potential {name}", name.partition(":")
    if not path or not attribute:
        raise InputError(f"{where}: give module:factory, as in ase.calculators.emt:EMT")
    with _here_on_path():
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            missing = error.name or path
            if path != missing and not path.startswith(f"{missing}."):
                raise InputError(
                    f"{where}: module {path} needs {missing}, which is not installed; install it"
                ) from None
            raise InputError(
                f"{where}: no module {missing} in this folder or installed; install it, or run where it is"
            ) from None
        except Exception as error:  # the user's module is a program, so anything can happen in it
            raise InputError(
                f"{where}: module {path} cannot be imported: {_reason(error)}; repair it"
            ) from error
        there = [word for word in dir(module) if not word.startswith("_")]
        if not hasattr(module, attribute):
            raise InputError(
                f"{where}: module {path} has no {attribute!r}; name a function, a class or a calculator in it"
                f"{did_you_mean(attribute, there)}"
            )
        made = getattr(module, attribute)
        if not isinstance(made, BaseCalculator):
            if not callable(made):
                raise InputError(
                    f"{where}: {attribute} is of type {type(made).__name__}; name a function without "
                    "arguments that returns an ASE calculator, or a calculator"
                )
            fix = "it is called without arguments and must return an ASE calculator"
            with _complaints_of(f"{where}: {attribute}()", fix), contextlib.redirect_stdout(sys.stderr):
                made = made()
    return _checked(made, where)


def _checked(calculator: Any, where: str) -> BaseCalculator:
    """Return what is an ASE calculator with energy and forces, and refuse anything else."""
    if not isinstance(calculator, BaseCalculator):
        raise InputError(
            f"{where}: this gives {type(calculator).__name__}, no ASE calculator; return an instance of "
            "ase.calculators.calculator.Calculator"
        )
    missing = [word for word in NEEDED if word not in calculator.implemented_properties]
    if missing:
        raise InputError(
            f"{where}: {type(calculator).__name__} has no {' and no '.join(missing)}; name a calculator that "
            "has both energy and forces"
        )
    return calculator


@contextlib.contextmanager
def _complaints_of(where: str, fix: str) -> Iterator[None]:
    """Turn any exception of another package inside the block into an `InputError` with its reason."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} fails: {_reason(error)}; {fix}") from error


def _reason(error: BaseException) -> str:
    """Say in one line what an exception is, and what caused it, where it has a cause."""
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    cause = error.__cause__
    text = " ".join(words.split())
    return text if cause is None else f"{text} ({_reason(cause)})"


@contextlib.contextmanager
def _here_on_path() -> Iterator[None]:
    """Let modules of the current folder be found, after all that is installed."""
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
