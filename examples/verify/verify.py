#!/usr/bin/env python3
"""Verifies a Countersign bundle, written from docs/format.md alone; uses nothing of the project.

    pip install blake3 cryptography
    python verify.py BUNDLE.zip [--genesis KEY|LEDGER] [--allow LEVEL]... [--json]

Exit 0 verified, 1 bytes contradict, 2 something needed is absent or unknown, 64 wrong usage. It has no policy engine and
says so: `--allow policy` accepts that. `formats` is JSON, hashes, notes and the zip; `chains` headers, links, keys and
heads; `evidence` what was signed; here they are put together.
"""
import argparse, base64, json, re, struct, sys

from chains import Chain, Keys, check_note, read_line, sparse_heads, whole_heads
from evidence import Tenant, check_enrolment
from formats import LEVELS, Absent, Bad, Verdict, included, need, read_zip, sha256, signed_json, strict, unbase64

try:
    from compression import zstd  # Python 3.14; needed for chains of 64 MiB and more only
except ImportError:
    zstd = None


class Bundle:
    def __init__(self, files):
        self.files, self.named = files, set()

    def has(self, digest):
        return "blobs/sha256/" + digest.removeprefix("sha256:") in self.files

    def blob(self, digest):
        name = "blobs/sha256/" + digest.removeprefix("sha256:")
        self.named.add(name)
        if name not in self.files:
            raise Absent(f"blob {digest} is missing")
        need(sha256(self.files[name]) == digest, f"blob {digest} has other bytes")
        return self.files[name]


NAMES = r"README\.txt|manifest\.json|events/[a-z0-9-]{1,63}(\.beats)?\.jsonl(\.zst)?|blobs/sha256/[0-9a-f]{64}|heads/\d{20}\.json" \
        r"|checkpoints/[a-z0-9-]{1,63}(\.beats)?/\d{20}\.note|proofs/[a-z0-9-]{1,63}(\.beats)?/\d{20}\.tlog-proof"


def read_manifest(verdict, files):
    if "manifest.json" not in files:
        raise Absent("no manifest.json: not a bundle")
    manifest = signed_json(files["manifest.json"])
    if manifest["format"] != "countersign-bundle/1":
        raise Absent(f"bundle format {manifest['format']} is not known here")
    named = manifest["files"]
    for name in sorted(set(named) | set(files) - {"manifest.json"}):
        def step():
            need(name in files, f"{name}, which the manifest names, is missing")
            need(name in named, f"{name} is not in the manifest")
            need(re.fullmatch(NAMES, name), f"{name} belongs in no bundle")
            need(named[name] == {"bytes": len(files[name]), "digest": sha256(files[name])}, f"{name} has other bytes than the manifest says")
        verdict.check("framing", "manifest", None, None, step)
    return manifest


def unpack(packed, plain):
    need(plain is None, "the events stand twice")
    decompressor = zstd.ZstdDecompressor()
    data = decompressor.decompress(packed)
    need(decompressor.eof and not decompressor.unused_data and len(data) >= 64 << 20, "not one zstd frame of 64 MiB or more")
    return data


def read_chains(verdict, bundle, manifest):
    chains = {}
    for name, said in sorted(manifest["chains"].items(), key=lambda item: (item[0] != "platform", item[0])):
        form = said["form"]
        if form == "sparse" and name != "platform":
            verdict.add("framing", "violation", "form", "only platform may be sparse", name)
            form = "whole"
        chain = chains[name] = Chain(manifest["ledger"], name, form)
        if form not in ("whole", "sparse"):
            verdict.add("chain", "missing", "form", f"chains of form {said['form']} are not known here", name)
            continue
        data = bundle.files.get(f"events/{name}.jsonl")
        packed = bundle.files.get(f"events/{name}.jsonl.zst")
        if packed is not None:
            data = verdict.check("framing", "events", name, None, unpack, packed, data)
        if data is None:
            verdict.add("framing", "violation", "events", "no events", name)
            continue
        lines = data.split(b"\n")
        cut = lines.pop() != b""
        for line in lines:
            read_line(verdict, chain, line)
        if cut:
            verdict.add("framing", "violation", "line", "the last line has no end", name, len(lines))
            chain.broken = True
        if form == "whole" and chain.lines != said["size"]:
            verdict.add("framing", "violation", "manifest", f"{chain.lines} lines, {said['size']} in the manifest", name)
        if chain.broken:
            for level in ("evidence", "policy") + (("keys", "tree") if name == "platform" else ()):
                verdict.add(level, "missing", "not-read", "nothing is read after a broken event", name)
    for name in bundle.files:
        if name.startswith("events/") and name[7:].split(".jsonl")[0] not in chains:
            verdict.add("framing", "violation", "events", f"{name} belongs to no chain of the manifest")
    return chains


