import subprocess
import sys
import warnings

from equivar_jax.errors import plain_messages


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


def test_ctrl_c_is_one_line_and_the_status_of_a_shell():
    code = (
        "from equivar_jax.errors import plain_messages\nwith plain_messages():\n    raise KeyboardInterrupt"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (130, "SIGINT: interrupted\n")
