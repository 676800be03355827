import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

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
    assert found == [str(tmp_path / "site/equivar_jax/config.py"), "32"]


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert equivar_jax.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_the_package_does_not_start_jax():
    code = "import sys, equivar_jax, equivar_jax.config; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'predicts'"):
        _ = equivar_jax.predicts
