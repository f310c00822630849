#!/usr/bin/env python3
"""Verifies a Countersign bundle, written from docs/format.md alone; uses nothing of the project.

    pip install blake3 cryptography
    python verify.py BUNDLE.zip [--genesis KEY|LEDGER] [--allow LEVEL]... [--json]

Exit 0 verified, 1 bytes contradict, 2 something needed is absent or unknown, 64 wrong usage. It has no policy engine and
says so: `--allow policy` accepts that. Read it top-down: containers, proofs, keys, chains, evidence.
"""
import argparse, base64, binascii, hashlib, json, re, struct, sys, zlib
from datetime import datetime

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from compression import zstd  # Python 3.14; needed for chains of 64 MiB and more only
except ImportError:
    zstd = None

LEVELS = "framing chain tree checkpoints keys witnesses evidence policy projections mirrors".split()
HEADER = """authid authtype bodyhash bodykey causationid commandid correlationid datacontenttype datasubject familysequence id
ownerepoch platformhead prevhash requestdigest retention sequence site source specversion subject time traceparent type""".split()
REQUIRED = """authid authtype bodyhash commandid datacontenttype familysequence id prevhash retention sequence source specversion
subject time type""".split()
CLASSES = dict.fromkeys("keys chain heads approver token clock tenant platform site connector deploy freeze action beat".split(), "evidence")
CLASSES["reason"] = "personal"
TYPES = {"keys": "created changed", "chain": "announced opened", "heads": "recorded", "approver": "enrolled removed",
         "token": "issued revoked", "clock": "stepped-back", "tenant": "created", "platform": "noted",
         "site": "registered document-pinned observed", "connector": "invited paired", "deploy": "release-added",
         "freeze": "declared lifted", "reason": "given", "beat": "received",
         "action": "proposed assessed approved rejected approval-withdrawn withdrawn revoked authorized delivered accepted "
                   "refused succeeded failed undone expired unresolved"}
DSSE = "application/vnd.countersign.%s.v1+json"


class Bad(Exception):
    """Bytes that contradict."""


class Absent(Exception):
    """Something that is needed is not here, or of an unknown kind."""


class Verdict:
    def __init__(self):
        self.found, self.seen, self.first = {}, [], None

    def add(self, level, kind, rule, message, chain=None, at=None):
        self.found.setdefault(level, set()).add(kind)
        self.seen.append({"level": level, "kind": kind, "rule": rule, "chain": chain, "sequence": at, "message": message})
        if kind == "violation" and at is not None:
            place = (chain != "platform", chain, at)
            self.first = min(self.first or place, place)

    def check(self, level, rule, chain, at, step, *args):
        """Runs one check; gives its result, or records what it raised and gives None."""
        try:
            return step(*args)
        except Bad as error:
            self.add(level, "violation", rule, str(error), chain, at)
        except Absent as error:
            self.add(level, "missing", rule, str(error), chain, at)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            self.add(level, "violation", rule, f"not of the expected shape: {error!r}", chain, at)

    def status(self, level):
        kinds = self.found.get(level, ())
        return "violation" if "violation" in kinds else "unchecked" if kinds else "verified"


def need(condition, message):
    if not condition:
        raise Bad(message)


# --- JSON: strict I-JSON in, RFC 8785 out -------------------------------------------------------------------------------

def strict(data):
    text = data.decode() if isinstance(data, bytes) else data
    need(not text.startswith("\ufeff"), "a byte order mark")

    def pairs(items):
        need(len({name for name, _ in items}) == len(items), "a name stands twice in one object")
        return dict(items)

    def refuse(token):
        raise Bad(f"the number {token} is no integer")

    def integer(token):
        need(abs(int(token)) < 2**53 and token != "-0", "an integer beyond 2^53-1")
        return int(token)

    value = json.loads(text, object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse, parse_int=integer)

    def walk(part, depth):
        need(depth <= 32, "nested deeper than 32")
        if isinstance(part, str):
            part.encode()  # a lone surrogate does not encode
        for inner in part if isinstance(part, list) else [*part, *part.values()] if isinstance(part, dict) else ():
            walk(inner, depth + isinstance(inner, (dict, list)))

    need(isinstance(value, dict), "not one object")
    walk(value, 1)
    return value


def canonical(value):
    def order(part):
        if isinstance(part, dict):
            return {name: order(part[name]) for name in sorted(part, key=lambda name: name.encode("utf-16-be"))}
        return [order(inner) for inner in part] if isinstance(part, list) else part
    return json.dumps(order(value), ensure_ascii=False, separators=(",", ":")).encode()


def signed_json(data):
    value = strict(data)
    need(canonical(value) == (data if isinstance(data, bytes) else data.encode()), "not RFC 8785")
    return value


# --- hashes, signatures, trees, notes -------------------------------------------------------------------------------------

def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def b3(context, data):
    return "blake3:" + blake3(data, derive_key_context=context).hexdigest()


def prefixed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in (part.encode() for part in parts))


