"""Telling people. Imports config only and is handed `transact(fn)`, never a database."""
