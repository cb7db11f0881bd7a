"""The fast path for features. librosa is the definition: see `mtcil.audio.features`.

Without this folder everything works; features take 6 to 11 times as long, by kind of CPU.
"""
