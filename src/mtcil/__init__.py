"""Class-incremental learning on audio, with multitask base models, as a benchmark."""
