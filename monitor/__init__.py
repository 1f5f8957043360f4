"""Watching, and the only place where all is joined. The flow starts in `__main__`, then `daemon`, then `watch`."""
