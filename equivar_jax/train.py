"""Train: `python -m equivar_jax.train --config bm2.py [--data my.extxyz] [--train.epochs 20] ...`.

Structures become padded batches, batches go through the compiled step, and the weights with the lowest
validation MAE are kept. Ctrl-C and SIGTERM save first; `--resume RUN` goes on to the same numbers.
Fine-tuning starts from weights that exist, with their network: `--config finetune.py`, or any other with
`--train.start_from RUN`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
from ase.data import chemical_symbols

from equivar_jax.checkpoint import read_checkpoint
from equivar_jax.cli import OptionParser, data_words, override, settings_named
from equivar_jax.config import load_config
from equivar_jax.datasets.load import Dataset
from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.evaluation import evaluate_model
from equivar_jax.hygiene import SET_ASIDE
from equivar_jax.loop import Run, kept_validation_mae, last_checkpoint, start_run, train
from equivar_jax.model import count_parameters
from equivar_jax.packing import edge_fill
from equivar_jax.plots import plot_history
from equivar_jax.predict import load
from equivar_jax.run_directory import new_run_directory, read_records, write_json
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.starting_point import with_network_of_start
from equivar_jax.steps import count_trained


def report(run: Run) -> None:
    """Evaluate the best weights on the validation part; draw history and parity."""
    path = run.config.data.path
    result = evaluate_model(
        load(run.folder),
        run.dataset.validation.structures,
        allow_unseen=True,
        parity_plot=run.folder / "parity.png",
        title=f"Validation, {Path(path).name if path else 'demonstration set (not DFT)'}",
    )
    write_json(run.folder / "validation.json", result.to_dict())
    plot_history(read_records(run.folder), run.folder / "history.png")
    print(result.table())
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(run.steps.compiles.items()))
    print(f"compilations: {counts}, for {len(run.budgets)} batch shapes")
    kept = "" if run.config.train.keep == "best" else f", of the last epoch, {kept_validation_mae(run):.4f} e"
    print(
        f"best validation MAE {run.progress.best_validation_mae:.4f} e{kept}; everything is in {run.folder}"
    )


def announce(run: Run) -> None:
    """Print what will be trained on what."""
    data, budgets = run.dataset, run.budgets
    statistics = data.statistics
    shapes = "; ".join(f"{b.nodes} atoms, {b.edges:,} edges" for b in budgets)
    parameters = f"{count_parameters(run.state.params):,}"
    if run.config.train.freeze != "nothing":
        parameters += f", of which {count_trained(run.state.params, run.config.train.freeze):,} are trained"
    lines = {
        "parameters": parameters,
        "data": run.config.data.path or "embedded demonstration set (not DFT)",
        "elements": " ".join(chemical_symbols[number] for number in data.elements),
        "structures": f"{len(data.training):,} training, {len(data.validation):,} validation",
        "atoms": f"{statistics['atoms']:,} training",
        "edges": f"{statistics['edges']:,} training, {statistics['mean_neighbours']:.2f} an atom",
        "batches": f"{run.batches_per_epoch} an epoch, of {shapes}",
        "padding": f"{100 * edge_fill(data.training.sizes, budgets):.0f} % of a batch's edges are real",
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "run": str(run.folder),
    }
    only_validated = {*data.validation.structures.elements.tolist()} - {*run.progress.elements}
    if only_validated:
        symbols = " ".join(chemical_symbols[number] for number in sorted(only_validated))
        lines["unseen"] = f"{symbols}: validated on, but never trained on; use another --data.split_seed"
    lines |= _left_out(data, run.folder)
    print("\n".join(f"{name:>10}  {text}" for name, text in lines.items()), flush=True)
    for remark in (*run.remarks, *data.remarks):
        print(f"{'note':>10}  {remark}", flush=True)


def _left_out(data: Dataset, folder: Path) -> dict[str, str]:
    """What is in neither part: counts by reason."""
    lines = {}
    if data.unlabelled:
        lines["skipped"] = f"{data.unlabelled:,} without Born effective charges"
    for name, refused in (("set aside", True), ("pointed at", False)):
        counts = Counter(finding.rule for finding in data.findings if finding.refused == refused)
        if counts:
            rules = ", ".join(f"{count:,} {rule}" for rule, count in counts.most_common())
            lines[name] = f"{rules}; see {folder / SET_ASIDE}"
    return lines


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
    with exit_on_input_error():
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
        announce(run)
        interrupted = train(run)
        if interrupted is not None:
            raise SystemExit(128 + interrupted)
        report(run)


if __name__ == "__main__":
    main()
