"""A step over a table: rows of a file in, rows of a file out, with progress and resume."""
