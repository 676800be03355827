"""This package: a run of training as `equivar train` begins it, and prediction with its first weights.

`settings["build"]` is "product", or "teacher" for commits before the polarisation form was in the package:
then the form is `benchmarks.teacher.derivative_form`, on the XLA kernel.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from ase import Atoms

from equivar_jax import load
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig
from equivar_jax.io import read_structures
from equivar_jax.network.model import count_parameters
from equivar_jax.training import start_run
from equivar_jax.training.losses import absolute_errors
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.starting_point import describe_new_run
from equivar_jax.weights.checkpoint import CheckpointWriter

CONFIG = "bm3_deep.py"


def prepare(
    frame: dict[str, np.ndarray], settings: dict[str, Any]
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Prepare inference and training of the tensors of one frame.

    Args:
        frame: What the other contestants get; here only to predict.
        settings: `build`, `form`, and `frames`, the file to begin a run with.
    """
    atoms = Atoms(frame["numbers"], frame["positions"], cell=frame["cell"], pbc=True)
    return prepare_teacher(settings) if settings["build"] == "teacher" else prepare_product(atoms, settings)


def prepare_product(
    atoms: Atoms, settings: dict[str, Any]
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Prepare the first batch of a run, and a predictor with its first weights."""
    config = load_config(CONFIG)
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    form = {"form": settings["form"]} if "form" in known else {}
    if not form and settings["form"] != "direct":
        raise SystemExit(f"this build has no form {settings['form']}")
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **form),
        data=dataclasses.replace(config.data, path=settings["frames"]),
    )
    folder = Path(tempfile.mkdtemp(dir=Path(settings["frames"]).parent))
    run = start_run(config, folder / "run")
    params = run.state.params
    writer = CheckpointWriter(folder / "first", "best")
    writer.save({"params": params}, describe_new_run(run.plan.config, run.plan.dataset, None))
    writer.close()
    predictor = load(folder / "first")
    about = {"parameters": count_parameters(params)}
    training = _compile_at_first(run.plan.steps.train, run.state, jax.device_put(run.plan.typical), about)
    return {"inference": lambda: predictor.predict(atoms), "training": training}, about


def prepare_teacher(settings: dict[str, Any]) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Prepare the form of `benchmarks.teacher` of an older commit; its neighbours are found beforehand."""
    from benchmarks.common.shapes import collate_alone
    from benchmarks.teacher.derivative_head import make_derivative_head

    samples, batches = collate_alone(list(read_structures(settings["frames"]))[:1], settings["cutoff"])
    config = load_config(CONFIG)
    degree = len(samples[0].graph.senders) / len(samples[0].graph.nodes["species"])
    model = dataclasses.replace(config.model, mean_neighbours=degree, kernel="chunked")
    head = make_derivative_head(model, samples, batches[0], seed=0)
    optimizer = make_optimizer(config.train, optax.constant_schedule(1e-3))
    batch = jax.device_put(batches[0])

    @jax.jit
    def step(state: tuple[dict, optax.OptState], batch: Any) -> tuple[dict, optax.OptState]:
        params, memory = state
        gradient = jax.grad(lambda p: absolute_errors(head.predict(p, batch.graph), batch).ratio())(params)
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory

    about = {"parameters": count_parameters(head.params)}
    training = _compile_at_first(step, (head.params, optimizer.init(head.params)), batch, about)
    predict = jax.jit(head.predict)
    inference = lambda: predict(head.params, batch.graph).block_until_ready()  # noqa: E731
    return {"inference": inference, "training": training}, about


def _compile_at_first(step: Any, state: Any, batch: Any, about: dict[str, Any]) -> Callable[[], None]:
    """Return a call that compiles in its first step, and then adds to `about` what the program holds."""
    held: dict[str, Any] = {"state": state}

    def training() -> None:
        if "program" not in held:
            held["program"] = step.lower(state, batch).compile()
            found = held["program"].memory_analysis()
            about["program_bytes"] = None if found is None else int(found.temp_size_in_bytes)
        held["state"] = jax.block_until_ready(held["program"](held["state"], batch))

    return training
