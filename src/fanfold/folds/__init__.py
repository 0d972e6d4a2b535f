"""Folds: pure takers of arrivals that say what to do next and give the one answer. No I/O, no clock."""
