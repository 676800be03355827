import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
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
    version = distribution.name.removesuffix(".tar.gz").split("-")[1]
    assert f"equivar    {version}, {site / 'equivar_jax'}\n" in report
    assert "self-test  good" in report
    assert run(folder / "bin" / "equivar", "--version").startswith(f"equivar {version} (")
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


def git(folder, *words):
    """Run git without settings of the user or of a repository around the folder."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *author, *words]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()


def version_of(folder):
    """The version that the build backend gives a tree."""
    words = [sys.executable, "-m", "hatchling", "version"]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path):
    """A repository of one commit, with the files that decide about the version."""
    folder = tmp_path / "tree"
    (folder / "equivar_jax").mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "equivar_jax/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


@needs_git
def test_a_tag_gives_the_version_and_later_commits_are_named(tree):
    git(tree, "tag", "data-2026")  # no version
    git(tree, "tag", "v0.1.0")
    assert version_of(tree) == "0.1.0"
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "two")
    after = f"0.1.0.post1.dev1+g{git(tree, 'rev-parse', '--short=9', 'HEAD')}"
    assert version_of(tree) == after
    (tree / "README.md").write_text("edited")
    assert re.fullmatch(re.escape(after) + r"\.d\d{8}", version_of(tree))


@needs_git
def test_a_clone_without_tags_or_history_has_no_number_of_a_release(tree, tmp_path):
    git(tree, "tag", "v0.1.0")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "two")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", tree.as_uri(), str(clone))
    commit = git(clone, "rev-parse", "--short=9", "HEAD")
    assert version_of(clone) == f"0.post1.dev1+unknown.g{commit}"


@needs_git
def test_a_tree_without_git_is_unknown_also_inside_another_repository(tree):
    git(tree, "tag", "v0.1.0")
    inside = tree / "copy"
    shutil.copytree(tree, inside, ignore=shutil.ignore_patterns(".git"))
    assert version_of(inside) == "0+unknown"


def test_distributions_keep_the_version_of_their_tree(wheel, source_distribution):
    """That of the unpacked source distribution is the same, without git."""
    version = wheel.name.split("-")[1]
    assert source_distribution.name == f"equivar_jax-{version}.tar.gz"
    with tarfile.open(source_distribution) as archive:
        archive.extractall(source_distribution.parent, filter="data")
    assert version_of(source_distribution.parent / f"equivar_jax-{version}") == version


def test_the_version_is_that_of_the_installation(tmp_path):
    """Its local part, too; sources that are not installed have none."""
    shutil.copytree(
        ROOT / "equivar_jax", tmp_path / "equivar_jax", ignore=lambda *_: {"weights", "__pycache__"}
    )
    command = [sys.executable, "-S", "-c", "import equivar_jax; print(equivar_jax.__version__)"]

    def said():
        found = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": "."}, check=True, capture_output=True, text=True
        )
        return found.stdout.strip()

    assert said() == "0+unknown"
    (tmp_path / "equivar_jax-9.dist-info").mkdir()
    version = "0.1.0.post1.dev3+g1a2b3c4d5.d20261201"
    (tmp_path / "equivar_jax-9.dist-info/METADATA").write_text(f"Name: equivar_jax\nVersion: {version}\n")
    assert said() == version
    assert equivar_jax.__version__ == metadata.version("equivar_jax")


def test_no_file_has_a_version_of_its_own():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


def test_importing_the_package_does_not_start_jax():
    code = "import sys, equivar_jax, equivar_jax.config.schema; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'predicts'"):
        _ = equivar_jax.predicts
