"""One structure on many devices: the numbers of one device, and a share of its memory on each.

Processes of their own have four virtual devices on the CPU, since JAX counts its devices once.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from helpers.crystals import titanate
from helpers.networks import DEEP, random_params
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax import load
from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import find_neighbours
from equivar_jax.network.forms import make_network
from equivar_jax.prediction.giant import NetworksOnDevices
from equivar_jax.prediction.giant.bricks import divide
from equivar_jax.prediction.giant.exchange import plan_rounds
from equivar_jax.prediction.giant.regions import divide_graph, own_and_halo

TESTS = Path(__file__).parents[1]
START = """
import dataclasses, json, sys
import jax
import numpy as np
jax.config.update("jax_enable_x64", sys.argv[1] == "float64")
from helpers.crystals import titanate
from helpers.networks import DEEP, SMALL, random_params
from equivar_jax.graphs.batch import graph_of
from equivar_jax.graphs.graph import find_neighbours
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.giant.run import place, tensors_on_devices
dtype = np.dtype(sys.argv[1])
def crystal(*repeats):
    atoms = titanate(4, seed=3).repeat(repeats)
    atoms.rattle(0.05, seed=1)
    return atoms
"""


def on_four_devices(code, *words):
    """What code prints, as JSON, in a process with four devices."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


COMPARE = """
found, atoms = [], crystal(2, 1, 2)
more = {"gates": True, "self_connection": True, "edge_hidden": 8}
for kernel, flags in (("chunked", {}), ("native", more)):
    config = dataclasses.replace(DEEP, kernel=kernel, **flags)
    model, params = Equivar(config), random_params(config, dtype.type)
    whole = np.asarray(jax.jit(model.apply)(params, graph_of(atoms, config.cutoff, dtype.type)))
    graph = find_neighbours(atoms, config.cutoff)
    for devices, nodes in json.loads(sys.argv[2]):
        placed = place(model, dtype, atoms, graph, jax.devices()[:devices], nodes)
        tensors, _ = tensors_on_devices(model, params, placed)
        found.append(float(np.abs(tensors - whole).max() / np.abs(whole).max()))
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("dtype", "tolerance", "shapes"),
    [
        ("float64", 1e-10, [[4, 7]]),
        pytest.param("float32", 1e-6, [[1, 64], [3, 16]], marks=pytest.mark.slow),
    ],
)
def test_devices_give_the_numbers_of_one_batch(dtype, tolerance, shapes):
    errors = on_four_devices(COMPARE, dtype, json.dumps(shapes))
    assert len(errors) == 2 * len(shapes)
    assert max(errors) < tolerance


WRONG_ROWS = """
from equivar_jax.prediction.giant import run
atoms, model, params = crystal(2, 1, 2), Equivar(DEEP), random_params(DEEP, dtype.type)
placed = place(model, dtype, atoms, find_neighbours(atoms, DEEP.cutoff), jax.devices(), 32)
right, _ = tensors_on_devices(model, params, placed)
run._exchange = lambda mesh, exchange, own_rows, table, send: table
wrong, _ = tensors_on_devices(model, params, placed)
print(json.dumps(np.abs(right - wrong).max(axis=(1, 2)).tolist()))
"""


def test_without_the_exchange_the_tensors_are_wrong():
    differences = on_four_devices(WRONG_ROWS, "float32")
    assert max(differences) > 1e-3


PROCESS = """
jax.config.update("jax_cpu_collectives_implementation", "gloo")
address, number = sys.argv[2:]
jax.distributed.initialize(address, num_processes=2, process_id=int(number))
atoms, model, params = crystal(2, 1, 2), Equivar(SMALL), random_params(SMALL, dtype.type)
graph = find_neighbours(atoms, SMALL.cutoff)
assert len(jax.devices()) == 8 and len(jax.local_devices()) == 4
tensors, _ = tensors_on_devices(model, params, place(model, dtype, atoms, graph, jax.devices(), 7))
alone, _ = tensors_on_devices(model, params, place(model, dtype, atoms, graph, jax.local_devices(), 7))
print(json.dumps(float(np.abs(tensors - alone).max() / np.abs(alone).max())))
"""


@pytest.mark.slow  # two processes
def test_two_processes_of_four_devices_both_get_all_tensors():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(lambda number: on_four_devices(PROCESS, "float32", address, number), "01"))
    assert max(errors) < 1e-6


MEMORY = """
found = []
atoms, model, params = crystal(8, 1, 1), Equivar(DEEP), random_params(DEEP, dtype.type)
for devices in (1, 2, 4):
    placed = place(model, dtype, atoms, find_neighbours(atoms, DEEP.cutoff), jax.devices()[:devices], 1000)
    from equivar_jax.prediction.giant import run
    sizes = []
    original = run._interact_into
    def noting(model, mesh, layer, following, params, table, species, start, graph):
        shards = [array.addressable_shards for array in jax.tree.leaves((following, table, species, graph))]
        sizes.append([sum(parts[k].data.nbytes for parts in shards) for k in range(devices)])
        return original(model, mesh, layer, following, params, table, species, start, graph)
    run._interact_into = noting
    tensors_on_devices(model, params, placed)
    run._interact_into = original
    found.append([max(map(max, sizes)), placed.regions.rows, placed.regions.own_rows, len(atoms)])
