"""Write page.html, in which `dvc plots` draws: DVC's own page with its scripts inside.

DVC's page loads Vega, Vega-Lite and vega-embed from the internet each time it is opened; this one
works without. `make plots-page` runs it, and is needed after an upgrade of DVC only: the versions
are those that the installed DVC asks for. Needs npm; `dvc plots` and everything else do not.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from dvc_render.html import PAGE_HTML
from dvc_render.vega import VegaRenderer

HERE = Path(__file__).parent
PACKAGE = re.compile(r"/npm/(?P<name>[\w-]+)@(?P<version>[\d.]+)")
ALSO = ("lru-cache@6.0.0", "yallist@4.0.0")  # inside vega-embed 6.18.2; no longer installed with it
INSTALL = "npm install --silent --ignore-scripts --no-save --legacy-peer-deps --prefix"
STYLE = """
        body { font-family: sans-serif; }
        .vega-embed { vertical-align: top; margin: 8px 24px 24px 8px; }
        .vega-embed::before { content: attr(id); display: block; color: #777; font-size: 11px; }
        img { max-width: 46vw; height: auto; }
"""  # above each drawing its file or name, which says the study; two revisions' pictures abreast


def wanted() -> dict[str, str]:
    """Version of each package that DVC's own page loads, in the order of loading."""
    return dict(PACKAGE.findall(VegaRenderer.SCRIPTS))


def bundled(package: Path) -> set[str]:
    """Packages whose code is inside `package`'s minified file, by its source map."""
    sources = json.loads((package / f"build/{package.name}.min.js.map").read_text("utf-8"))
    found = (re.search(r".*node_modules/((?:@[^/]+/)?[^/]+)", s) for s in sources["sources"])
    siblings = (re.search(r"(vega-[\w-]+)/(?:src|build)/", s) for s in sources["sources"])
    return {package.name, *(match[1] for match in (*found, *siblings) if match)}


def licence(package: Path) -> str:
    """Licence text of an installed package."""
    files = [file for file in sorted(package.iterdir()) if re.match("licen[cs]e", file.name, re.I)]
    if files:
        return files[0].read_text("utf-8").strip()
    about = json.loads((package / "package.json").read_text("utf-8"))
    return f"{about['license']}, as its package.json says."


def licences(packages: list[Path]) -> str:
    """Each licence text once, under the names of the packages that it holds for."""
    names: dict[str, list[str]] = {}
    for package in packages:
        names.setdefault(licence(package), []).append(package.name)
    rule = "\n\n" + "-" * 80 + "\n\n"
    return rule.join(f"{', '.join(found)}\n\n{text}" for text, found in names.items()) + "\n"


def main() -> None:
    """Fetch the packages, put their minified files into the page, their licences beside it."""
    versions = wanted()
    with tempfile.TemporaryDirectory() as folder:
        packages = [f"{name}@{version}" for name, version in versions.items()]
        subprocess.run([*INSTALL.split(), folder, *packages, *ALSO], check=True)  # noqa: S603
        modules = Path(folder) / "node_modules"
        scripts, inside = [], set()
        for name, version in versions.items():
            code = (modules / name / f"build/{name}.min.js").read_text("utf-8")
            code = re.sub(r"\n//# sourceMappingURL=.*", "", code).strip()
            if re.search(r"</script|<!--|\{(scripts|plot_divs|refresh_tag)\}", code):
                raise ValueError(f"{name} {version} cannot stand inside a page as it is.")
            scripts.append(f'<script data-package="{name}@{version}">\n{code}\n</script>')
            inside |= bundled(modules / name)
        texts = licences([modules / name for name in sorted(inside)])
    page = PAGE_HTML.replace("<head>", '<head>\n    <meta charset="utf-8">')
    page = page.replace("</style>", STYLE + "    </style>")
    page = page.replace("{scripts}", "\n".join(scripts))
    (HERE / "page.html").write_text(page + "\n", "utf-8")
    (HERE / "LICENSES.txt").write_text(texts, "utf-8")


if __name__ == "__main__":
    main()
