"""From an archive of sound files to one array of features."""
