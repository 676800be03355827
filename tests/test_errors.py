import select
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from equivar_jax.errors import InputError, plain_messages, require_free_folder


def test_a_warning_of_a_command_is_one_line():
    code = "import warnings\nfrom equivar_jax.errors import plain_messages\n"
    code += "with plain_messages():\n    warnings.warn('two\\n  lines', UserWarning)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == "warning: two lines\n"


def test_afterwards_warnings_are_those_of_python_again():
    before = warnings.formatwarning
    with plain_messages():
        assert warnings.formatwarning is not before
    assert warnings.formatwarning is before


def test_a_warning_is_printed_once():
    """Python forgets what it has printed with every `catch_warnings`; another text is another warning."""
    code = "import warnings\nfrom equivar_jax.errors import plain_messages\n"
    code += "with plain_messages():\n    for word in ('one', 'two', 'one'):\n"
    code += "        with warnings.catch_warnings():\n            pass\n        warnings.warn(word)\n"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == "warning: one\nwarning: two\n"


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        ("KeyboardInterrupt", 130, "SIGINT: interrupted\n"),
        ("Interrupted(signal.SIGTERM)", 143, "SIGTERM: interrupted\n"),
    ],
)
def test_ctrl_c_is_one_line_and_the_status_of_a_shell(raised, status, said):
    code = "import signal\nfrom equivar_jax.errors import plain_messages\n"
    code += f"from equivar_jax.runtime import Interrupted\nwith plain_messages():\n    raise {raised}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (status, said)


@pytest.mark.skipif(not hasattr(select, "poll"), reason="the system does not tell that a pipe is closed")
@pytest.mark.parametrize("unbuffered", [[], ["-u"]])
def test_a_reader_that_goes_away_ends_a_command_without_a_traceback(unbuffered):
    """As with `equivar ... | head`."""
    code = "from equivar_jax.errors import plain_messages\nwith plain_messages():\n"
    code += "    input()\n    print('line')\n    print('line')\n"
    command = [sys.executable, *unbuffered, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_another_broken_pipe_is_a_fault():
    with pytest.raises(BrokenPipeError), plain_messages():
        raise BrokenPipeError


def test_a_folder_for_results_is_absent_or_empty(tmp_path):
    require_free_folder(tmp_path / "absent", "-o")
    require_free_folder(tmp_path, "-o")
    taken = tmp_path / "file"
    taken.touch()
    for place in (tmp_path, taken):
        with pytest.raises(
            InputError, match=f"^{place}: exists and is not an empty folder; choose another -o$"
        ):
            require_free_folder(place, "-o")


def test_a_folder_that_may_not_be_looked_into_is_refused_in_one_line(tmp_path, monkeypatch):
    def deny(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", deny)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\); choose another -o$"):
        require_free_folder(tmp_path, "-o")
