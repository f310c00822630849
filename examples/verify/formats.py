"""Bytes: strict JSON, hashes, signatures, Merkle trees, signed notes, the zip; and the verdict that everything adds to.

Written from docs/format.md alone; uses nothing of the project.
"""
import base64, hashlib, io, json, re, struct, zipfile, zlib

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LEVELS = "framing chain tree checkpoints keys witnesses evidence policy projections mirrors".split()


class Bad(Exception):
    """Bytes that contradict."""


class Absent(Exception):
    """Something that is needed is not here, or of an unknown kind."""


MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, struct.error)


class Verdict:
    def __init__(self):
        self.kinds, self.found, self.first = {}, [], None

    def add(self, level, kind, message, chain=None, at=None):
        self.kinds.setdefault(level, set()).add(kind)
        self.found.append({"level": level, "kind": kind, "chain": chain, "sequence": at, "message": message})
        if kind == "violation" and at is not None:
            place = (chain != "platform", chain, at)
            self.first = min(self.first or place, place)

    def check(self, level, chain, at, step, *args):
        """Runs one check; gives its result, or notes what it raised and gives None."""
        try:
            return step(*args)
        except Absent as error:
            self.add(level, "missing", str(error), chain, at)
        except Bad as error:
            self.add(level, "violation", str(error), chain, at)
        except MALFORMED as error:
            self.add(level, "violation", f"not of the expected shape: {error!r}", chain, at)

    def status(self, level):
        kinds = self.kinds.get(level, ())
        return "violation" if "violation" in kinds else "unchecked" if kinds else "verified"


def need(condition, message):
    if not condition:
        raise Bad(message)


# --- JSON: strict I-JSON in, RFC 8785 out ---

def strict(data):
    def pairs(items):
        need(len({name for name, _ in items}) == len(items), "a name stands twice in one object")
        return dict(items)

    def integer(token):
        need(abs(int(token)) < 2**53 and token != "-0", "an integer beyond 2^53-1")
        return int(token)

    def refuse(token):
        raise Bad(f"the number {token} is no integer")

    def walk(part, depth):
        need(depth <= 32, "nested deeper than 32")
        if isinstance(part, str):
            part.encode()  # a lone surrogate does not encode
        for inner in part if isinstance(part, list) else [*part, *part.values()] if isinstance(part, dict) else ():
            walk(inner, depth + isinstance(inner, (dict, list)))

    text = data.decode() if isinstance(data, bytes) else data
    value = json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=refuse, parse_constant=refuse)
    need(isinstance(value, dict), "not one object")
    walk(value, 1)
    return value


def canonical(value):
    def order(part):
        if isinstance(part, dict):
            return {name: order(part[name]) for name in sorted(part, key=lambda name: name.encode("utf-16-be"))}
        return [order(inner) for inner in part] if isinstance(part, list) else part
    return json.dumps(order(value), ensure_ascii=False, separators=(",", ":")).encode()


def exact(data):
    """JSON that is RFC 8785 to the byte."""
    value = strict(data)
    need(canonical(value) == (data.encode() if isinstance(data, str) else data), "not RFC 8785")
    return value


# --- hashes and signatures ---

def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def b3(context, data):
    return "blake3:" + blake3(data, derive_key_context=f"countersign {context} v1").hexdigest()


def short(context, data):
    """The ids of commands and requests: 16 bytes of BLAKE3."""
    return b3(context, data)[7:39]


def prefixed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in map(str.encode, parts))


def unbase64(text, size=None):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text and size in (None, len(data)), "not canonical base64 of that size")
    return data


def raw(digest):
    need(re.fullmatch("sha256:[0-9a-f]{64}", digest), "not a digest")
    return bytes.fromhex(digest[7:])


P = 2**255 - 19
SMALL_ORDER = {0, 1, P - 1} | {int.from_bytes(bytes.fromhex(point), "little") for point in (
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")}


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


# --- RFC 6962 trees, signed notes ---

def leaf_hash(leaf):
    return hashlib.sha256(b"\0" + leaf).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """Keeps the complete subtrees, so that the root at any size is cheap."""

    def __init__(self, leaves=()):
        self.levels = [[]]
        for leaf in leaves:
            self.push(leaf)

    def push(self, leaf):
        self.levels[0].append(leaf_hash(leaf))
        level = 0
        while len(self.levels[level]) % 2 == 0:
            if level + 1 == len(self.levels):
                self.levels.append([])
            self.levels[level + 1].append(node(*self.levels[level][-2:]))
            level += 1

    def begin(self, size, peaks):
        """Goes on from the complete subtrees over leaves that are not here."""
        self.levels = [[None] * (size >> level) for level in range(size.bit_length())]
        for level in range(size.bit_length()):
            if size >> level & 1:
                self.levels[level][-1] = peaks[(size >> level + 1).bit_count()]

    def root(self, size):
        root = None
        for level in (level for level in range(size.bit_length()) if size >> level & 1):
            part = self.levels[level][(size >> level) - 1]
            root = part if root is None else node(part, root)
        return root or hashlib.sha256(b"").digest()


def included(leaf, index, size, path, root):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "the index lies beyond the size")
    here, last, value = index, size - 1, leaf_hash(leaf)
    for part in path:
        need(last, "the proof is too long")
        if here & 1 or here == last:
            value = node(part, value)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            value = node(value, part)
        here, last = here >> 1, last >> 1
    need(last == 0 and value == root, "the inclusion proof does not lead to the root")


def read_note(data):
    """C2SP signed note with a checkpoint: its text, origin, size, root, and [(name, key id, signature)]."""
    body, gap, signatures = data.decode().rpartition("\n\n")
    parts = body.split("\n")
    need(gap and len(parts) == 3 and re.fullmatch("0|[1-9][0-9]{0,18}", parts[1]), "not a checkpoint in a signed note")
    lines = [re.fullmatch(r"\u2014 ([^\s+]+) (\S+)", line) for line in signatures.removesuffix("\n").split("\n")]
    need(signatures.endswith("\n") and all(lines), "not a signature line")
    signers = [(line[1], unbase64(line[2])[:4], unbase64(line[2])[4:]) for line in lines]
    return (body + "\n").encode(), parts[0], int(parts[1]), unbase64(parts[2], 32), signers


# --- the zip ---

def read_zip(data):
    """{name: content}, and the names with another CRC-32; a zip that is not written as docs/format.md says is Bad."""
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except zipfile.BadZipFile as error:
        raise Absent(f"no zip, or cut off: {error}")
    if len(data) >= 0xFFFFFFFF:
        raise Absent("ZIP64 is not read here")
    files, out, directory = {}, bytearray(), b""
    for member in members:
        name, size = member.filename.encode(), member.file_size
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, member.CRC, size, size, len(name), 0)
        directory += b"PK\1\2\x14\3" + fields + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(out)) + name
        out += b"PK\3\4" + fields + name
        files[member.filename] = data[len(out):len(out) + size]
        out += files[member.filename]
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(out), 0)
    need(out + directory + b"PK\5\6" + end == data, "not the one zip that these members make")
    need([member.filename for member in members] == sorted(files), "names that are not sorted, or stand twice")
    return files, [m.filename for m in members if zlib.crc32(files[m.filename]) != m.CRC]
