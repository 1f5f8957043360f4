"""What is backed up. One file an engine; `SOURCES` in `table` maps the engine to its source."""
