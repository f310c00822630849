"""What every part of the verifier stands on: verdicts, strict JSON, hashes, signatures, trees, notes, the zip.

Written from docs/format.md alone; uses nothing of the project.
"""
import base64, binascii, hashlib, json, re, struct, zlib

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LEVELS = "framing chain tree checkpoints keys witnesses evidence policy projections mirrors".split()


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
        size, root = self.size() if size is None else size, None
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
