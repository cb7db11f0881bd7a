"""One file per method of an incremental step, found by its name; see `mtcil.learning.steps`."""
