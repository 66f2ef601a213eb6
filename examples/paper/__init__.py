"""The paper's experiments (sections 4 and 5), each arm beside its baselines, resumable.

    python -m examples.paper list
    python -m examples.paper run digits-noisy --seeds 5 --workers 2
    python -m examples.paper report

A config (`configs`) says what is learnt; an arm (`arms`) says how. One arm on one seed is a job
(`jobs`) and leaves a line in the config's file (`results`), of which `report` makes tables and
figures.
"""


class ExperimentError(Exception):
    """What was asked for cannot be done; the message says what and where."""
