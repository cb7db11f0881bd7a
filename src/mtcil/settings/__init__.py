"""The settings of a study: read, checked, frozen."""
