"""One file per probe of a frozen base model, found by its name; see `mtcil.learning.probe`."""
