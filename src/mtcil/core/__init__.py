"""What everything uses: errors, files, finding plug-ins by name, randomness, processes."""
