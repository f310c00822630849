#!/usr/bin/env python3
"""Verifies a Countersign bundle, written from docs/format.md alone; uses nothing of the project.

    pip install blake3 cryptography
    python verify.py BUNDLE.zip [--genesis KEY|LEDGER] [--allow LEVEL]... [--json]

Exit 0 verified, 1 bytes contradict, 2 something needed is absent or unknown, 64 wrong usage. README.md says what it does not
check. `formats` is JSON, hashes, notes and the zip; `chains` headers, links, keys and heads; `evidence` what was signed.
"""
import argparse, base64, json, re, sys

import pruned
from chains import Chain, Heads, Keys
from evidence import Tenant, check_enrolment
from formats import LEVELS, MALFORMED, Absent, Bad, Verdict, exact, included, need, read_zip, sha256, unbase64
from pruned import cuts

CHAIN = r"[a-z0-9-]{1,63}(\.beats)?"
NAMES = rf"README\.txt|events/{CHAIN}\.jsonl|(checkpoints/{CHAIN}/\d{{20}}\.note)|blobs/sha256/[0-9a-f]{{64}}" \
        rf"|heads/\d{{20}}\.json|proofs/{CHAIN}/\d{{20}}\.tlog-proof|tiles/{CHAIN}/\d{{20}}\.tile"


class Bundle:
    def __init__(self, verdict, data):
        self.files, damaged = read_zip(data)
        self.named = set()
        if "manifest.json" not in self.files:
            raise Absent("no manifest.json: not a bundle")
        self.manifest = exact(self.files["manifest.json"])
        if self.manifest["format"] != "countersign-bundle/1":
            raise Absent(f"bundle format {self.manifest['format']} is not known here")
        self.ledger, self.forms = self.manifest["ledger"], self.manifest["chains"]
        need(re.fullmatch("[0-9a-f]{64}", self.ledger) and "platform" in self.forms, "not a manifest")
        if any(name.endswith(".zst") for name in self.files):
            raise Absent("a chain of 64 MiB or more, which is not read here")
        for name in sorted(set(self.manifest["files"]) | set(self.files) - {"manifest.json"} | set(damaged)):
            verdict.check("framing", None, None, self.check_file, name, damaged)

    def check_file(self, name, damaged):
        need(name in self.files, f"{name}, which the manifest names, is missing")
        need(name not in damaged, f"{name} has another CRC-32")
        need(re.fullmatch(NAMES, name), f"{name} belongs in no bundle")
        said = {"bytes": len(self.files[name]), "digest": sha256(self.files[name])}
        need(self.manifest["files"].get(name) == said, f"{name} has other bytes than the manifest says, or is not in it")
        parts = re.split(r"[/]|\.jsonl", name)
        need(parts[0] not in ("events", "checkpoints") or parts[1] in self.forms, f"{name} belongs to no chain")

    def blob(self, digest):
        name = "blobs/sha256/" + digest.removeprefix("sha256:")
        self.named.add(name)
        if name not in self.files:
            raise Absent(f"blob {digest} is missing")
        need(sha256(self.files[name]) == digest, f"blob {digest} has other bytes")
        return self.files[name]

    def attachment(self, digest):
        if "blobs/sha256/" + digest.removeprefix("sha256:") in self.files:
            self.blob(digest)


