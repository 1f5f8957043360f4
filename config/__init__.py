"""What we were told: the environment, the presets and WATCH_FILE. Imports nothing of ours."""
