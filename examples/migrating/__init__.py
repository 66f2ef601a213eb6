"""The same training with Ray Tune's Population Based Training and with this package."""
