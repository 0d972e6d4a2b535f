"""A model server for tests, demos and benchmarks: it speaks OpenAI's and Anthropic's dialects on this machine."""

from fanfold.testing.server.apart import apart
from fanfold.testing.server.book import Seen, ServerStatistics
from fanfold.testing.server.model_server import ModelServer

__all__ = ["ModelServer", "Seen", "ServerStatistics", "apart"]
