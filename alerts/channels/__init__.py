"""Where people are told: one file a kind, each with one way to send."""
