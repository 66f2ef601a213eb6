"""Settings for frameworks that are configured before they are imported."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here needs the hub; say so rather than wait for it
os.environ["MPLBACKEND"] = "agg"
