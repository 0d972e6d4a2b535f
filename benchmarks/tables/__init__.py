"""Clients that make a table of a table: ``python -m tables.CLIENT ROWS OUT URL IN_FLIGHT`` prints what it took."""