def read_chain(verdict, bundle, name, form, orders=()):
    known = form if form in ("whole", "sparse") and (form, name != "platform") != ("sparse", True) else "whole"
    chain, data = Chain(bundle.ledger, name, known), bundle.files.get(f"events/{name}.jsonl")
    if form not in ("whole", "sparse", "pruned"):
        verdict.add("chain", "missing", f"chains of form {form} are not known here", name)
        return chain
    verdict.check("framing", name, None, need, known == form or form == "pruned", "only platform may be sparse")
    first = re.search(rb'\\"sequence\\":\\"(\d{20})\\"', (data or b"").split(b"\n")[0])
    for order in orders if first and int(first[1]) else ():
        if order.b["base"]["cut"] == int(first[1]):
            verdict.check("chain", name, int(first[1]), chain.begin, order.b["base"])
    verdict.check("framing", name, None, need, data is not None, "no events")
    *lines, rest = (data or b"").split(b"\n")
    for number, line in enumerate(lines):
        chain.read_line(verdict, chain.cut + number, line)
    if rest:
        verdict.add("framing", "violation", "the last line has no end", name, len(lines))
        chain.broken = True
    counted = not chain.whole or data is None or len(lines) == bundle.forms[name]["size"]
    verdict.check("framing", name, None, need, counted, "another number of lines than in the manifest")
    chain.check_gone(verdict)
    for level in ("evidence", "policy", "keys", "tree")[:4 if name == "platform" else 2] if chain.broken else ():
        verdict.add(level, "missing", "nothing is read after a broken event", name)
    return chain


def check_platform_head(event, chain, platform):
    at, digest = event.head
    if at in platform.by_sequence:
        need(platform.by_sequence[at].hash == digest, "platformhead names another event than platform has")
    elif platform.whole:
        need(platform.broken, "platformhead names an event that platform does not have")
    elif not chain.name.endswith(".beats"):
        raise Absent(f"platform event {at}, which platformhead names, is not here")


def check_sparse(verdict, bundle, platform, notes):
    """Every event of a sparse chain under its one checkpoint, and that one ends with recorded heads."""
    if len(notes) != 1:
        verdict.add("tree", "missing", "a sparse chain has exactly one checkpoint", platform.name)
        return
    [(size, (note, root))] = notes.items()
    last = platform.by_sequence.get(size - 1)
    if last is None or last.family != "heads":
        verdict.add("tree", "missing", "the checkpoint does not end with recorded heads", platform.name)
    for data in platform.raws if root else ():
        sequence = int(exact(data)["sequence"])
        verdict.check("tree", platform.name, sequence, check_proof, bundle, platform.name, (data, sequence), (note, size, root))


def check_proof(bundle, chain, event, checkpoint):
    (data, sequence), (note, size, root) = event, checkpoint
    name = f"proofs/{chain}/{sequence:020}.tlog-proof"
    if name not in bundle.files:
        raise Absent(f"{name} is missing")
    proof, _, under = bundle.files[name].partition(b"\n\n")
    kind, index, *path = proof.decode().split("\n")
    same = (kind, index, under) == ("c2sp.org/tlog-proof@v1", f"index {sequence}", note)
    need(same, "the proof is of another event or checkpoint")
    included(data, sequence, size, [unbase64(part, 32) for part in path], root)


def check_tenant(verdict, bundle, chains, keys, used, name):
    beats = chains.get(f"{name}.beats")
    tenant = Tenant(bundle, chains[name], chains["platform"], keys, used, beats)
    for chain in (chains[name], beats) if beats else (chains[name],):
        for event in chain.events:
            for digest in (event.b or {}).get("blobs", []):
                verdict.check("evidence", chain.name, event.at, bundle.blob, digest)
            for digest in (event.b or {}).get("attachments", []):
                verdict.check("evidence", chain.name, event.at, bundle.attachment, digest)
            if event.unknown:
                verdict.add("evidence", "missing", f"{event.h['type']} is not known here", chain.name, event.at)
            elif keys.genesis:
                verdict.check("evidence", chain.name, event.at, tenant.apply, event)


