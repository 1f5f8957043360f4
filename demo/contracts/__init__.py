"""Small servers that answer as the real services do, version by version, and break as they break."""
