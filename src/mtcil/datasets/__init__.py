"""One file per dataset, found by its name; `mtcil.audio.source` says what each states."""
