"""One structure after the other: how it is computed, and how often something is compiled."""

import os
import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
from ase.build import bulk
from helpers.committees import joined, network, with_kernel
from helpers.crystals import titanate

from equivar_jax import predict
from equivar_jax.errors import InputError
from equivar_jax.prediction import in_cpp
from equivar_jax.prediction.in_cpp import NetworksInCpp, runs_on_cpu, why_not_in_cpp
from equivar_jax.prediction.in_xla import NetworksInXla
from equivar_jax.weights.checkpoint import read_checkpoint, read_weights
from equivar_jax.weights.stacking import map_weights

ELEMENTS = ("Mg", "Ca", "Ti", "Zn", "Sr", "Ba")


def small_cells(count):
    """Different cells of two to twenty atoms."""
    rng, found = np.random.default_rng(5), []
    for _ in range(count):
        metal = ELEMENTS[rng.integers(len(ELEMENTS))]
        cell = bulk(f"{metal}O", "rocksalt", rng.uniform(4.1, 5.6), cubic=bool(rng.integers(2)))
        repeats = [(1, 1, 1), (2, 1, 1), (1, 1, 2), (3, 1, 1), (5, 1, 1)][rng.integers(5)]
        cell = cell * repeats if len(cell) * np.prod(repeats) <= 20 else cell
        cell.rattle(0.02, rng=rng)
        found.append(cell)
    return found


def oxides(kernel):
    return with_kernel(network(0, elements=(8, 12, 20, 22, 30, 38, 56)), kernel)


def test_a_loop_over_different_cells_compiles_few_shapes():
    model, cells = oxides("chunked"), small_cells(200)
    assert isinstance(model._networks, NetworksInXla)
    before = predict.apply._cache_size()
    found = [model.predict(atoms) for atoms in cells]
    assert predict.apply._cache_size() - before <= 4
    for ours, expected in zip(found[::20], oxides("auto").predict(cells[::20]), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_in_cpp_nothing_is_traced_or_compiled(monkeypatch):
    model = oxides("auto")
    assert isinstance(model._networks, NetworksInCpp)
    monkeypatch.setattr(jax, "jit", None)
    before = predict.apply._cache_size()
    for atoms in small_cells(20):
        model.predict(atoms)
    assert predict.apply._cache_size() == before


_LOOP = """
import jax, logging, sys
from ase.build import bulk
import jax.monitoring
compiled, read = [], []
jax.monitoring.register_event_listener(
    lambda event, **_: (read if "cache_hits" in event else compiled if "cache_misses" in event else
    []).append(event)
)
from equivar_jax import load
from helpers.committees import with_kernel
model = with_kernel(load(member=0), "chunked")
for constant in (4.2, 4.3, 4.9):
    model.predict(bulk("MgO", "rocksalt", constant))
print(len(compiled), len(read))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    environment = {**os.environ, "EQUIVAR_CACHE": str(tmp_path), "PYTHONPATH": ".:tests"}
    for name in ("JAX_COMPILATION_CACHE_DIR", "EQUIVAR_COMPILATION_CACHE"):
        environment.pop(name, None)
    printed = [
        subprocess.run(
            [sys.executable, "-c", _LOOP], env=environment, check=True, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    first, second = (list(map(int, one.stdout.split())) for one in printed)
    assert first[0] > 0
    assert second[1] > 0
    assert second[0] == 0


@pytest.mark.parametrize("make", [network, lambda _: joined()])
def test_both_forms_give_the_same(make):
    ours, structures = make(0), [titanate(), titanate(2), titanate(3)]
    others = with_kernel(ours, "chunked").predictions(structures)
    for found, expected in zip(ours.predictions(structures), others, strict=True):
        scale = np.abs(expected.raw).max()
        for name in ("tensors", "raw", "spread"):
            if getattr(expected, name) is not None:
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5 * scale)


def test_a_large_structure_has_its_members_accumulated(monkeypatch):
    model, atoms = joined(), titanate(3)
    (whole,) = model.predictions([atoms])
    monkeypatch.setattr(in_cpp, "LARGE", len(atoms) - 1)
    (found,) = model.predictions([atoms])
    for name in ("tensors", "raw", "spread"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-12)


def test_an_interrupted_structure_stops(monkeypatch):
    model, atoms = network(0), titanate(3)
    monkeypatch.setattr(in_cpp, "LARGE", len(atoms) - 1)

    class Interrupted:
        def __init__(self, **_):
            self.n = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, _):
            raise KeyboardInterrupt

    monkeypatch.setattr(in_cpp, "ProgressBar", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.predictions([atoms])


def test_a_predictor_goes_to_another_process(monkeypatch):
    model, atoms = joined(), titanate()
    expected, _ = model.predict(atoms, uncertainty=True)
    sent = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(sent.predict(atoms), expected)
    # A forked process has the predictor, but not the threads that its parent started.
    pool = model._networks._pool()
    assert model._networks._pool() is pool
    monkeypatch.setattr(in_cpp.os, "getpid", lambda: -1)
    assert model._networks._pool() is not pool
    np.testing.assert_array_equal(model.predict(atoms), expected)


def test_it_is_said_why_a_network_is_not_in_cpp(monkeypatch):
    config = network(0).config
    single = np.dtype(np.float32)
    assert why_not_in_cpp(config, single) is None
    assert "chunked" in why_not_in_cpp(oxides("chunked").config, single)
    assert "channels" in why_not_in_cpp(config, np.dtype(np.float16))
    monkeypatch.setattr(in_cpp, "reason_unavailable", lambda: "no compiler")
    assert why_not_in_cpp(config, single) == "no compiler"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "device" in why_not_in_cpp(config, single)


def test_jax_is_asked_for_its_device_only_if_it_could_have_another(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(in_cpp.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    assert runs_on_cpu()
    assert "jax" not in sys.modules


def test_xla_takes_double_precision_only_if_jax_does():
    double = with_kernel(network(0), "chunked")
    double = type(double)(
        map_weights(lambda leaf: np.asarray(leaf, np.float64), double.weights), double.metadata
    )
    if jax.config.jax_enable_x64:
        pytest.skip("JAX has double precision in this process")
    with pytest.raises(InputError, match="jax_enable_x64"):
        double.predict(titanate())
    assert with_kernel(double, "auto").predict(titanate()).dtype == np.float64


def test_weights_are_those_that_orbax_reads():
    found, meaning = read_weights("shipped")
    expected, theirs = read_checkpoint("shipped")
    assert meaning == theirs
    jax.tree.map(np.testing.assert_array_equal, found, expected["params"])