def check_platform_heads(verdict, chains):
    platform = chains["platform"]
    for chain in chains.values():
        for event in (e for e in chain.events if "platformhead" in e.h):
            def step():
                at, digest = int(event.h["platformhead"][:20]), event.h["platformhead"][21:]
                if at in platform.by_sequence:
                    need(platform.by_sequence[at].hash == digest, "platformhead names another event than platform has")
                elif platform.form == "whole":
                    need(platform.broken, "platformhead names an event that platform does not have")
                elif not chain.name.endswith(".beats"):
                    raise Absent(f"platform event {at}, which platformhead names, is not here")
            verdict.check("chain", "platformhead", chain.name, event.at, step)


def check_sparse(verdict, bundle, platform, checkpoints):
    """Every event of a sparse chain under its one checkpoint, and that one ends with recorded heads."""
    sizes = sorted(checkpoints)
    if len(sizes) != 1:
        verdict.add("tree", "missing", "proof", "a sparse chain has exactly one checkpoint", platform.name)
        return
    size, (data, root) = sizes[0], checkpoints[sizes[0]]
    last = platform.by_sequence.get(size - 1)
    if root is None:
        return
    if last is None or last.family != "heads":
        verdict.add("tree", "missing", "proof", "the checkpoint does not end with recorded heads", platform.name)
    for raw, sequence in ((raw, int(strict(raw)["sequence"])) for raw in platform.raws):
        def step():
            name = f"proofs/{platform.name}/{sequence:020}.tlog-proof"
            if name not in bundle.files:
                raise Absent(f"{name} is missing")
            proof, _, note = bundle.files[name].partition(b"\n\n")
            lines = proof.decode().split("\n")
            need(lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {sequence}"] and note == data, "the proof is of another event or checkpoint")
            included(raw, sequence, size, [unbase64(part, 32) for part in lines[2:]], root)
        verdict.check("tree", "proof", platform.name, sequence, step)


def verify(data, genesis=None):
    verdict = Verdict()
    none = {"witnesses", "projections", "mirrors"}

    def report(ledger=None, count=0):
        levels = {level: "none" if level in none else verdict.status(level) for level in LEVELS}
        return levels, verdict, ledger, count

    def stop(kind, message):
        verdict.add("framing", kind, "bundle", message)
        for level in LEVELS[1:]:
            verdict.add(level, "missing", "not-read", "the bundle could not be read")
        return report()

    try:
        files, damaged = read_zip(data)
        for name in damaged:
            verdict.add("framing", "violation", "crc", f"{name} has another CRC-32")
        manifest = read_manifest(verdict, files)
        need(re.fullmatch("[0-9a-f]{64}", manifest["ledger"]) and "platform" in manifest["chains"], "not a manifest")
        if zstd is None and any(name.endswith(".zst") for name in files):
            raise Absent("a chain is compressed with zstd, which needs Python 3.14")
    except Absent as error:
        return stop("missing", str(error))
    except (Bad, KeyError, TypeError, ValueError, AttributeError, RecursionError, struct.error) as error:
        return stop("violation", str(error))
    bundle, ledger, used = Bundle(files), manifest["ledger"], set()
    chains = read_chains(verdict, bundle, manifest)
    platform, keys = chains["platform"], Keys(manifest["ledger"])
    for event in (e for e in platform.events if e.family == "keys"):
        verdict.check("keys", "statement", "platform", event.at, keys.follow, event)
    if keys.genesis is None:
        if not platform.broken:
            verdict.add("keys", "violation", "statement", "no keys.created at platform 0", "platform")
        for level in ("evidence", "checkpoints"):
            verdict.add(level, "missing", "no-keys", "no keys to check it with")
    if genesis and keys.genesis and genesis not in (ledger, base64.b64encode(keys.genesis).decode(), keys.genesis.hex()):
        verdict.add("keys", "violation", "pin", "another genesis key than the pinned one")
    whole = platform.form == "whole"
    heads = (whole_heads if whole else sparse_heads)(verdict, bundle, chains)
    check_platform_heads(verdict, chains)
    for event in (e for e in platform.events if (e.family, e.fact) == ("approver", "enrolled")):
        verdict.check("evidence", "enrolment", "platform", event.at, check_enrolment, ledger, event.b)
    checkpoints = {}
    for name in sorted(name for name in files if name.startswith("checkpoints/")):
        _, owner, size = name.removesuffix(".note").split("/")
        if owner not in chains:
            verdict.add("framing", "violation", "manifest", f"{name} belongs to no chain")
        elif keys.genesis:
            root = verdict.check("checkpoints", "note", owner, int(size), check_note, keys, heads, chains[owner], files[name], int(size))
            checkpoints.setdefault(owner, {})[int(size)] = (files[name], root)
    if not whole:
        check_sparse(verdict, bundle, platform, checkpoints.get("platform", {}))
    for name in chains:
        if name == "platform" or name.endswith(".beats"):
            continue
        tenant = Tenant(bundle, chains[name], chains, keys, heads, used)
        beats = chains[f"{name}.beats"].events if f"{name}.beats" in chains else []
        for event in chains[name].events + beats:
            place = ("evidence", "evidence", event.h["source"].split("/")[-1], event.at)
            for digest in event.b.get("blobs", []) if event.b else []:
                verdict.check(*place, bundle.blob, digest)
            for digest in event.b.get("attachments", []) if event.b else []:
                if bundle.has(digest):
                    verdict.check(*place, bundle.blob, digest)
            if keys.genesis:
                verdict.check(*place, tenant.apply, event)
    for name in files:
        if name.startswith("blobs/") and name not in bundle.named and not any(chain.broken for chain in chains.values()):
            verdict.add("framing", "violation", "blob", f"no body names {name}")
    decided = any(e.fact in ("assessed", "authorized") for chain in chains.values() for e in chain.events)
    if decided:
        verdict.add("policy", "missing", "no-engine", "this verifier has no Cedar")
    else:
        none.add("policy")
    return report(ledger, sum(chain.count for chain in chains.values()))


def main():
    parser = argparse.ArgumentParser(description="Verify a Countersign bundle.")
    parser.add_argument("bundle")
    parser.add_argument("--genesis", help="raw genesis key (base64 or hex) or ledger id to pin")
    parser.add_argument("--allow", action="append", default=[], choices=LEVELS)
    parser.add_argument("--json", action="store_true")
    parser.error = lambda message: sys.exit(64 if print(message, file=sys.stderr) is None else 64)
    arguments = parser.parse_args()
    try:
        with open(arguments.bundle, "rb") as file:
            data = file.read()
    except OSError as error:
        print(error, file=sys.stderr)
        return 64
    levels, verdict, ledger, count = verify(data, arguments.genesis)
    violated = "violation" in levels.values()
    open_levels = [level for level, status in levels.items() if status == "unchecked" and level not in arguments.allow]
    code = 1 if violated else 2 if open_levels else 0
    word = ("verified", "violation", "incomplete")[code] + ("" if arguments.genesis else " (unpinned)")
    first = {"chain": verdict.first[1], "sequence": verdict.first[2]} if verdict.first else None
    if arguments.json:
        print(json.dumps({"verdict": word, "exit": code, "ledger": ledger, "events": count, "levels": levels, "first_bad": first, "found": verdict.seen}))
    else:
        print(f"{word}: {count} events of ledger {ledger}")
        for level, status in levels.items():
            print(f"  {level:12} {status}")
        for item in verdict.seen[:50]:
            print(f"  {item['kind']}: {item['level']} {item['chain'] or ''} {'' if item['sequence'] is None else item['sequence']}: {item['message']}")
    return code


if __name__ == "__main__":
    sys.exit(main())
