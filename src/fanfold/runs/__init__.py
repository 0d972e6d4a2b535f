"""The run: its one stream of events, the record users get, readers of the stream, and the live screen."""