def verify(data, genesis=None):
    """The verdict on a bundle, with the ledger's id and the number of events; without them where it cannot be read."""
    verdict = Verdict()
    try:
        bundle = Bundle(verdict, data)
    except (Absent, Bad, *MALFORMED) as error:
        verdict.add("framing", "missing" if isinstance(error, Absent) else "violation", str(error))
        for level in LEVELS[1:]:
            verdict.add(level, "missing", "the bundle could not be read")
        return verdict, None, 0
    order = sorted(bundle.forms, key=lambda name: (name != "platform", name))
    chains = {"platform": read_chain(verdict, bundle, "platform", bundle.forms["platform"]["form"])}
    orders = cuts(chains["platform"])
    for name in order[1:]:
        chains[name] = read_chain(verdict, bundle, name, bundle.forms[name]["form"], orders.get(name, ()))
    platform, keys, used = chains["platform"], Keys(bundle.ledger), set()
    heads = Heads(bundle, chains, keys)
    for event in platform.events:
        if event.family == "keys":
            verdict.check("keys", "platform", event.at, keys.follow, event)
        if event.fact == "enrolled":
            verdict.check("evidence", "platform", event.at, check_enrolment, bundle.ledger, event.b)
        heads.fold(verdict, event)
    if keys.genesis is None:
        verdict.check("keys", "platform", None, need, platform.broken, "no keys.created at platform 0")
        for level in ("evidence", "checkpoints"):
            verdict.add(level, "missing", "no keys to check it with")
    elif genesis not in (None, bundle.ledger, base64.b64encode(keys.genesis).decode(), keys.genesis.hex()):
        verdict.add("keys", "violation", "another genesis key than the pinned one")
    if not platform.broken:
        keys.check_ends(verdict, platform)
    pruned.check(verdict, bundle, chains, keys)
    for chain in chains.values():
        for event in (event for event in chain.events if event.head):
            verdict.check("chain", chain.name, event.at, check_platform_head, event, chain, platform)
    notes = {}
    for name in sorted(name for name in bundle.files if re.fullmatch(NAMES, name) and name.startswith("checkpoints/")):
        _, owner, size = name.removesuffix(".note").split("/")
        if owner in chains and keys.genesis:
            place = ("checkpoints", owner, int(size))
            root = verdict.check(*place, keys.check_note, chains[owner], bundle.files[name], int(size))
            notes.setdefault(owner, {})[int(size)] = (bundle.files[name], root)
    if not platform.whole:
        check_sparse(verdict, bundle, platform, notes.get("platform", {}))
    for name in order:
        if name != "platform" and not name.endswith(".beats"):
            check_tenant(verdict, bundle, chains, keys, used, name)
    for name in bundle.files if not any(chain.broken for chain in chains.values()) else ():
        if name.startswith("blobs/") and name not in bundle.named:
            verdict.add("framing", "violation", f"no body names {name}")
    if any(event.fact in ("assessed", "authorized") for chain in chains.values() for event in chain.events):
        verdict.add("policy", "missing", "this verifier has no Cedar")
    return verdict, bundle.ledger, sum(chain.count() - chain.cut for chain in chains.values())


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
    verdict, ledger, count = verify(data, arguments.genesis)
    levels = {level: verdict.status(level) for level in LEVELS}
    for level in ("witnesses", "projections", "mirrors", "policy"):
        if level != "policy" or levels[level] == "verified":
            levels[level] = "none"
    unchecked = {level for level, status in levels.items() if status == "unchecked"} - set(arguments.allow)
    code = 1 if "violation" in levels.values() else 2 if unchecked else 0
    word = ("verified", "violation", "incomplete")[code] + ("" if arguments.genesis else " (unpinned)")
    if arguments.json:
        first = {"chain": verdict.first[1], "sequence": verdict.first[2]} if verdict.first else None
        said = {"verdict": word, "exit": code, "ledger": ledger, "events": count, "levels": levels}
        print(json.dumps(said | {"first_bad": first, "found": verdict.found}))
        return code
    print(f"{word}: {count} events of ledger {ledger}", *(f"  {level:12} {status}" for level, status in levels.items()), sep="\n")
    for item in verdict.found[:50]:
        place = " ".join(str(part) for part in (item["level"], item["chain"], item["sequence"]) if part is not None)
        print(f"  {item['kind']}: {place}: {item['message']}")
    return code


if __name__ == "__main__":
    sys.exit(main())
