"""Plain data → plotly figures."""

__all__: list[str] = []
