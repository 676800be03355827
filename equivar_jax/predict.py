"""Predict Born effective charges of structures: `predict(atoms)`, and `equivar predict`."""

import argparse
import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from equivar_jax.config.command_line import OptionParser
from equivar_jax.errors import InputError, plain_messages

if TYPE_CHECKING:
    from equivar_jax.prediction.in_xla import apply
    from equivar_jax.prediction.loading import load, predict
    from equivar_jax.prediction.members import Prediction
    from equivar_jax.prediction.predictor import Predictor
    from equivar_jax.prediction.remarks import IsolatedAtomWarning, UnseenElementWarning

__all__ = [
    "IsolatedAtomWarning",
    "Prediction",
    "Predictor",
    "UnseenElementWarning",
    "apply",
    "load",
    "main",
    "predict",
]

_PLACES = {
    "load": "loading",
    "predict": "loading",
    "apply": "in_xla",
    "Prediction": "members",
    "IsolatedAtomWarning": "remarks",
    "Predictor": "predictor",
    "UnseenElementWarning": "remarks",
}
"""Name -> module of `equivar_jax.prediction`, which is imported when the name is first asked for.

So `from equivar_jax import predict` and `equivar predict --help` do not wait for JAX.
"""


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"equivar_jax.prediction.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _CallableModule(ModuleType):
    """Class of this module, by which the module can be called like the function `predict`.

    Python makes a module an attribute of its package when the module is imported. So `from equivar_jax import
    predict` would give the function or the module, depending on the order of imports; this way both are one
    object.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.predict(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.predict)

    def __reduce__(self) -> tuple[Any, ...]:
        # A function goes to another process by its name, as in `pool.map(predict, structures)`.
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, then read, predict and write any number of structures."""
    with plain_messages():
        _sweep(_parser().parse_args(arguments))


def _sweep(options: argparse.Namespace) -> None:
    """Do what the options say."""
    # Imported here, so that --help does not wait for it.
    from equivar_jax.io import check_output
    from equivar_jax.prediction.loading import load
    from equivar_jax.prediction.sweep.inputs import find_input_files
    from equivar_jax.prediction.sweep.run import sweep
    from equivar_jax.prediction.sweep.shards import parse_shard

    check_output(options.output, uncertainty=options.uncertainty, distance=options.distance)
    if options.join:
        _join(options)
        return
    shard = None if options.shard is None else parse_shard(options.shard)
    if not options.inputs:
        raise InputError("no input: name structure files, folders or patterns")
    files = find_input_files(options.inputs, Path(options.output))
    if shard is not None:
        print(f"shard {shard} of {options.output}", file=sys.stderr)
    interrupted = sweep(
        load(options.checkpoint),
        files,
        Path(options.output),
        allow_unseen=options.allow_unseen,
        uncertainty=options.uncertainty,
        distance=options.distance,
        restart=options.restart,
        shard=shard,
        devices=options.devices,
    )
    if interrupted is not None:
        raise SystemExit(128 + interrupted)


def _join(options: argparse.Namespace) -> None:
    """Join the shards of an output; where the inputs are named, too, only those made from them."""
    from equivar_jax.prediction.loading import load
    from equivar_jax.prediction.sweep.inputs import find_input_files
    from equivar_jax.prediction.sweep.joining import join_shards
    from equivar_jax.prediction.sweep.journal import identity_of

    output, identity = Path(options.output), None
    if options.shard is not None:
        raise InputError(f"--join joins all shards; leave out --shard {options.shard}")
    if options.inputs:
        files, words = find_input_files(options.inputs, output), (options.uncertainty, options.distance)
        identity = identity_of(load(options.checkpoint), files, options.allow_unseen, *words)
    join_shards(output, identity)


def _parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="equivar predict", description=__doc__)
    parser.add_argument(
        "inputs",
        nargs="*",
        help="structure files (CIF, POSCAR, extxyz, anything ASE reads), folders, patterns",
    )
    parser.add_argument(
        "--checkpoint", help="run directory of the trained model; default: the weights of the package"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help=".csv (one atom a line), .extxyz, .db, .traj, or, for one structure, i-PI's BEC; BORN and files "
        "of other phonon programs for a crystal whose dielectric tensor is not in its file are written by "
        "equivar response born",
    )
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write the standard deviation of each component (.csv and .extxyz)",
    )
    parser.add_argument(
        "--distance",
        action="store_true",
        help="also write how far each atom is from the training data, in units of what 99 %% of held-out "
        "atoms do not exceed (.csv and .extxyz)",
    )
    parser.add_argument(
        "--allow-unseen", action="store_true", help="only warn about elements never trained on"
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew instead of resuming an interrupted run"
    )
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help="do only the K-th of N parts of the input, and write it to a file of its own "
        "(out.shard-003-of-016.csv for -o out.csv); auto: take K and N from SLURM, Open MPI or MPICH",
    )
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="divide each structure among N devices of JAX, for one too large for a single GPU",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="join the shards of -o to what one run would have written; with the inputs given, check that "
        "they are those of the shards",
    )
    return parser


if __name__ == "__main__":
    main()
