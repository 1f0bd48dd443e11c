"""Pages of the reference, made of the code when the site is built.

Each module here writes the pages of one kind from what the package itself says:
click's commands, pydantic's models, declared columns, docstrings. Nothing that they
write is kept in the repository.
"""
