"""The checks of `.github/workflows/tests.yml`, here: `pipx run nox`, or `pipx run nox -s oldest`.

The Makefile says what each one does. A session gives it a Python and an environment of its own.
"""

import shutil
import subprocess

import nox

nox.options.default_venv_backend = "none"  # the Makefile makes the environments

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]  # those that are installed are used


def is_here(interpreter: str) -> bool:
    """Tell whether a Python runs: pyenv also has commands for versions that it would refuse."""
    path = shutil.which(interpreter)
    return path is not None and not subprocess.run([path, "-V"], capture_output=True).returncode


def make(session: nox.Session, target: str, python: str | None = None) -> None:
    """Run a target of the Makefile in an environment of its own for each Python."""
    interpreter = f"python{python}" if python else "python3"
    if not is_here(interpreter):
        session.skip(f"{interpreter} is not installed")
    environment = f"VENV=.nox/{interpreter}"
    session.run("make", target, f"PYTHON={interpreter}", environment, external=True)


@nox.session
@nox.parametrize("python", PYTHONS)
def tests(session: nox.Session, python: str) -> None:
    """Run the whole suite."""
    make(session, "test", python)


@nox.session
def optuna_4(session: nox.Session) -> None:
    """Run what depends on Optuna with the oldest Optuna that is supported."""
    make(session, "test-optuna-4")


@nox.session
def oldest(session: nox.Session) -> None:
    """Test with the oldest version of each package, on the oldest Python if it is here."""
    make(session, "test-oldest", "3.10" if is_here("python3.10") else None)


@nox.session
def no_extras(session: nox.Session) -> None:
    """Test what works without torch and every other extra."""
    make(session, "test-no-extras")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    make(session, "lint")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a broken link is an error."""
    make(session, "docs")
