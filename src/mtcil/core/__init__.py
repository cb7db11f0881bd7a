"""Shared basics: errors, files, finding plug-ins by name, randomness, processes."""
