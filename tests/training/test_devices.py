import dataclasses
import json
import signal
from typing import ClassVar

import jax
import numpy as np
import pytest
from helpers.launch import run_program, run_python
from jax.sharding import Mesh

from equivar_jax import train
from equivar_jax.config.files import load_config
from equivar_jax.errors import InputError
from equivar_jax.graphs.parts import divide
from equivar_jax.runtime import Interruption
from equivar_jax.training.devices import Devices, SharedInterruption, choose_devices
from equivar_jax.training.plan import plan_run


class FourDevices(Devices):
    """Stands for four devices, on which nothing is put."""

    count = 4
    own = (0, 1, 2, 3)

    def __init__(self):
        super().__init__(Mesh(np.array(jax.devices()), ("devices",)))
        self.placed.clear()

    placed: ClassVar = []
    """The parts of the batches that were to be placed."""

    def place(self, parts):
        self.placed.append(parts)
        return parts[0]


@pytest.mark.parametrize(
    "kernel",
    ["native", pytest.param("chunked", marks=pytest.mark.slow), pytest.param("auto", marks=pytest.mark.slow)],
)
def test_a_batch_divided_among_four_devices_gives_the_steps_of_one_device(kernel):
    found = json.loads(run_python(["-m", "helpers.compare_devices", kernel], devices=4))
    assert found["moved"] > 1e-3
    assert max(found["differences"].values()) < 1e-9, found["differences"]


@pytest.fixture
def plan(tmp_path, cache_folder):
    config = load_config("test.py")
    settings = dataclasses.replace(config.train, position_noise=0.1)
    return plan_run(dataclasses.replace(config, train=settings), tmp_path / "run")


def test_displacements_of_atoms_do_not_depend_on_the_number_of_devices(plan):
    four = FourDevices()
    maker = dataclasses.replace(plan.training_batches, devices=four)
    divided = dataclasses.replace(plan, training_batches=maker)
    for place, batch in enumerate(plan.epoch(2)):
        whole = plan.training_batch(2, (place, batch))
        divided.training_batch(2, (place, batch))
        parts = four.placed[-1]
        lengths = [plan.dataset.training.sizes.edges[k] for k in batch[1]]
        ends = np.cumsum(lengths)
        for part, members in zip(parts, divide(maker.sizes, batch[1], 4), strict=True):
            rows = [np.arange(ends[k] - lengths[k], ends[k]) for k in members]
            expected = whole.graph.edges["vectors"][np.concatenate([np.zeros(0, int), *rows])]
            np.testing.assert_array_equal(part.graph.edges["vectors"][: len(expected)], expected)
            assert (part.graph.edges["vectors"][len(expected) :] == [1, 0, 0]).all()
            assert part.node_mask.sum() == maker.sizes.atoms[[batch[1][k] for k in members]].sum()
        assert not np.array_equal(whole.graph.edges["vectors"], plan.collate(batch).graph.edges["vectors"])


def test_a_batch_that_is_difficult_to_divide_takes_the_shape_of_the_whole(plan):
    maker = plan.training_batches
    tight = tuple(dataclasses.replace(budget, edges=32) for budget in maker.budgets)
    four = FourDevices()
    tight_maker = dataclasses.replace(maker, devices=four, part_budgets=tight)
    for made in (tight_maker, dataclasses.replace(tight_maker, part_budgets=maker.budgets)):
        made.make(plan.epoch(0)[0])
    parts, roomy = four.placed
    for one, other in zip(jax.tree.leaves(parts), jax.tree.leaves(roomy), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_number_of_devices_that_there_is_not_is_refused(number):
    assert len(jax.devices()) == 1
    with pytest.raises(
        InputError, match=rf"^--devices {number}: this process has 1 of kind cpu; give 1 to 1;"
    ):
        choose_devices(number)


def test_one_device_is_the_usual_run():
    assert choose_devices(None) is None
    assert choose_devices(1) is None


def test_more_devices_than_structures_in_a_batch_are_refused(tmp_path):
    devices = FourDevices()
    config = load_config("test.py")
    small = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=3))
    with pytest.raises(InputError, match=r"4 devices share each batch, but --train\.batch_size 3 has fewer"):
        plan_run(small, tmp_path, devices=devices)


@pytest.mark.parametrize(
    ("words", "variables", "found"),
    [
        (("--members", 2, "--devices", 2), {}, "--devices 2: the members of a committee are not"),
        (("--members", 2, "--distributed"), {}, "--distributed: the members of a committee are not"),
        (
            ("--members", 2),
            {"JAX_COORDINATOR_ADDRESS": "localhost:1"},
            "JAX_COORDINATOR_ADDRESS in the environ",
        ),
        (("--distributed",), {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES=two: not an integer"),
        (("--devices", "two"), {}, "invalid int value: 'two'"),
        (("--devices", 64), {}, "--devices 64: this process has 1 of kind cpu"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(
    complaint, monkeypatch, tmp_path, words, variables, found
):
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert found in complaint(train.main, "--config", "test.py", *words)
    assert not list(tmp_path.iterdir())


def test_a_process_that_does_not_know_the_others_says_what_to_set(tmp_path):
    words = ("--config", "test.py", "--distributed", "--run-dir", tmp_path / "run")
    status, _, errors = run_program("-m", "equivar_jax.train", *words)
    assert status == 2
    (complaint,) = errors.splitlines()
    assert complaint.startswith("error: --distributed: ")
    assert "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID for every process" in complaint


def test_a_process_that_is_alone_stops_at_its_own_signal_at_once():
    with Interruption() as own:
        shared = SharedInterruption(own, None)
        shared.after_batch()
        assert shared.signal is None
        signal.raise_signal(signal.SIGTERM)
        assert shared.signal is signal.SIGTERM
        shared.settle()
        assert shared.signal is signal.SIGTERM
