"""Chains, keys and recorded heads: headers, bodies, links, key statements, checkpoints, the tree over all chains."""
import base64, hashlib, re
from datetime import datetime

from formats import (Absent, Bad, Tree, b3, included, need, prefixed, raw_digest, read_note, sha256, signed_by,
                     signed_json, strict, unbase64)

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