def unbase64(text, size=None):
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Bad(f"base64: {error}")
    need(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    need(size in (None, len(data)), f"base64 of other than {size} bytes")
    return data


P = 2**255 - 19
SMALL_ORDER = {0, 1, P - 1, int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
               int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")}


def signed_by(key, message, signature):
    """Ed25519 as docs/format.md wants it: no point of small order, no second encoding of a point."""
    for point in (key, signature[:32]):
        y = int.from_bytes(point, "little") & (2**255 - 1)
        if y >= P or y in SMALL_ORDER:
            return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


def raw_digest(text):
    need(re.fullmatch("sha256:[0-9a-f]{64}", text), "not a digest")
    return bytes.fromhex(text[7:])


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """RFC 6962, with the complete subtrees kept so that the root at any size is cheap."""

    def __init__(self):
        self.levels = [[]]

    def push(self, leaf):
        self.levels[0].append(hashlib.sha256(b"\x00" + leaf).digest())
        level = 0
        while len(self.levels[level]) % 2 == 0:
            if level + 1 == len(self.levels):
                self.levels.append([])
            self.levels[level + 1].append(node(*self.levels[level][-2:]))
            level += 1

    def size(self):
        return len(self.levels[0])

    def root(self, size=None):
        size, root, at = self.size() if size is None else size, None, 0
        for level in range(size.bit_length()):
            if size >> level & 1:
                part = self.levels[level][(size >> level) - 1]
                root = part if root is None else node(part, root)
        return root or hashlib.sha256(b"").digest()


def included(leaf, index, size, path, root):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "the index lies beyond the size")
    fn, sn, value = index, size - 1, hashlib.sha256(b"\x00" + leaf).digest()
    for part in path:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            value = node(part, value)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            value = node(value, part)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and value == root, "the inclusion proof does not lead to the root")


def read_note(data):
    """C2SP signed note with a checkpoint: (text, origin, size, root, [(name, key id, signature)])."""
    text = data.decode()
    body, gap, signatures = text.rpartition("\n\n")
    need(gap and signatures.endswith("\n") and all(c == "\n" or ord(c) >= 32 for c in text), "not a signed note")
    body, lines = body + "\n", []
    for line in signatures[:-1].split("\n"):
        match = re.fullmatch(r"\u2014 (\S+) (\S+)", line)
        need(match and "+" not in match[1], "not a signature line")
        raw = unbase64(match[2])
        need(len(raw) > 4, "a signature without a key id")
        lines.append((match[1], raw[:4], raw[4:]))
    parts = body.split("\n")
    need(len(parts) == 4 and re.fullmatch("0|[1-9][0-9]{0,18}", parts[1]), "not a checkpoint")
    return body.encode(), parts[0], int(parts[1]), unbase64(parts[2], 32), lines


# --- the zip ------------------------------------------------------------------------------------------------------------

