"""The one road that every call takes; `road` is the file to read first."""
