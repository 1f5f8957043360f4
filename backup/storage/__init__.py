"""Where restore points are kept. One file a kind; `open_storage` in `table` gives the one that is configured."""
