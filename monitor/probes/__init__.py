"""One file a kind of probe; `PROBES` in `table` maps the kind to its function."""
