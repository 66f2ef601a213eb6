"""`make bench`: what the library costs, beside its rivals; nothing here passes or fails.

    python -m tests.benchmarks                       # every table, then the page
    python -m tests.benchmarks loss checkpoints      # some of them; the others' figures stay
    python -m tests.benchmarks loss --quick          # in seconds, printed and not kept
    python -m tests.benchmarks --page                # the page again, from its JSON

Run it on a machine that does nothing else. Each table is made in a process of its own, where its
ways take turns, so that what slows the machine down for a while slows all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.making import command_line, quiet

MODULES = {
    "ask-tell": "samplers",
    "batched": "batched",
    "loss": "loss",
    "training-step": "loss",
    "checkpoints": "checkpoints",
    "member-iteration": "ray_tune",
    "workers": "parallel",
    "barrier": "parallel",
    "storage-calls": "storages",
    "driver": "storages",
    "tracking": "tracking",
    "tracking-memory": "tracking",
    "tracking-close": "tracking",
    "lineage": "samplers",
    "data-loading": "data_loading",
    "greed": "greed",
}
"""By table, in this order, the module that makes it."""


def main(arguments: Sequence[str] | None = None) -> None:
    command_line("tests.benchmarks", __doc__, MODULES, arguments)


if __name__ == "__main__":
    quiet()
    main()
