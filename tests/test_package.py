import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.examples import slow

import equivar_jax

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without fetching anything."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_has_the_configs_and_the_types(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("bm1", "bm2", "quickstart", "test"):
        assert f"equivar_jax/configs/{name}.py" in names
    assert "equivar_jax/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 10e6


def test_configs_are_found_by_name_after_a_wheel_install(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from equivar_jax import config; print(config.__file__, config.load_config('bm2.py').model.channels)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert found == [str(tmp_path / "site/equivar_jax/config/__init__.py"), "32"]


def test_the_wheel_brings_the_weights_and_stays_small(wheel):
    here = ROOT / "equivar_jax"
    files = [path.relative_to(ROOT).as_posix() for path in (here / "weights").rglob("*") if path.is_file()]
    files = [name for name in files if "__pycache__" not in name]
    assert len(files) > 5
    assert set(files) <= set(zipfile.ZipFile(wheel).namelist())
    assert wheel.stat().st_size < 10e6


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory):
    """The source distribution, built without fetching anything."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "source_distribution"])
def test_it_works_in_a_clean_environment(kind, request, tmp_path):
    """Installed by pip; dependencies are those of this environment, so that nothing is fetched."""
    distribution, folder = request.getfixturevalue(kind), tmp_path / "venv"
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words):
        process = subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(folder / "bin" / "python", "-m", "pip", "install", *options, distribution)
    report = run(folder / "bin" / "equivar", "doctor")
    assert f"equivar    {equivar_jax.__version__}, {site / 'equivar_jax'}\n" in report
    assert "self-test  good" in report
    assert run(folder / "bin" / "equivar", "--version").startswith(f"equivar {equivar_jax.__version__} (")
    run(folder / "bin" / "equivar", "response", "born", "--example", "-o", "BORN")
    assert (tmp_path / "BORN").is_file()


@pytest.mark.slow
def test_the_source_distribution_has_the_site_and_the_tests(source_distribution):
    with tarfile.open(source_distribution) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"mkdocs.yml", "docs/index.md", "docs/pictures/bands.png", "tests/conftest.py"} <= names


@pytest.mark.parametrize(
    "code",
    [
        slow("import equivar_jax; p = equivar_jax.predict; import equivar_jax.predict as q"),
        "from equivar_jax.predict import Predictor, load, main; from equivar_jax import predict as p; q = p",
    ],
)
def test_predict_is_a_function_and_a_module_whatever_is_imported_first(code):
    check = """
import sys
from equivar_jax import Predictor, load, predict
assert predict is p is q is sys.modules["equivar_jax.predict"] and callable(predict)
assert (predict.Predictor, predict.load) == (Predictor, load) and callable(predict.main)
try:
    predict("no atoms")
except Exception as error:
    print(type(error).__name__)
"""
    found = subprocess.run([sys.executable, "-c", code + check], check=True, capture_output=True, text=True)
    assert found.stdout.strip()


def test_predict_is_a_program():
    words = [sys.executable, "-W", "error::RuntimeWarning", "-m", "equivar_jax.predict", "--help"]
    assert "--uncertainty" in subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert equivar_jax.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_the_package_does_not_start_jax():
    code = "import sys, equivar_jax, equivar_jax.config.schema; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'predicts'"):
        _ = equivar_jax.predicts
