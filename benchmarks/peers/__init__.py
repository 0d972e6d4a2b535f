"""Clients that do the same work side by side: fanfold, and what people use instead, each by its own documentation."""
