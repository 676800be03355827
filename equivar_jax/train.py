"""Train: `equivar train --config bm2.py [--data my.extxyz] [--train.epochs 20] ...`.

Structures are collated into padded batches, every batch goes through one compiled step, and the weights
with the lowest validation MAE are kept. Ctrl-C and SIGTERM save the run before it ends; `--resume RUN`
continues it, also in its closing evaluation, and gives the same numbers as an uninterrupted run. Fine-tuning
starts from existing weights and takes over their network: use `--config finetune.py`, or any other config
with `--train.start_from RUN`.
`--members N` trains N networks that differ in their seed, and joins them into a committee with uncertainties.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from equivar_jax.config.command_line import OptionParser, expand_data_option, named_settings, override
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.errors import InputError, plain_messages


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train, and report on the run."""
    parser = OptionParser(prog="equivar train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--resume")
    parser.add_argument("--data")
    parser.add_argument("--members", type=int)
    description = (
        "--config FILE_OR_NAME | --resume RUN, --run-dir FOLDER, --data FILE (short for --data.path FILE), "
        "--members N (a committee of N networks), and any setting below."
    )
    with plain_messages():
        options, settings = parser.parse_known_args(arguments)
        if options.resume is None:
            config = load_config(options.config or "bm2.py")
        elif options.config or options.run_dir or options.members is not None:
            raise InputError(
                "--resume RUN continues in RUN with the config of RUN; leave out --config, --run-dir and "
                "--members"
            )
        else:
            config = _config_of_run(Path(options.resume))
        settings = expand_data_option(options.data, settings)
        known = ("config", "resume", "run-dir", "data", "members")
        config = override(config, settings, parser.prog, description, known)
        _train(options, config, named_settings(settings))


def _train(options: argparse.Namespace, config: Config, named: set[str]) -> None:
    """Begin or continue a run.

    Args:
        options: The options that are no settings.
        config: All settings.
        named: Names of the settings that the command line has.
    """
    # Imported here, so that neither --help nor a complaint about the command line waits for it.
    from equivar_jax.ensemble import stored_committee, train_committee
    from equivar_jax.reports.run_text import announce_run, report_run
    from equivar_jax.runtime import use_compilation_cache
    from equivar_jax.training.loop import has_state, run_training, start_run
    from equivar_jax.training.run_directory import new_run_directory
    from equivar_jax.training.starting_point import use_network_of_start

    use_compilation_cache()
    members = options.members
    if options.resume is None:
        config = use_network_of_start(config, named)
        folder = new_run_directory(Path(options.config or "bm2").stem, options.run_dir)
    else:
        folder = Path(options.resume)
        if (stored := stored_committee(folder)) is not None:
            members = stored[1]
    if members is not None:
        if (interrupted := train_committee(config, members, folder)) is not None:
            raise SystemExit(128 + interrupted)
        return
    # A run that was killed before it had saved a state begins anew.
    run = start_run(config, folder, resume=options.resume is not None and has_state(folder))
    announce_run(run)
    interrupted = run_training(run) or report_run(run)
    if interrupted is not None:
        raise SystemExit(128 + interrupted)


def _config_of_run(folder: Path) -> Config:
    """Return the settings that a run, or the training of a committee, was begun with."""
    from equivar_jax.ensemble import stored_committee
    from equivar_jax.training.loop import has_state, last_checkpoint
    from equivar_jax.training.run_directory import stored_config
    from equivar_jax.weights.checkpoint import read_checkpoint

    if (committee := stored_committee(folder)) is not None:
        return committee[0]
    if not has_state(folder) and (begun := stored_config(folder)) is not None:
        return begun
    return read_checkpoint(last_checkpoint(folder), "last")[1].config


if __name__ == "__main__":
    main()
