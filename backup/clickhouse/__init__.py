"""ClickHouse, which backs itself up and restores itself: what we tell it, and what we check of what it did."""
