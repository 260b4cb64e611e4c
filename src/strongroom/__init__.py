"""Strongroom: deduplicating, encrypted, incremental backups to servers that need not be trusted."""

__version__ = "0.1.0"
