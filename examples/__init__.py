"""Examples, to be run as modules from the repository's root: `python -m examples.digits`."""
