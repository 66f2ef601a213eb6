"""Engines: what runs a trial elsewhere, in a thread, a process or a Ray task, behind one protocol.

`pickling.py` is what travels to other processes and back.
"""

from __future__ import annotations

__all__: list[str] = []
