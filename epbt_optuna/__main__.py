"""`python -m epbt_optuna`: the `epbt` command, where its entry point is not on the path."""

from __future__ import annotations

from epbt_optuna.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="epbt")
