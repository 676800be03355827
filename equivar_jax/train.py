"""Train: `equivar train --config bm2.py [--data my.extxyz] [--train.epochs 20] ...`.

Structures are collated into padded batches, every batch goes through one compiled step, and the weights
with the lowest validation MAE are kept. Ctrl-C and SIGTERM save the run before it ends; `--resume RUN`
continues it, also in its closing evaluation, and gives the same numbers as an uninterrupted run. Fine-tuning
starts from existing weights and takes over their network: use `--config finetune.py`, or any other config
with `--train.start_from RUN`.
`--members N` trains N networks that differ in their seed, and joins them into a committee with uncertainties.
`--devices N` divides every batch among N devices, `--distributed` among all devices of several processes:
begun by srun or mpirun, or with JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID in their
environment. The result does not depend on it but for rounding, and a run can go on with another number.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equivar_jax.config.command_line import OptionParser, expand_data_option, named_settings, override
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.distributed import (
    ADDRESS,
    connect,
    from_first,
    is_distributed,
    is_first_process,
    one_voice,
    together,
)
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.lost_processes import end_if_process_lost

if TYPE_CHECKING:
    from equivar_jax.training.run import Run


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and report on the run."""
    parser = OptionParser(prog="equivar train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--resume")
    parser.add_argument("--data")
    parser.add_argument("--members", type=int)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--distributed", action="store_true")
    description = (
        "--config FILE_OR_NAME | --resume RUN, --run-dir FOLDER, --data FILE (short for --data.path FILE), "
        "--members N (a committee of N networks), --devices N (that share each batch), --distributed (over "
        "the devices of several processes), and any setting below."
    )
    with plain_messages():
        options, settings = parser.parse_known_args(arguments)
        if options.members is not None:
            _refuse_devices(options)
        if options.resume is not None and (options.config or options.run_dir or options.members is not None):
            raise InputError(
                "--resume RUN continues in RUN with the config of RUN; leave out --config, --run-dir and "
                "--members"
            )
        if is_distributed(options.distributed) and not {"-h", "--help"} & {*settings}:
            connect()  # before a checkpoint is read, for which JAX looks at its devices
        if options.resume is None:
            config = load_config(options.config or "bm2.py")
        else:
            config = _config_of_run(Path(options.resume))
        settings = expand_data_option(options.data, settings)
        known = ("config", "resume", "run-dir", "data", "members", "devices", "distributed")
        config = override(config, settings, parser.prog, description, known)
        _train(options, config, named_settings(settings))


def _refuse_devices(options: argparse.Namespace) -> None:
    """Refuse to divide the batches of a committee among devices.

    Raises:
        InputError: the user asked for it.
    """
    asked = "--distributed" if options.distributed else f"{ADDRESS} in the environment"
    if options.devices is not None:
        asked = f"--devices {options.devices}"
    elif not is_distributed(options.distributed):
        return
    raise InputError(
        f"{asked}: the members of a committee are not trained on several devices; train each as a run of its "
        "own with another --train.seed, and join them with equivar committee"
    )


def _train(options: argparse.Namespace, config: Config, named: set[str]) -> None:
    """Begin or continue a run, or a committee.

    Args:
        options: The options that are no settings.
        config: All settings.
        named: Names of the settings that the command line has.
    """
    # Imported here, so that neither --help nor a complaint about the command line waits for it.
    from equivar_jax.ensemble import stored_committee, train_committee
    from equivar_jax.reports.run_text import report_run
    from equivar_jax.runtime import use_compilation_cache
    from equivar_jax.training.run_directory import new_run_directory
    from equivar_jax.training.starting_point import use_network_of_start

    use_compilation_cache()
    members, is_new = options.members, options.resume is None
    if not is_new and (stored := stored_committee(Path(options.resume))) is not None:
        _refuse_devices(options)
        members = stored[1]
    with end_if_process_lost() as lost, one_voice():
        if is_new:
            config = together(lambda: use_network_of_start(config, named))
            name = Path(options.config or "bm2").stem
            folder = Path(from_first(lambda: str(new_run_directory(name, options.run_dir))))
        else:
            folder = Path(options.resume)
        lost.advice = f"continue with --resume {folder}, also on fewer devices"
        if members is None:
            run = _train_one(config, folder, not is_new, options.devices)
        elif (interrupted := train_committee(config, members, folder)) is not None:
            raise SystemExit(128 + interrupted)
    if members is None and is_first_process() and (interrupted := report_run(run)) is not None:
        raise SystemExit(128 + interrupted)


def _train_one(config: Config, folder: Path, is_resumed: bool, number: int | None) -> "Run":
    """Train one network on a number of devices."""
    from equivar_jax.reports.run_text import announce_run
    from equivar_jax.runtime import interruptible
    from equivar_jax.training.devices import choose_devices
    from equivar_jax.training.loop import run_training
    from equivar_jax.training.run import has_state, start_run

    with interruptible():  # from its first batch on, a training saves its state by itself
        devices = together(lambda: choose_devices(number))
        # A run that was killed before it had saved a state begins anew.
        run = start_run(config, folder, resume=is_resumed and has_state(folder), devices=devices)
        announce_run(run)
    interrupted = run_training(run)
    if interrupted is not None:
        raise SystemExit(128 + interrupted)
    return run


def _config_of_run(folder: Path) -> Config:
    """Return the settings that a run, or the training of a committee, was begun with."""
    from equivar_jax.ensemble import stored_committee
    from equivar_jax.training.run import has_state, last_checkpoint
    from equivar_jax.training.run_directory import stored_config
    from equivar_jax.weights.checkpoint import read_checkpoint

    if (committee := stored_committee(folder)) is not None:
        return committee[0]
    if not has_state(folder) and (begun := stored_config(folder)) is not None:
        return begun
    return read_checkpoint(last_checkpoint(folder), "last")[1].config


if __name__ == "__main__":
    main()