def read_zip(data):
    """Parses what the directory claims, writes it again and compares: {name: content}, and names with a bad CRC."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65558))
    if end < 0:
        raise Absent("no zip directory: truncated, or another kind of file")
    need(len(data) - end == 22, "bytes after the end record")
    count, length, start = struct.unpack("<HII", data[end + 10:end + 20])
    tail = 22
    if count == 0xFFFF or length == 0xFFFFFFFF or start == 0xFFFFFFFF:
        tail = 98
        need(len(data) >= tail, "the ZIP64 records are missing")
        count, length, start = struct.unpack("<QQQ", data[-tail + 32:-tail + 56])
    need(start + length + tail == len(data), "bytes before, between or after the members")
    at, members, out, directory = start, [], bytearray(), bytearray()
    while at < start + length:
        fixed = data[at:at + 46]
        need(len(fixed) == 46, "the directory ends inside an entry")
        crc, _, size, named, extra = struct.unpack("<IIIHH", fixed[16:32])
        offset, name = struct.unpack("<I", fixed[42:46])[0], data[at + 46:at + 46 + named]
        field = data[at + 50 + named:at + 46 + named + extra]
        if size == 0xFFFFFFFF:
            need(len(field) >= 16, "a ZIP64 field is missing")
            size, field = struct.unpack("<Q", field[:8])[0], field[16:]
        if offset == 0xFFFFFFFF:
            need(len(field) >= 8, "a ZIP64 field is missing")
            offset = struct.unpack("<Q", field[:8])[0]
        members.append((name.decode(), size, crc, offset))
        at += 46 + named + extra
    need(len(members) == count and [m[0].encode() for m in members] == sorted({m[0].encode() for m in members}), "names not sorted or twice")
    position, files, damaged = 0, {}, []
    for name, size, crc, offset in members:
        need(offset == position, f"{name} is not where the one before it ends")
        big, far, low = size >= 0xFFFFFFFF, offset >= 0xFFFFFFFF, lambda n: min(n, 0xFFFFFFFF)
        middle = struct.pack("<HHHHHIIIH", 45 if big or far else 20, 0, 0, 0, 0x21, crc, low(size), low(size), len(name.encode()))
        sizes = struct.pack("<QQ", size, size) if big else b""
        local = b"PK\x03\x04" + middle + struct.pack("<H", 20 if big else 0) + name.encode()
        local += struct.pack("<HH", 1, 16) + sizes if big else b""
        need(data[position:position + len(local)] == local, f"the header of {name} has other fields")
        field = sizes + (struct.pack("<Q", offset) if far else b"")
        field = struct.pack("<HH", 1, len(field)) + field if field else b""
        directory += b"PK\x01\x02\x14\x03" + middle + struct.pack("<HHHHII", len(field), 0, 0, 0, 0o100644 << 16, low(offset)) + name.encode() + field
        position += len(local)
        need(position + size <= start, f"{name} reaches into the directory")
        files[name] = data[position:position + size]
        position += size
        if zlib.crc32(files[name]) != crc:
            damaged.append(name)
    need(position == start and data[start:start + length] == directory, "the directory has other fields")
    if tail == 98:
        out += b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 0x314, 45, 0, 0, count, count, length, start)
        out += b"PK\x06\x07" + struct.pack("<IQI", 0, start + length, 1)
    out += b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(length, 0xFFFFFFFF), min(start, 0xFFFFFFFF), 0)
    need(data[-tail:] == out, "the end record has other fields")
    return files, damaged


# --- chains ---------------------------------------------------------------------------------------------------------------

class Event:
    def __init__(self, at, raw, header, body, absent, json_body):
        self.at, self.raw, self.h, self.body, self.absent, self.b = at, raw, header, body, absent, json_body
        self.hash = b3("countersign event v1", raw)
        self.family, self.fact = header["type"].split(".")[2:4]
        self.head = (int(header["platformhead"][:20]), header["platformhead"][21:]) if "platformhead" in header else None


class Chain:
    """One chain as it stands in the bundle; `events` ends where the first broken event stands."""

    def __init__(self, ledger, name, form):
        self.ledger, self.name, self.form, self.tree = ledger, name, form, Tree()
        self.events, self.broken, self.count, self.lines, self.raws, self.hashes = [], False, 0, 0, [], []
        self.by_sequence, self.families, self.commands, self.command, self.last = {}, {}, set(), None, None


HASH = "blake3:[0-9a-f]{64}"
SHAPES = {"id": "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "sequence": "[0-9]{20}", "familysequence": "[0-9]{20}",
          "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "prevhash": HASH, "bodyhash": HASH, "bodykey": HASH, "commandid": "[0-9a-f]{32}",
          "requestdigest": "[0-9a-f]{32}", "platformhead": f"[0-9]{{20}} {HASH}", "authtype": "person|agent|connector|service|reactor",
          "retention": "evidence|operational|personal", "type": r"dev\.countersign(\.[a-z][a-z0-9-]*){2}\.v[1-9][0-9]*",
          "datacontenttype": r"application/(json|vnd\.countersign\.sealed\+json)"}


def read_header(chain, raw):
    need(len(raw) <= 8192, "a header larger than 8 KiB")
    header = signed_json(raw)
    if header.get("specversion") != "1.0":
        raise Absent(f"specversion {header.get('specversion')} is not known here")
    need(set(REQUIRED) <= set(header) <= set(HEADER), "missing or unknown attributes")
    for name, value in header.items():
        need(isinstance(value, str) and re.fullmatch(r"[ !#-\[\]-~]+", value), f"{name} is not printable ASCII")
        need(re.fullmatch(SHAPES.get(name, ".*"), value), f"{name} has another shape")
    datetime.strptime(header["time"], "%Y-%m-%dT%H:%M:%S.%fZ")
    need(header["source"] == f"/ledgers/{chain.ledger}/chains/{chain.name}", "source names another chain")
    personal = header["retention"] == "personal"
    need(personal == ("sealed" in header["datacontenttype"]), "class personal is sealed, and only that")
    need(personal == ("bodykey" in header) == ("datasubject" in header), "bodykey and datasubject belong to sealed bodies")
    must = chain.name.endswith(".beats") or header["type"] in ("dev.countersign.action.authorized.v1", "dev.countersign.platform.noted.v1")
    need(("platformhead" in header) or not must, "platformhead is missing")
    need(("platformhead" not in header) or chain.name != "platform", "platformhead on platform")
    return header


def follow(chain, event):
    """Continuity with the event before; in a sparse chain only where that one is present."""
    h, last, whole = event.h, chain.last, chain.form == "whole"
    sequence = int(h["sequence"])
    if whole:
        need(sequence == chain.count, f"sequence {sequence} where {chain.count} comes next")
        need(int(h["familysequence"]) == chain.families.get(event.family, 0), "familysequence is not dense")
    elif last:
        need(sequence > int(last.h["sequence"]), "sequence does not rise")
    if sequence == 0:
        need(h["prevhash"] == b3("countersign genesis v1", prefixed(chain.ledger, chain.name)), "does not begin with this chain's genesis")
    elif last and int(last.h["sequence"]) == sequence - 1:
        need(h["prevhash"] == last.hash, "does not link to the event before")
    if last:
        need(h["time"] >= last.h["time"], "time falls")
        need(not (event.head and last.head) or event.head[0] >= last.head[0], "platformhead falls")
        event.head = event.head or last.head if event.head is None else event.head


def read_line(verdict, chain, line):
    at, number = chain.count, chain.lines
    chain.lines += 1
    entry = verdict.check("framing", "line", chain.name, number, signed_json, line)
    members = {} if entry is None else entry
    present = set(members) == {"header", "body", "salt"} and re.fullmatch("[0-9a-f]{32}", str(members["salt"]))
    gone = set(members) == {"header", "absent"} and members["absent"] in ("expired", "erased", "withheld")
    if not (present or gone) or not all(isinstance(value, str) for value in members.values()):
        if entry is not None:
            verdict.add("framing", "violation", "line", "not an event line", chain.name, number)
        chain.broken = True
        return
    raw = entry["header"].encode()
    chain.tree.push(raw)
    chain.raws.append(raw)
    chain.hashes.append(b3("countersign event v1", raw))

    def step():
        header = read_header(chain, raw)
        event = Event(int(header["sequence"]) if chain.form == "sparse" else at, raw, header, None, entry.get("absent"), None)
        follow_error = None
        try:
            follow(chain, event)
        except Bad as error:
            follow_error = error
        chain.last = event
        chain.families[event.family] = int(header["familysequence"]) + 1
        if follow_error:
            raise follow_error
        if event.absent is None:
            body = entry["body"].encode()
            need(len(body) <= 262144, "a body larger than 256 KiB")
            need(b3("countersign body v1", bytes.fromhex(entry["salt"]) + body) == header["bodyhash"], "the body does not hash to bodyhash")
            event.b = strict(body)
        else:
            need(header["retention"] != "evidence", "an evidence body is absent")
            need(event.absent == "withheld", "a body is expired or erased, and no event names its range")
        if event.fact not in TYPES.get(event.family, "").split() or not header["type"].endswith(".v1"):
            raise Absent(f"event type {header['type']} is not known here")
        need(header["retention"] == CLASSES[event.family], "another retention class than its family's")
        return event

    place = chain.count
    sequence = re.search(rb'"sequence":"(\d{20})"', raw)
    event = verdict.check("chain", "event", chain.name, int(sequence[1]) if sequence and chain.form == "sparse" else place, step)
    chain.count += 1
    if event is not None and event.h["commandid"] != chain.command:
        if event.h["commandid"] in chain.commands and chain.form == "whole":
            verdict.add("chain", "violation", "command-repeated", "the command came before in this chain", chain.name, place)
        chain.command = event.h["commandid"]
        chain.commands.add(chain.command)
    if event is None:
        chain.broken = True
    elif not chain.broken:
        chain.events.append(event)
        chain.by_sequence[int(event.h["sequence"])] = event


# --- keys ---------------------------------------------------------------------------------------------------------------

def open_envelope(envelope, kind, keys):
    """DSSE: exactly one signature by each key; gives the payload."""
    need(set(envelope) == {"payload", "payloadType", "signatures"}, "not an envelope")
    if envelope["payloadType"] not in [DSSE % known for known in ("keys", "order", "outcome", "heartbeat", "message")]:
        raise Absent(f"payload type {envelope['payloadType']} is not known here")
    need(envelope["payloadType"] == DSSE % kind, f"the envelope holds {envelope['payloadType']}")
    payload = unbase64(envelope["payload"])
    name = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)
    left = [unbase64(signature["sig"], 64) for signature in envelope["signatures"]]
    need(len(left) == len(keys), f"{len(left)} signatures where {len(keys)} are required")
    for key in keys:
        mine = [sig for sig in left if signed_by(key, message, sig)]
        need(mine, "a required key did not sign")
        left.remove(mine[0])
    value = signed_json(payload)
    if value.get("v") != 1:
        raise Absent(f"version {value.get('v')} of a payload is not known here")
    return value, sha256(payload)


class Keys:
    """Fold of key statements; `ends` gives, per statement that ends a key, where that is on each chain."""

    def __init__(self, ledger):
        self.ledger, self.version, self.last, self.genesis, self.origin = ledger, 0, "-", None, None
        self.held, self.positions, self.quorum = [], [], None

    def follow(self, event):
        envelope = event.b["envelope"]
        peek = signed_json(unbase64(envelope["payload"]))
        add, end = [(k["role"], k["name"], unbase64(k["key"], 32)) for k in peek["add"]], [(k["role"], unbase64(k["key"], 32), k["reason"]) for k in peek["end"]]
        need(peek["ledger"] == self.ledger, "of another ledger")
        need(peek["version"] == self.version + 1 and peek["previous"] == self.last, "does not follow the statement before")
        once = lambda keys: list(dict.fromkeys(keys))
        signing, ended = [k for k in add if k[0] != "witness"], [k for k in end if k[0] != "witness"]
        if self.version == 0:
            mine = [key for role, _, key in add if role == "genesis"]
            need(len(mine) == 1 and not end and "origin" in peek, "the first statement adds the genesis key and carries the origin")
            need(hashlib.sha256(mine[0]).hexdigest() == self.ledger, "the genesis key does not hash to the ledger id")
            signers = once(key for _, _, key in signing)
        else:
            need("origin" not in peek and not any(k[0] == "genesis" for k in add + end), "touches genesis or origin")
            if any(reason == "stolen" for _, _, reason in end):
                need(not add and "quorum" not in peek, "a stolen key is ended and something added")
                signers = [self.genesis]
            else:
                need(not ended or sorted(k[0] for k in signing) == sorted(k[0] for k in ended), "no rotation: the roles differ")
                witness = len(signing) < len(add) or len(ended) < len(end) or "quorum" in peek
                signers = once(([self.genesis] if witness or not ended else []) + [k[1] for k in ended] + [k[2] for k in signing])
        _, digest = open_envelope(envelope, "keys", signers)
        if self.version == 0:
            self.genesis, self.origin = mine[0], peek["origin"]
        for role, key, _ in end:
            mine = [k for k in self.held if k["role"] == role and k["key"] == key and k["end"] is None]
            need(mine, "a key ends that does not hold")
            mine[0]["end"] = event.at
        for role, name, key in add:
            need(all(k["key"] != key for k in self.held), "a key is added twice")
            self.held.append({"role": role, "name": name, "key": key, "added": event.at, "end": None})
        self.version, self.last, self.quorum = self.version + 1, digest, peek.get("quorum", self.quorum)
        self.positions.append(event.at)

    def end_on(self, key, chain, heads):
        """Size of `chain` at which a key ended, None while it holds."""
        if key["end"] is None:
            return None
        if chain == "platform":
            return key["end"]
        for at, sizes in heads:
            if at > key["end"]:
                return sizes.get(chain, 0)
        raise Absent("a key ended, and no recorded head says where")


def check_note(keys, heads, chain, data, size):
    body, origin, noted, root, lines = read_note(data)
    need(origin == f"{keys.origin}/{chain.name}", "the checkpoint is of another origin")
    need(noted == size, "the checkpoint names another size than its file")
    need(size <= chain.count or chain.form != "whole", f"the chain has {chain.count} events, {size} are signed")
    if chain.form == "whole":
        need(chain.tree.root(size) == root, f"the signed root at size {size} is another")
    good = []
    for key in (k for k in keys.held if k["role"] == "checkpoint"):
        keyid = hashlib.sha256(origin.encode() + b"\n\x01" + key["key"]).digest()[:4]
        for signature in (sig for name, id_, sig in lines if name == origin and id_ == keyid):
            need(signed_by(key["key"], body, signature), "a signature of a known key is wrong")
            good.append(key)
    need(good, "no known checkpoint key signed it")
    for key in good:
        end = keys.end_on(key, chain.name, heads)
        if (end is None or size <= end) and (chain.name != "platform" or size > key["added"]):
            return root
    raise Bad("signed by a key that did not hold")


# --- recorded heads -----------------------------------------------------------------------------------------------------

def head_leaf(chain, size, root, last):
    return f"countersign/head/v1\n{chain}\n{size}\n{root}\n{last}\n".encode()


def check_leaf(chains, name, size, root, last):
    chain = chains.get(name)
    if chain is None or chain.form != "whole":
        need(size == 0 and chain is None, f"chain {name}, of which a head was recorded, is not here")
        return
    need(size <= chain.count, f"{name} has {chain.count} events, {size} are recorded")
    need(chain.tree.root(size) == unbase64(root, 32), f"the recorded root of {name} at size {size} is another")
    need((chain.hashes[size - 1] if size else "-") == last, f"the recorded last event of {name} is another")


def whole_heads(verdict, bundle, chains):
    """Folds the leaves through every list of changes: [(sequence, {chain: size})]."""
    names, leaves, heads, lost = [], [], [], []
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    keys = []
    for event in chains["platform"].events:
        if event.family == "keys":
            keys.append(event)
        if (event.family, event.fact) == ("chain", "announced"):
            verdict.check("chain", "announced", "platform", event.at, lambda: need(event.b["number"] == len(names), "chain numbers are not dense"))
            names.append(event.b["chain"])
            leaves.append((event.b["chain"], 0, empty, "-"))

        def step():
            body, known = event.b, [k for k in keys if k.at < event.at]
            need(body["size"] == len(leaves), "not one leaf per announced chain")
            number = -1
            for digest in body["blobs"]:
                try:
                    listed = bundle.blob(digest)
                except (Absent, Bad):
                    lost.append(event.at)
                    raise
                for lines in re.findall(rb"(?:[^\n]*\n){5}|[^\n]+|\n", listed):
                    part = lines.decode().split("\n")
                    need(len(part) == 6 and part[0] == "countersign/head/v1" and part[1] in names, "not a list of heads")
                    need(names.index(part[1]) > number, "a list of heads is not in order")
                    number = names.index(part[1])
                    need(leaves[number][1] <= int(part[2]), "a recorded size falls")
                    leaves[number] = (part[1], int(part[2]), part[3], part[4])
                    check_leaf(chains, *leaves[number])
            if lost:
                raise Absent(f"the heads recorded at {lost[0]} could not be read, and these build on them")
            tree = Tree()
            for leaf in leaves:
                tree.push(head_leaf(*leaf))
            need(tree.root() == raw_digest(body["root"]), "the leaves do not hash to the recorded root")
            need(body["keys"] == {"count": len(known), "last": known[-1].hash}, "another count or last event of family keys")

        if event.family == "heads":
            verdict.check("tree", "heads", "platform", event.at, step)
            heads.append((event.at, {name: size for name, size, _, _ in leaves}))
    return heads


def sparse_heads(verdict, bundle, chains):
    heads = []
    events = chains["platform"].events
    for event in (e for e in events if e.family == "heads"):
        sizes = {}

        def step():
            name = f"heads/{event.at:020}.json"
            if name not in bundle.files:
                raise Absent(f"{name} is missing")
            page, keys = signed_json(bundle.files[name]), [e for e in events if e.family == "keys" and e.at < event.at]
            need(page["size"] == event.b["size"], "another number of leaves")
            for chain, leaf in page["chains"].items():
                sizes[chain] = leaf["size"]
                root = base64.b64encode(raw_digest(leaf["root"])).decode()
                check_leaf(chains, chain, leaf["size"], root, leaf["head"])
                included(head_leaf(chain, leaf["size"], root, leaf["head"]), leaf["number"], page["size"],
                         [unbase64(part, 32) for part in leaf["path"]], raw_digest(event.b["root"]))
                first = chains[chain].events[:1]
                need(not first or first[0].b["number"] == leaf["number"], "the chain has another number")
            need(event.b["keys"] == {"count": len(keys), "last": keys[-1].hash if keys else "-"}, "events of family keys are missing")
            for chain in chains.values():
                if chain.form == "whole" and chain.name not in sizes and chain.events and chain.events[0].b["number"] < page["size"]:
                    raise Absent(f"{name} has no path for {chain.name}")

        verdict.check("tree", "heads", "platform", event.at, step)
        heads.append((event.at, sizes))
    return heads


# --- evidence -----------------------------------------------------------------------------------------------------------

class Tenant:
    """Fold of one tenant's chain: sites, people, actions; every signature inside bodies is checked on the way."""

    def __init__(self, bundle, chain, chains, keys, heads, used):
        self.bundle, self.chain, self.chains, self.keys, self.heads, self.used = bundle, chain, chains, keys, heads, used
        self.sites, self.people, self.actions, self.nonces, self.counters = {}, {}, {}, set(), {}
        self.documents, self.heartbeats, self.places = {}, {}, {}
        self.connectors, self.order_nonces, self.order_sequences = {}, set(), {}

    def apply(self, event):
        handler = getattr(self, f"{event.family}_{event.fact}".replace("-", "_"), None)
        if handler:
            handler(event, event.b)

    def platform_noted(self, event, b):
        raw, body = b["header"].encode(), b["body"].encode()
        header = signed_json(raw)
        need(header["source"] == f"/ledgers/{self.chain.ledger}/chains/platform", "restates an event of another chain")
        need(header["bodyhash"] == b3("countersign body v1", bytes.fromhex(b["salt"]) + body), "the restated body has another hash")
        at, platform, inner = int(header["sequence"]), self.chains["platform"], strict(body)
        if ".approver.enrolled." in header["type"]:
            self.people[inner["approver"], inner["credential"]] = inner["key"]
            check_enrolment(self.chain.ledger, inner)
        elif ".approver.removed." in header["type"]:
            need(self.people.pop((inner["approver"], inner["credential"]), None), "removes somebody who is not enrolled")
        need(event.head[0] >= at, "its platformhead is older than what it restates")
        if at in platform.by_sequence:
            need(platform.by_sequence[at].hash == b3("countersign event v1", raw), "restates another event than platform has")
        elif platform.form == "whole":
            need(platform.broken, "restates an event that platform does not have")
        else:
            raise Absent(f"platform event {at}, which it restates, is not here")

    def site_registered(self, event, b):
        self.sites[b["site"]] = {"document": None, "digest": "-", "generation": 0, "connector": None, "codes": {}}

    def site_document_pinned(self, event, b):
        document, site = b["document"], self.sites[b["document"]["site"]]
        need((document["ledger"], document["chain"]) == (self.chain.ledger, self.chain.name), "pins a document of another ledger or chain")
        need(unbase64(document["genesis"]) == self.keys.genesis, "the document names another genesis key")
        need(document["version"] == (site["document"]["version"] if site["document"] else 0) + 1, "document versions are dense")
        need(document["previous"] == site["digest"], "the document does not name the one before")
        site["document"], site["digest"] = document, sha256(canonical(document))
        self.documents[site["digest"]] = document["version"]

    def connector_invited(self, event, b):
        self.sites[b["site"]]["codes"][b["code_digest"]] = b["expires"]

    def connector_paired(self, event, b):
        peek = signed_json(unbase64(b["envelope"]["payload"]))
        site = self.sites[peek["site"]]
        need(peek["generation"] == site["generation"] + 1, "the generation does not rise by one")
        need(peek["code_digest"] in site["codes"], "no open invitation has this code")
        need(event.h["time"] <= site["codes"].pop(peek["code_digest"]), "the invitation had expired")
        key = unbase64(peek["key"], 32)
        self.connectors[peek["connector"], peek["generation"]] = (key, peek["site"])
        self.message(event, "message", "action")
        site["generation"], site["connector"] = peek["generation"], peek["connector"]

    def message(self, event, kind, stream):
        """A message of a connector: signature, dense counter, command id, pinned document, the checkpoint it saw."""
        peek = signed_json(unbase64(event.b["envelope"]["payload"]))
        who = (peek["connector"], peek["generation"])
        need(who in self.connectors, "a connector that was not paired")
        key, site = self.connectors[who]
        m, digest = open_envelope(event.b["envelope"], kind, [key])
        need((m["ledger"], m["chain"], m["site"], m["stream"]) == (self.chain.ledger, event.h["source"].split("/")[-1], site, stream),
             "a message for another ledger, chain, site or stream")
        need(event.h["authtype"] == "connector" and event.h["authid"] == m["connector"], "the event names another author")
        last = self.counters.get((*who, stream), -1)
        need(m["counter"] == last + 1, f"counter {m['counter']} where {last + 1} comes next")
        self.counters[*who, stream] = m["counter"]
        if stream == "beat":
            need(m["previous"] == self.heartbeats.get(who, "-"), "the heartbeat does not name the one before it")
            self.heartbeats[who] = digest
        value = f"{m['generation']} {stream} {m['counter']}"
        command = blake3(prefixed(m["chain"], "connector", m["connector"], "counter", value), derive_key_context="countersign command v1").hexdigest()[:32]
        need(event.h["commandid"] == command, "the command id is not the counter's")
        request = blake3(unbase64(event.b["envelope"]["payload"]), derive_key_context="countersign request v1").hexdigest()[:32]
        need(event.h.get("requestdigest") == request, "the request digest is not the payload's")
        if stream == "action":
            need(m["document_digest"] == self.sites[site]["digest"], "names another pinned document than the site's")
        self.saw(m["checkpoint"], event)
        return m

    def saw(self, checkpoint, event):
        size = checkpoint["size"]
        need(size <= self.chain.count and self.chain.tree.root(size) == raw_digest(checkpoint["root"]),
             f"saw another tree of size {size} than this one (a split view)")
        need(event.h["source"].endswith(".beats") or size <= event.at, "saw a checkpoint from the future")

    def site_observed(self, event, b):
        self.message(event, "message", "action")

    def action_proposed(self, event, b):
        obj = b["action_object"]
        need(sha256(canonical(obj)) == b["action_digest"], "the action object does not hash to action_digest")
        need(sha256(canonical(b["plan"])) == obj["plan_digest"], "the plan does not hash to plan_digest")
        need(obj["site"] in self.sites and event.h.get("site") == obj["site"], "an action for another site")
        need(b["action"] not in self.actions, "the action was proposed before")
        self.actions[b["action"]] = {"object": obj, "digest": b["action_digest"], "round": 0, "votes": {}, "order": None, "state": "open",
                                     "never": {event.h["authid"], b["proposer_owner"]}}

    def action_assessed(self, event, b):
        action = self.actions[b["action"]]
        need(b["round"] == action["round"] + 1, "rounds are dense")
        action.update(round=b["round"], votes={}, assessed=b)
        need(b["view_digest"] in b["blobs"], "the view document is not named in blobs")
        view = signed_json(self.bundle.blob(b["view_digest"]))
        need(sha256(canonical(view["action"])) == action["digest"], "the view document shows another action")

    def vote(self, event, b, decision):
        action = self.actions[b["action"]]
        s = self.statement(b["signed"], lambda approver, credential: self.people.get((approver, credential)))
        seen = action["assessed"]
        need(s["decision"] == decision, f"the statement says {s['decision']}")
        need((s["action"], s["action_digest"], s["site"]) == (b["action"], action["digest"], action["object"]["site"]), "a statement over another action")
        need(s["round"] == b["round"] == action["round"], "a statement of another round")
        need(s["view_digest"] == seen["view_digest"], "a statement over another view")
        need(s["rollback_digest"] == seen["rollback_digest"], "a statement over another rollback plan")
        need(s["policy_digest"] == seen["policy_digest"], "a statement over another policy set")
        need(s["approver"] not in action["never"], "the proposer, or the owner of the agent, approves")
        need(s["nonce"] not in self.nonces, "the nonce of a statement came before")
        self.nonces.add(s["nonce"])
        need(decision == "withdraw" or s["approver"] not in action["votes"], "a second vote of the same person")
        return action, s

    def statement(self, signed, find):
        if signed["alg"] != "ed25519":
            raise Absent(f"statements signed by {signed['alg']} are not supported")
        s = signed_json(signed["statement"])
        if s["v"] != 1:
            raise Absent("a statement of an unknown version")
        need((s["ledger"], s["chain"]) == (self.chain.ledger, self.chain.name), "a statement for another ledger or chain")
        need(s["not_before"] <= s["not_after"] and span(s["not_before"], s["not_after"]) <= 86400, "a statement may count for at most 24 hours")
        key = find(s["approver"], s["credential"])
        need(key, "a statement by a key that is not enrolled")
        need(signed_by(unbase64(key, 32), b"countersign/approval/v1\0" + signed["statement"].encode(), unbase64(signed["signature"], 64)),
             "the signature is not the credential's")
        return s

    def action_approved(self, event, b):
        action, s = self.vote(event, b, "approve")
        action["votes"][s["approver"]] = ("approve", b["signed"]["statement"])

    def action_rejected(self, event, b):
        action, s = self.vote(event, b, "deny")
        action["votes"][s["approver"]] = ("deny", b["signed"]["statement"])

    def action_approval_withdrawn(self, event, b):
        action, s = self.vote(event, b, "withdraw")
        need(action["votes"].pop(s["approver"], None), "withdraws a vote that does not stand")

    def action_authorized(self, event, b):
        action, envelope = self.actions[b["action"]], b["envelope"]
        peek = signed_json(unbase64(envelope["payload"]))
        need(peek["site"] == action["object"]["site"], "an order for another site")
        site, document = self.sites[peek["site"]], self.sites[peek["site"]]["document"]
        errors = []
        for key in (k for k in self.keys.held if k["role"] == "order"):
            try:
                order, digest = open_envelope(envelope, "order", [key["key"]])
                break
            except Bad as error:
                errors.append(error)
        else:
            raise Bad("no order key of the ledger signed the order")
        need(event.head[0] >= key["added"], "signed by a key that was not added yet")
        end = self.keys.end_on(key, self.chain.name, self.heads)
        need(end is None or event.at < end, "signed by a key that had ended")
        need((order["ledger"], order["chain"]) == (self.chain.ledger, self.chain.name), "an order for another ledger or chain")
        need((order["connector"], order["generation"]) == (site["connector"], site["generation"]), "an order for another connector or generation")
        need(order["action"] == b["action"] and sha256(canonical(order["action_object"])) == action["digest"], "an order for another action")
        need(order["rollback_digest"] == action["assessed"]["rollback_digest"], "an order over another rollback plan")
        need(order["document_digest"] == site["digest"], "an order for another pinned document")
        need(order["not_before"] <= event.h["time"] <= order["expires"], "authorised outside the times of the order")
        need(span(order["not_before"], order["expires"]) <= 120, "the order lives longer than 120 seconds")
        need(order["nonce"] not in self.order_nonces, "the nonce of an order came before")
        self.order_nonces.add(order["nonce"])
        need(order["sequence"] > self.order_sequences.get(order["connector"], ""), "the order's sequence does not rise")
        self.order_sequences[order["connector"]] = order["sequence"]
        need(b["round"] == action["round"] and action["state"] == "open" and not action["order"], "not the action's one order in this round")
        people = set()
        pinned = {(entry["approver"], entry["credential"]): entry["key"] for entry in document["approvers"]}
        for signed in order["statements"]:
            s = self.statement(signed, lambda approver, credential: pinned.get((approver, credential)))
            need(action["votes"].get(s["approver"]) == ("approve", signed["statement"]), "holds a statement that does not stand in this chain")
            need((s["approver"], s["credential"]) in self.people, "holds a statement of somebody who was removed")
            need(s["not_before"] <= event.h["time"] <= s["not_after"], "authorised outside the times of a statement")
            need(s["approver"] not in people, "counts one person twice")
            people.add(s["approver"])
            statement = sha256(signed["statement"].encode())
            need(statement not in self.used, "a statement stands in a second order")
            self.used.add(statement)
        kind = action["object"]["kind"]
        floor = max([rule["approvals"] for rule in document["floor"] if rule["kind"] in ("*", kind)], default=1)
        need(len(people) >= max(floor, document["quorum"] if kind == "document.replace" else 0), "fewer approvals than the floor of the site")
        need("deny" not in [vote for vote, _ in action["votes"].values()], "authorised against a standing denial")
        action["order"], action["state"] = digest, "authorized"

    def action_delivered(self, event, b):
        action = self.actions[b["action"]]
        need(action["order"] == b["order_digest"], "delivers another order")
        need(action["state"] in ("authorized", "delivered"), "delivers after the order was answered")
        authorized = [e for e in self.chain.events if e.fact == "authorized" and e.b["action"] == b["action"]]
        need(b["checkpoint"]["size"] > authorized[0].at, "the checkpoint does not cover the order")
        self.saw(b["checkpoint"], event)
        action["state"] = "delivered"

    def outcome(self, event, b):
        action, m = self.actions[b["action"]], self.message(event, "outcome", "action")
        need(m["result"] == event.fact, f"the outcome says {m['result']}")
        need(m["order_digest"] == action["order"], "an outcome of another order")
        before = {"accepted": ["delivered"], "refused": ["delivered"]}.get(event.fact, ["accepted", "unresolved"])
        need(action["state"] in before, f"{event.fact} after {action['state']}")
        action["state"] = event.fact

    action_accepted = action_refused = action_succeeded = action_failed = action_undone = outcome

    def action_unresolved(self, event, b):
        self.actions[b["action"]]["state"] = "unresolved"

    def close(self, event, b):
        need(self.actions[b["action"]]["state"] in ("open", "authorized", "delivered"), f"{event.fact} after an outcome")
        self.actions[b["action"]]["state"] = event.fact

    action_withdrawn = action_revoked = action_expired = close

    def beat_received(self, event, b):
        m = self.message(event, "heartbeat", "beat")
        need(m["document_digest"] in self.documents, "names a document that was never pinned")
        place, last = (m["generation"], self.documents[m["document_digest"]]), self.places.get(m["site"], (0, 0))
        self.places[m["site"]] = place
        need(place[0] >= last[0] and place[1] >= last[1], "generation or document version steps back")


def span(start, end):
    moment = lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (moment(end) - moment(start)).total_seconds()


def check_enrolment(ledger, b):
    if b["alg"] != "ed25519":
        raise Absent(f"keys of kind {b['alg']} are not supported")
    said = canonical({name: b[name] for name in ("approver", "credential", "alg", "key")} | {"ledger": ledger})
    need(signed_by(unbase64(b["key"], 32), b"countersign/enrolment/v1\0" + said, unbase64(b["proof"], 64)), "the enrolment proof is not the key's")


# --- the whole ----------------------------------------------------------------------------------------------------------

class Bundle:
    def __init__(self, files):
        self.files, self.named = files, set()

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
        chain = chains[name] = Chain(manifest["ledger"], name, said["form"])
        if said["form"] not in ("whole", "sparse"):
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
        if said["form"] == "whole" and chain.lines != said["size"]:
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
            if keys.genesis:
                verdict.check(*place, tenant.apply, event)
    for name in files:
        if name.startswith("blobs/") and name not in bundle.named and not any(chain.broken for chain in chains.values()):
            attached = any(sha256(files[name]) in e.b.get("attachments", ()) for c in chains.values() for e in c.events if e.b)
            if not attached:
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
