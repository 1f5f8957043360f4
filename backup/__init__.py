"""Dump, seal, store, prove. Imports config only; no SQLite, no Prometheus, no asyncio."""
