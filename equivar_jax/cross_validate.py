"""Cross-validate: `equivar cross-validate --config bm2.py --folds 5 [any setting of training]`.

The data are divided into folds. One network after the other is trained, each without one of the folds, and
its best weights are validated on that fold. So every structure is validated once, by a network that was not
trained on it. Whatever a network takes from the data, such as the mean neighbour count, comes from its own
training part. (Its best epoch is chosen on the fold that it is validated on, as in any training run.)

Ctrl-C and SIGTERM save the run before it ends; `--resume FOLDER` keeps finished folds and continues an
unfinished one.
"""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from equivar_jax.config.command_line import OptionParser, expand_data_option, named_settings, override
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, check_config
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.forwarded import forward

DEFAULT_FOLDS = 5

__getattr__ = forward("equivar_jax.cross_validate")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train all folds, print a table, and write JSON and a picture."""
    parser = OptionParser(prog="equivar cross-validate", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--folds", type=int)
    parser.add_argument("--run-dir")
    parser.add_argument("--resume")
    parser.add_argument("--data")
    description = (
        "--config FILE_OR_NAME --folds N | --resume FOLDER, --run-dir FOLDER, --data FILE (short for "
        "--data.path FILE), and any setting below."
    )
    with plain_messages():
        options, settings = parser.parse_known_args(arguments)
        settings = expand_data_option(options.data, settings)
        if options.resume is not None:
            if settings or options.config or options.run_dir or options.folds is not None:
                raise InputError(
                    "--resume FOLDER continues in FOLDER, with its settings; leave out all other options"
                )
            _cross_validate(options, None, set())
        else:
            others = ("config", "folds", "run-dir", "resume", "data")
            config = load_config(options.config or "bm2.py")
            config = override(config, settings, parser.prog, description, others)
            _cross_validate(options, config, named_settings(settings))


def _cross_validate(options: argparse.Namespace, config: Config | None, named: set[str]) -> None:
    """Begin or continue a cross-validation.

    Args:
        options: The options that are no settings.
        config: All settings, or None for those that the folder to resume has.
        named: Names of the settings that the command line has.
    """
    # Imported here, so that neither --help nor a complaint about the command line waits for it.
    from equivar_jax.folds import cross_validate, stored_config, write_result
    from equivar_jax.runtime import use_compilation_cache
    from equivar_jax.training.run_directory import new_run_directory
    from equivar_jax.training.starting_point import use_network_of_start

    use_compilation_cache()
    if config is None:
        folder = Path(options.resume)
        config = stored_config(folder)
    else:
        config = use_network_of_start(config, named)
        folds = config.data.folds or DEFAULT_FOLDS if options.folds is None else options.folds
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, folds=folds))
        _check_folds(config)
        folder = new_run_directory(f"{Path(options.config or 'bm2').stem}-folds", options.run_dir)
    try:
        result = cross_validate(config, folder)
    except KeyboardInterrupt:  # between two trainings; during one, training saves the run and returns
        result = signal.SIGINT
    if isinstance(result, signal.Signals):
        print(
            f"{result.name}: continue all folds with equivar cross-validate --resume {folder}",
            file=sys.stderr,
        )
        raise SystemExit(128 + result)
    write_result(result, folder)


def _check_folds(config: Config) -> None:
    """Refuse settings that contradict a cross-validation."""
    check_config(config)
    for name in ("validation_path", "split_path"):
        if getattr(config.data, name) is not None:
            raise InputError(
                f"--data.{name} chooses what to validate on, but the folds do that here; leave it out"
            )
    if config.data.fold != 0:
        raise InputError(f"--data.fold {config.data.fold}: every fold is trained in turn here; leave it out")


if __name__ == "__main__":
    main()
