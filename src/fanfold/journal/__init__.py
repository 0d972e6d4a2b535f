"""The journal: what was asked and answered, kept in one file; `journal` is the file to read first."""

from fanfold.journal.journal import Journal, JournalStatistics

__all__ = ["Journal", "JournalStatistics"]