print(json.dumps(found))
"""


def test_a_device_holds_its_share_and_a_halo():
    (one, rows, own, atoms), *others = on_four_devices(MEMORY, "float32")
    assert rows == own == atoms
    for devices, (size, rows, own, _) in zip((2, 4), others, strict=True):
        assert own == atoms // devices
        assert rows <= own + 2 * 25  # two faces of the long crystal, each of some 20 atoms
        # Edges are padded to a capacity of a series of ratio 1.05.
        assert size < 1.06 * one * rows / atoms
        assert size < 1.06 * one * (1 / devices + 50 / atoms)


PREDICT = """
import warnings
warnings.simplefilter("ignore")
from ase.build import bulk
from equivar_jax import load
model = load(sys.argv[2])
salt = bulk("MgO", "rocksalt", a=4.21, cubic=True) * (2, 1, 1)
salt.rattle(0.03, seed=1)
cases = [salt, bulk("MgO", "rocksalt", a=4.21)]  # fewer atoms than devices
cases[0].info["charge"] = 2.0
one = model.predict(cases, uncertainty=True)
four = model.predict(cases, uncertainty=True, devices=4)
print(json.dumps([
    max(float(np.abs(a - b).max()) for x, y in zip(one, four) for a, b in zip(x, y)),
    float(np.abs(four[0][0].sum(axis=0) - 2 * np.eye(3)).max()),
    float(np.abs(four[1][0].sum(axis=0)).max()),
    max(float(np.abs(x.distances / y.distances - 1).max())
        for x, y in zip(model.predictions(cases), model.predictions(cases, devices=3))),
]))
"""


@pytest.mark.slow  # a committee compiles
def test_a_committee_on_devices_keeps_uncertainty_and_sum_rule():
    difference, charged, neutral, distance = on_four_devices(PREDICT, "float32", "shipped")
    assert difference < 2e-5
    assert charged < 1e-8
    assert neutral < 1e-8
    assert distance < 1e-3


COMMAND = """
from equivar_jax import predict
predict.main(sys.argv[2:])
print("0")
"""


@pytest.mark.slow  # a process of its own
def test_the_command_divides_structures(trained, tmp_path):
    data = tmp_path / "in.extxyz"
    titanate(3, seed=1).write(data)
    words = ["--checkpoint", str(trained.folder), str(data), "-o"]
    one, four = tmp_path / "one.csv", tmp_path / "four.csv"
    for name, more in ((one, ["--devices", "1"]), (four, ["--devices", "4"])):
        code = COMMAND.replace(
            "from equivar_jax import",
            "import warnings\nwarnings.simplefilter('ignore')\nfrom equivar_jax import",
        )
        on_four_devices(code, "float32", *words, str(name), *more)
    tables = [
        np.loadtxt(p, delimiter=",", skiprows=1, usecols=range(1, 10), quotechar='"') for p in (one, four)
    ]
    np.testing.assert_allclose(tables[1], tables[0], rtol=0, atol=1e-6 * np.abs(tables[0]).max())


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(InputError, match=r"devices=99: JAX sees \d+ \(cpu\); give a number from 1 to that"):
        load().predict(bulk("MgO", "rocksalt", a=4.21), devices=99)
    with pytest.raises(InputError, match="eps_inf is not divided among devices"):
        load().predict(bulk("MgO", "rocksalt", a=4.21), devices=1, dielectric=True)


def test_a_polarisation_is_refused_with_the_reason():
    config = dataclasses.replace(DEEP, form="polarisation")
    with pytest.raises(InputError, match="derivatives of a polarisation, and its way back"):
        NetworksOnDevices(make_network(config), random_params(config), 1, np.dtype("float32"), (), 1)


@given(parts=st.integers(1, 17), seed=st.integers(0, 50), count=st.integers(1, 60))
def test_bricks_have_equal_numbers(parts, seed, count):
    atoms = titanate(12, seed=seed)[:count]
    sizes = np.bincount(divide(atoms, parts), minlength=parts)
    assert sizes.sum() == count
    assert np.ptp(sizes) <= np.ceil(np.log2(parts)) + 1


def test_bricks_are_cut_across_the_longest_side():
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True) * (8, 2, 1)
    owner = divide(atoms, 4)
    edges = [atoms.positions[owner == k, 0] for k in range(4)]
    assert [len(edge) for edge in edges] == [32, 32, 32, 32]
    assert all(np.ptp(edge) < 8.5 for edge in edges)


@pytest.mark.parametrize("atoms", [molecule("C60"), bulk("Si") * (2, 3, 4), titanate(6, seed=2)], ids=str)
@pytest.mark.parametrize("devices", [2, 5])
def test_every_edge_is_there_once_with_its_ends(atoms, devices):
    graph = find_neighbours(atoms, 3.0)
    regions = divide_graph(graph, divide(atoms, devices), devices, 7, slots=True)
    found = []
    for device in range(devices):
        own = regions.own[device]
        rows = np.full(regions.rows, -1)
        rows[: len(own)] = own
        rows[regions.halo_rows[device]] = regions.halos[device]
        species = regions.species(device)
        assert (species[rows >= 0] == atoms.numbers[rows[rows >= 0]]).all()
        for piece in range(regions.pieces):
            part = regions.graph_of(device, piece, np.dtype("float64"))
            edges = int(part.nodes["neighbours"].sum())
            ends = rows[part.receivers[:edges]], rows[part.senders[:edges]]
            found.append(np.column_stack([*ends, part.edges["vectors"][:edges]]))
            assert part.nodes["slots"].shape == (regions.nodes, regions.width)
    found = np.concatenate(found)
    expected = np.column_stack([graph.receivers, graph.senders, graph.edges["vectors"]])
    assert found[np.lexsort(found.T)].tolist() == expected[np.lexsort(expected.T)].tolist()


@given(st.integers(1, 9).flatmap(lambda n: st.lists(st.integers(0, 5), min_size=n * n, max_size=n * n)))
def test_rounds_send_every_row_once(numbers):
    size = round(len(numbers) ** 0.5)
    counts = np.array(numbers).reshape(size, size)
    np.fill_diagonal(counts, 0)
    exchange = plan_rounds(counts)
    pairs = [pair for pairs in exchange.rounds for pair in pairs]
    assert sorted(pairs) == sorted(zip(*map(list, np.nonzero(counts)), strict=True))
    for pairs, rows in zip(exchange.rounds, exchange.sizes, strict=True):
        senders, receivers = zip(*pairs, strict=True)
        assert len(set(senders)) == len(set(receivers)) == len(pairs)
        assert max(counts[pair] for pair in pairs) == rows


def test_slabs_send_to_the_two_sides_only():
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True) * (16, 1, 1)
    regions = divide_graph(find_neighbours(atoms, 3.0), divide(atoms, 8), 8, 100, slots=False)
    assert len(regions.exchange.rounds) == 2
    assert own_and_halo(regions)[:, 0].tolist() == [16] * 8
    assert regions.exchange.rows == own_and_halo(regions)[:, 1].max()
