#!/usr/bin/env python3
"""Builds the three releases of the sample site from source/.

The committed directories release-1 to release-3 are the releases; this only says how they were made. Release N takes the
sources of source/1 to source/N, the later ones over the earlier ones. Assets are named after their content, every link is
relative, so the same bytes work under `/` and under a preview's base path. (Release 3 breaks that rule on one page, on
purpose: see README.md.) Python's standard library is enough.
"""
import hashlib
import json
import pathlib
import re
import shutil

HERE = pathlib.Path(__file__).parent
RELEASES = {1: "2026-summer", 2: "2026-autumn", 3: "2026-winter"}
NAVIGATION = [
    ("visit.html", "Visit"),
    ("exhibitions.html", "Exhibitions"),
    ("stories.html", "Stories"),
    ("schools.html", "Schools"),
    ("support.html", "Support us"),
]


def overlay(release, kind):
    """Files of one kind by relative path, later releases over earlier ones."""
    files = {}
    for number in range(1, release + 1):
        root = HERE / "source" / str(number) / kind
        if root.is_dir():
            files.update({p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if p.is_file()})
    return dict(sorted(files.items()))


def hashed(name, content):
    stem, suffix = name.rsplit(".", 1)
    return f"assets/{stem}.{hashlib.sha256(content).hexdigest()[:10]}.{suffix}"


def page(path, source, assets, label):
    """One page: front matter `key: value`, a blank line, then HTML in which {{name}} is an asset and {{/path}} a page."""
    head, body = source.split("\n\n", 1)
    meta = dict(line.split(": ", 1) for line in head.splitlines())
    up = "../" * path.count("/")

    def link(match):
        name = match.group(1)
        return up + name[1:] if name.startswith("/") else up + assets[name]

    section = path.split("/")[0].removesuffix(".html")
    items = "".join(
        f'<li><a href="{up}{target}"{" aria-current=page" if target == section + ".html" else ""}>{text}</a></li>'
        for target, text in NAVIGATION
    )
    html = (HERE / "source" / "page.html").read_text()
    for key, value in {
        "TITLE": meta["title"], "SUMMARY": meta["summary"], "NAVIGATION": items, "BODY": body.strip(), "LABEL": label,
        "CLASS": meta.get("class", "plain"),
    }.items():
        html = html.replace("@@" + key + "@@", value)
    html = re.sub(r"\{\{([^}]+)\}\}", link, html)
    # For the page of release 3 that is wrong: an asset of release 1 at its preview address.
    if "@@PREVIEW@@" in html:
        html = html.replace("@@PREVIEW@@", "/preview/" + digest(HERE / "release-1", RELEASES[1]) + "/" + assets["plan.svg"])
    return html


def digest(root, label):
    """The release's name: SHA-256 of its manifest (docs/format.md), which is canonical JSON."""
    types = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml", "png": "image/png"}
    files = [
        {"bytes": len(content), "digest": "sha256:" + hashlib.sha256(content).hexdigest(), "path": path, "type": types[path.rsplit(".", 1)[1]]}
        for path, content in sorted((p.relative_to(root).as_posix(), p.read_bytes()) for p in root.rglob("*") if p.is_file())
    ]
    pages = [file["path"] for file in files if file["path"].endswith(".html")]
    manifest = {"base_path": "/", "files": files, "label": label, "pages": pages, "v": 1}
    return hashlib.sha256(json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def build(release, label):
    out = HERE / f"release-{release}"
    shutil.rmtree(out, ignore_errors=True)
    assets = {}
    for name, path in overlay(release, "assets").items():
        content = path.read_bytes()
        assets[name] = hashed(name, content)
        target = out / assets[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for path, source in overlay(release, "pages").items():
        html = page(path, source.read_text(), assets, label)
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(html)


for number, label in RELEASES.items():
    build(number, label)
