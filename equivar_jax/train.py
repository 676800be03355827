"""Train: `python -m equivar_jax.train --config bm2.py [--data my.extxyz] [--train.epochs 20] ...`.

Structures become padded batches, batches go through the compiled step, and the weights with the lowest
validation MAE are kept. Ctrl-C and SIGTERM save first; `--resume RUN` goes on to the same numbers.
Fine-tuning starts from weights that exist, with their network: `--config finetune.py`, or any other with
`--train.start_from RUN`.
"""

from collections.abc import Sequence
from pathlib import Path

from equivar_jax.config.command_line import OptionParser, data_words, override, settings_named
from equivar_jax.config.files import load_config
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.reports.run_text import announce_run, report_run
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.training.loop import last_checkpoint, run_training, start_run
from equivar_jax.training.run_directory import new_run_directory
from equivar_jax.training.starting_point import with_network_of_start
from equivar_jax.weights.checkpoint import read_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = OptionParser(prog="python -m equivar_jax.train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--resume")
    parser.add_argument("--data")
    description = (
        "--config FILE_OR_NAME | --resume RUN, --run-dir FOLDER, --data FILE (short for --data.path FILE), "
        "and any setting below."
    )
    with plain_messages():
        options, settings = parser.parse_known_args(arguments)
        enable_compilation_cache()
        if options.resume is None:
            config = load_config(options.config or "bm2.py")
        elif options.config or options.run_dir:
            raise InputError("--resume goes on in its own folder, with its own config; leave out the other")
        else:
            config = read_checkpoint(last_checkpoint(Path(options.resume)), "last")[1].config
        settings = data_words(options.data, settings)
        config = override(config, settings, parser.prog, description, ("config", "resume", "run-dir", "data"))
        if options.resume is None:
            config = with_network_of_start(config, settings_named(settings))
            folder = new_run_directory(Path(options.config or "bm2").stem, options.run_dir)
        else:
            folder = Path(options.resume)
        run = start_run(config, folder, resume=options.resume is not None)
        announce_run(run)
        interrupted = run_training(run)
        if interrupted is not None:
            raise SystemExit(128 + interrupted)
        report_run(run)


if __name__ == "__main__":
    main()
