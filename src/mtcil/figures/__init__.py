"""One file per figure, found by its name (`mtcil.core.lookup.find`).

A figure draws the table of the same name: stage `draw_figures` reads `metrics/tables/<name>.csv`
and writes `plots/<name>.png`. A file defines:

    def draw(table) -> Figure     draw the table, which is not empty

The file's docstring is the caption that readers see. It does not compute tables, import torch, or
read or write files.
"""
