"""What is answered over HTTP: the daemon's own health, the metrics, the status as JSON and as a page."""
