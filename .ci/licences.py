"""Prints the licences of all crates and fonts that are compiled into the program, each text once.

Usage: .ci/licences.py TARGET, a target triple. A crate's package must hold a text or say an expression; else this fails.
"""

import json
import pathlib
import subprocess
import sys
from fnmatch import fnmatch

TEXTS = ("licen[cs]e*", "copying*", "copyright*", "notice*", "unlicense*", "*ofl*", "ufl*")


def linked(target):
    """The packages that the program is linked from: no build scripts, no macros, nothing of features that are off."""
    tree = ["cargo", "tree", "--locked", "-p", "smalti-app", "--target", target, "-e", "normal,no-proc-macro", "--prefix", "none", "-f", "{p}"]
    lines = subprocess.check_output(tree, text=True).splitlines()
    used = {tuple(line.replace(" v", " ", 1).split()[:2]) for line in lines if line}
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--locked", "--format-version", "1"]))
    foreign = [p for p in metadata["packages"] if p["source"] and (p["name"], p["version"]) in used]
    return sorted(foreign, key=lambda p: (p["name"], p["version"]))


def texts(package):
    """The package's licence files, at its top and where fonts and sub-libraries keep theirs."""
    folder = pathlib.Path(package["manifest_path"]).parent
    named = {folder / package["license_file"]} if package["license_file"] else set()
    for path in folder.rglob("*"):
        if path.suffix.lower() in ("", ".txt", ".md") and any(fnmatch(path.name.lower(), p) for p in TEXTS):
            named.add(path)
    read = [p.read_text(errors="replace").strip() for p in sorted(named) if p.is_file()]
    return [text for text in read if len(text) > 100]


def main():
    users = {}
    print("Smalti is linked from these crates. Their licences follow; MIT's and Apache's own words are also in LICENSE-MIT and LICENSE-APACHE.\n")
    for package in linked(sys.argv[1]):
        name = f"{package['name']} {package['version']}"
        expression = package["license"]
        found = texts(package)
        if not found and not expression:
            sys.exit(f"{name}: neither a licence text nor an expression")
        where = package["repository"] or "https://crates.io/crates/" + package["name"]
        print(f"{name}: {expression or 'see its text'}. {where}" + ("" if found else " (its package holds no text)"))
        for text in found:
            users.setdefault(text, []).append(name)
    for path in sorted(pathlib.Path("app/fonts").glob("*.txt")):
        print(f"{path.stem.removesuffix('-LICENSE')}, a font: OFL-1.1")
        users.setdefault(path.read_text().strip(), []).append(path.stem.removesuffix("-LICENSE"))
    for text, names in users.items():
        print(f"\n{'=' * 100}\n{', '.join(names)}\n{'-' * 100}\n{text}")


main()
