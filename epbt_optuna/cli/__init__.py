"""The `epbt` command: look at a study from a terminal, take its schedule along, tidy up after it.

What can be typed is in `_looking` and `_changing`; what it does is in the modules beside, one for
each command, which are imported when it runs: `epbt --help` need not wait for Optuna. Reading
commands never write to a storage. What a user got wrong is one line on standard error, and
exit code 1 (2: the command line itself).
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from epbt_optuna._internal.text import printable
from epbt_optuna.cli._arguments import examples
from epbt_optuna.cli._changing import branch, collect, running, sync
from epbt_optuna.cli._looking import export_schedule, lineage, plot, summary, watch

__all__ = ["main"]


class _OneLineErrors(click.Group):
    """A group whose commands end in one line, not in a traceback, where input was bad."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that lacks a character shows `?`; an error would come when all is done.
            sys.stdout.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except Exception as error:
            from epbt_optuna.cli._errors import sentence

            if (message := sentence(error)) is None:
                raise
            raise click.ClickException(printable(message)) from error


@click.group(
    cls=_OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "epbt summary sqlite:///epbt.db",
        "epbt lineage study.log my-study --all | less -R",
        "epbt plot lineage sqlite:///epbt.db --out lineage.html",
        "epbt export-schedule sqlite:///epbt.db --out schedule.json",
    ),
)
@click.version_option(package_name="epbt-optuna", prog_name="epbt")
def main() -> None:
    """Look at what a population left behind in an Optuna study.

    STORAGE is where the study is: an SQLAlchemy URL (sqlite:///epbt.db, postgresql://host/name),
    a journal's file (study.log), or Optuna's gRPC proxy (grpc://host:13000). STUDY is its name; it
    may be left out where there is only one.
    """


for _command in (branch, collect, export_schedule, lineage, plot, running, summary, sync, watch):
    main.add_command(_command)
