"""Study → plain data: what a picture shows, before either backend draws it."""

__all__: list[str] = []
