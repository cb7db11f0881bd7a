"""README.md: what it shows of the code is the code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_methods_example_is_a_whole_file_of_under_60_lines():
    source = (ROOT / "src" / "mtcil" / "methods" / "finetune.py").read_text("utf-8")
    assert f"```python\n{source}```" in (ROOT / "README.md").read_text("utf-8")
    assert len(source.splitlines()) < 60
