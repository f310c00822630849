"""Chains, keys and recorded heads: headers, bodies, links, key statements, checkpoints, the tree over all chains."""
import base64, collections, hashlib, re

from formats import (Absent, Bad, Tree, b3, exact, included, need, prefixed, raw, read_note, sha256, signed_by, strict,
                     unbase64)

HASH = "blake3:[0-9a-f]{64}"
ATTRIBUTES = {  # what each attribute of a header looks like; those with an exclamation mark must be there
    "authid!": ".+", "authtype!": "person|agent|connector|service|reactor", "bodyhash!": HASH, "bodykey": HASH,
    "causationid": ".+", "commandid!": "[0-9a-f]{32}", "correlationid": ".+", "datasubject": ".+", "ownerepoch": ".+",
    "datacontenttype!": r"application/(json|vnd\.countersign\.sealed\+json)", "familysequence!": r"\d{20}",
    "id!": "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", "platformhead": rf"\d{{20}} {HASH}",
    "prevhash!": HASH, "requestdigest": "[0-9a-f]{32}", "retention!": "evidence|operational|personal", "site": ".+",
    "sequence!": r"\d{20}", "source!": ".+", "specversion!": ".+", "subject!": ".+", "traceparent": ".+",
    "time!": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "type!": r"dev\.countersign(\.[a-z][a-z0-9-]*){2}\.v[1-9]\d*"}
SHAPES = {name.rstrip("!"): shape for name, shape in ATTRIBUTES.items()}
REQUIRED = {name.rstrip("!") for name in ATTRIBUTES if name.endswith("!")}
CLASSES = {"reason": "personal", "remark": "operational"}  # every other family is evidence
FACTS = {
    "keys": "created changed", "chain": "announced opened pruned cleared", "heads": "recorded", "approver": "enrolled removed",
    "token": "issued revoked", "clock": "stepped-back", "tenant": "created named", "platform": "noted", "beat": "received",
    "site": "registered document-pinned observed", "connector": "invited paired", "deploy": "release-added",
    "freeze": "declared lifted", "reason": "given", "remark": "made", "retention": "set beats-set expired erased removed",
    "action": "proposed assessed approved rejected approval-withdrawn withdrawn revoked authorized delivered accepted "
              "refused succeeded failed undone expired unresolved"}
MUST_NAME_PLATFORM = ("dev.countersign.action.authorized.v1", "dev.countersign.platform.noted.v1")


class Event:
    def __init__(self, raw, header):
        self.raw, self.h, self.b, self.hash = raw, header, None, b3("event", raw)
        self.at, (self.family, self.fact) = int(header["sequence"]), header["type"].split(".")[2:4]
        self.head = (int(header["platformhead"][:20]), header["platformhead"][21:]) if "platformhead" in header else None
        self.unknown = self.fact not in FACTS.get(self.family, "").split() or not header["type"].endswith(".v1")


Before = collections.namedtuple("Before", "at hash h")  # what is known of the event before a cut


class Chain:
    """One chain of the bundle; `events` ends where the first broken event stands, tree and hashes go on to the end."""

    def __init__(self, ledger, name, form):
        self.ledger, self.name, self.whole, self.broken = ledger, name, form == "whole", False
        self.tree, self.raws, self.hashes, self.events, self.by_sequence = Tree(), [], [], [], {}
        self.last, self.head, self.families, self.commands, self.command, self.gone = None, None, {}, set(), None, {}
        self.base, self.cut = None, 0

    def begin(self, base):
        """The chain was pruned: what it begins with."""
        self.base, self.cut, head = base, base["cut"], base["platformhead"]
        self.tree.begin(self.cut, [raw(part) for part in base["tree"]])
        self.raws, self.hashes = [None] * self.cut, [None] * (self.cut - 1) + [base["head"]]
        self.head, self.families = (int(head[:20]), head[21:]), dict(base["families"])
        self.last = Before(self.cut - 1, base["head"], {"time": base["time"]})

    def is_gone(self, size):
        """Whether the tree at this size cannot be made any more."""
        return 0 < size < self.cut

    def count(self):
        return len(self.raws)

    def read_line(self, verdict, number, line):
        entry = verdict.check("framing", self.name, number, event_line, line)
        if entry is None:
            self.broken = True
            return
        data, at = entry["header"].encode(), self.count()
        if not self.whole and (named := re.search(rb'"sequence":"(\d{20})"', data)):
            at = int(named[1])
        self.tree.push(data)
        self.raws.append(data)
        self.hashes.append(b3("event", data))
        event = verdict.check("chain", self.name, at, self.follow, data, entry)
        if event is None:
            self.broken = True
        elif not self.broken:
            self.by_sequence[event.at] = event
            self.events.append(event)
        command = event and event.h["commandid"]
        if command not in (None, self.command):
            if command in self.commands and self.whole:
                verdict.add("chain", "violation", "the command came before in this chain", self.name, at)
            self.command = command
            self.commands.add(command)

    def follow(self, data, entry):
        event, last = Event(data, self.header(data)), self.last
        h, self.last = event.h, event
        family, self.families[event.family] = self.families.get(event.family, 0), int(h["familysequence"]) + 1
        head, self.head = self.head, event.head or self.head
        if self.whole:
            need(event.at == self.count() - 1, f"sequence {event.at} where {self.count() - 1} comes next")
            need(int(h["familysequence"]) == family, "familysequence is not dense")
        elif last:
            need(event.at > last.at, "sequence does not rise")
        if event.at == 0:
            need(h["prevhash"] == b3("genesis", prefixed(self.ledger, self.name)), "does not begin with this chain's genesis")
        elif last and last.at == event.at - 1:
            need(h["prevhash"] == last.hash, "does not link to the event before")
        need(not last or h["time"] >= last.h["time"], "time falls")
        need(not (event.head and head) or event.head[0] >= head[0], "platformhead falls")
        if "absent" in entry:
            need(h["retention"] != "evidence", "an evidence body is absent")
            if entry["absent"] != "withheld":
                self.gone[event.at] = h.get("datasubject")
        else:
            body = entry["body"].encode()
            need(len(body) <= 262144, "a body larger than 256 KiB")
            need(b3("body", bytes.fromhex(entry["salt"]) + body) == h["bodyhash"], "the body does not hash to bodyhash")
            event.b = strict(body)
        if event.family in FACTS:
            kept = CLASSES.get(event.family, "evidence")
            need(h["retention"] == kept, "another retention class than its family's")
        return event

    def check_gone(self, verdict):
        """A body that is expired or erased is named by an event behind it."""
        removals = [event for event in self.events if event.family == "retention" and event.b and "ranges" in event.b]
        for at, subject in self.gone.items() if not self.broken else ():
            named = any(removal.at > at and removal.b.get("datasubject") == subject and part["from"] <= at <= part["to"]
                        for removal in removals for part in removal.b["ranges"] if part["chain"] == self.name)
            verdict.check("chain", self.name, at, need, named, "a body is expired or erased, and no event names its range")

    def header(self, data):
        need(len(data) <= 8192, "a header larger than 8 KiB")
        h = exact(data)
        if h.get("specversion") != "1.0":
            raise Absent(f"specversion {h.get('specversion')} is not known here")
        need(REQUIRED <= set(h) <= set(SHAPES), "missing or unknown attributes")
        for name, value in h.items():
            fits = re.fullmatch(r"[ !#-\[\]-~]+", value) and re.fullmatch(SHAPES[name], value)
            need(fits, f"{name} has another shape")
        need(h["source"] == f"/ledgers/{self.ledger}/chains/{self.name}", "source names another chain")
        personal = h["retention"] == "personal"
        need(personal == ("sealed" in h["datacontenttype"]), "class personal is sealed, and only that")
        need(personal == ("bodykey" in h) == ("datasubject" in h), "bodykey and datasubject belong to sealed bodies")
        must = self.name.endswith(".beats") or h["type"] in MUST_NAME_PLATFORM
        need(("platformhead" in h) or not must, "platformhead is missing")
        need(("platformhead" not in h) or self.name != "platform", "platformhead on platform")
        return h


def event_line(line):
    entry = exact(line)
    present = set(entry) == {"header", "body", "salt"} and re.fullmatch("[0-9a-f]{32}", entry["salt"])
    absent = set(entry) == {"header", "absent"} and entry["absent"] in ("expired", "erased", "withheld")
    need((present or absent) and all(isinstance(value, str) for value in entry.values()), "not an event line")
    return entry


# --- keys ---

def payload(envelope):
    """What an envelope holds, unverified."""
    return exact(unbase64(envelope["payload"]))


def open_envelope(envelope, kind, keys):
    """DSSE: exactly one signature by each key; gives the payload's digest."""
    need(set(envelope) == {"payload", "payloadType", "signatures"}, "not an envelope")
    known = re.fullmatch(r"application/vnd\.countersign\.(keys|order|outcome|heartbeat|message)\.v1\+json", envelope["payloadType"])
    if not known:
        raise Absent(f"payload type {envelope['payloadType']} is not known here")
    need(known[1] == kind, f"the envelope holds {envelope['payloadType']}")
    name, data = envelope["payloadType"].encode(), unbase64(envelope["payload"])
    message = b"DSSEv1 %d %s %d %s" % (len(name), name, len(data), data)
    left = [unbase64(signature["sig"], 64) for signature in envelope["signatures"]]
    need(len(left) == len(keys), f"{len(left)} signatures where {len(keys)} are required")
    for key in keys:
        mine = [signature for signature in left if signed_by(key, message, signature)]
        need(mine, "a required key did not sign")
        left.remove(mine[0])
    if exact(data).get("v") != 1:
        raise Absent("a payload of a version that is not known here")
    return sha256(data)


class Keys:
    """Fold of key statements. `held`: each key with the platform events that add and end it; `recorded`: sizes of chains."""

    def __init__(self, ledger):
        self.ledger, self.version, self.last, self.genesis, self.origin = ledger, 0, "-", None, None
        self.held, self.recorded = [], []

    def follow(self, event):
        said = payload(event.b["envelope"])
        add = [(new["role"], new["name"], unbase64(new["key"], 32)) for new in said["add"]]
        end = [(old["role"], unbase64(old["key"], 32), old["reason"]) for old in said["end"]]
        genesis, new, old = [a[2] for a in add if a[0] == "genesis"], [a[2] for a in add], [e[1] for e in end]
        if "quorum" in said or "witness" in [key[0] for key in add + end]:
            raise Absent("a witness policy is in force, and none is known here")
        need(said["ledger"] == self.ledger, "of another ledger")
        need((said["version"], said["previous"]) == (self.version + 1, self.last), "does not follow the statement before")
        if self.version == 0:
            need(len(genesis) == 1 and not end and "origin" in said, "the first adds the genesis key and carries the origin")
            need(hashlib.sha256(genesis[0]).hexdigest() == self.ledger, "the genesis key does not hash to the ledger id")
            signers = new
        else:
            need("origin" not in said and "genesis" not in [key[0] for key in add + end], "touches genesis or origin")
            if "stolen" in [key[2] for key in end]:
                need(not add, "a stolen key is ended and something added")
                signers = [self.genesis]
            else:
                need(not end or sorted(a[0] for a in add) == sorted(e[0] for e in end), "no rotation: the roles differ")
                signers = old + new if end else [self.genesis] + new
        digest = open_envelope(event.b["envelope"], "keys", list(dict.fromkeys(signers)))
        if self.version == 0:
            self.genesis, self.origin = genesis[0], said["origin"]
        for role, key, _ in end:
            mine = [held for held in self.held if (held["role"], held["key"], held["end"]) == (role, key, None)]
            need(mine, "a key ends that does not hold")
            mine[0]["end"] = event.at
        for role, _, key in add:
            need(all(held["key"] != key for held in self.held), "a key is added twice")
            self.held.append({"role": role, "key": key, "added": event.at, "end": None})
        self.version, self.last = self.version + 1, digest

    def of(self, role):
        return [held for held in self.held if held["role"] == role]

    def end_on(self, key, chain):
        """Size of a chain at which a key ended; beyond every size while it holds."""
        if key["end"] is None:
            return 2**64
        if chain == "platform":
            return key["end"]
        for at, sizes in self.recorded:
            if at > key["end"]:
                return sizes.get(chain, 0)
        raise Absent("a key ended, and no recorded head says where")

    def check_ends(self, verdict, platform):
        """The end of a key records, in the same append, where it ends on each chain."""
        command = {event.at: event.h["commandid"] for event in platform.events}
        recorded = {command[at] for at, _ in self.recorded}
        for at in sorted({key["end"] for key in self.held} - {None}):
            if command[at] not in recorded:
                verdict.add("keys", "violation", "a key ends, and no heads are recorded in the same append", "platform", at)

    def check_note(self, chain, data, size):
        text, origin, noted, root, lines = read_note(data)
        need(origin == f"{self.origin}/{chain.name}", "the checkpoint is of another origin")
        need(noted == size, "the checkpoint names another size than its file")
        if chain.whole:
            need(size <= chain.count(), f"the chain has {chain.count()} events, {size} are signed")
            need(chain.is_gone(size) or chain.tree.root(size) == root, f"the signed root at size {size} is another")
        good = []
        for key in self.of("checkpoint"):
            keyid = hashlib.sha256(origin.encode() + b"\n\1" + key["key"]).digest()[:4]
            for signature in (line[2] for line in lines if line[:2] == (origin, keyid)):
                need(signed_by(key["key"], text, signature), "a signature of a known key is wrong")
                good.append(key)
        need(good, "no known checkpoint key signed it")
        ok = [size <= self.end_on(key, chain.name) and (chain.name != "platform" or size > key["added"]) for key in good]
        need(any(ok), "signed by a key that did not hold")
        return root


# --- recorded heads ---

def head_leaf(chain, size, root, last):
    return f"countersign/head/v1\n{chain}\n{size}\n{root}\n{last}\n".encode()


def check_leaf(chains, name, size, root, last):
    chain = chains.get(name)
    if chain is None or not chain.whole:
        need(size == 0 and chain is None, f"chain {name}, of which a head was recorded, is not here")
        return
    need(size <= chain.count(), f"{name} has {chain.count()} events, {size} are recorded")
    if chain.is_gone(size):
        return
    need(chain.tree.root(size) == unbase64(root, 32), f"the recorded root of {name} at size {size} is another")
    need((chain.hashes[size - 1] if size else "-") == last, f"the recorded last event of {name} is another")


class Heads:
    """The leaves of recorded heads: folded through the lists of changes, or, in a tenant's bundle, proved by paths."""

    def __init__(self, bundle, chains, keys):
        self.bundle, self.chains, self.keys, self.lost = bundle, chains, keys, None
        self.leaves, self.known = {}, []

    def fold(self, verdict, event):
        if event.family == "keys":
            self.known.append(event.hash)
        elif event.fact == "announced":
            dense = event.b["number"] == len(self.leaves) or not self.chains["platform"].whole
            verdict.check("chain", "platform", event.at, need, dense, "chain numbers are not dense")
            self.leaves[event.b["chain"]] = (0, base64.b64encode(Tree().root(0)).decode(), "-")
        elif event.family == "heads":
            step = self.whole if self.chains["platform"].whole else self.sparse
            sizes = verdict.check("tree", "platform", event.at, step, event)
            self.keys.recorded.append((event.at, sizes or {name: leaf[0] for name, leaf in self.leaves.items()}))

    def keys_fit(self, body):
        said = {"count": len(self.known), "last": self.known[-1] if self.known else "-"}
        need(body["keys"] == said, "another count or last event of family keys")

    def whole(self, event):
        names = list(self.leaves)
        need(event.b["size"] == len(names), "not one leaf per announced chain")
        for digest in event.b["blobs"]:
            try:
                listed, number = self.bundle.blob(digest), -1
            except (Absent, Bad):
                self.lost = self.lost or event.at
                raise
            for lines in re.findall(rb"(?:[^\n]*\n){5}|[^\n]+|\n", listed):
                version, name, size, root, last, end = lines.decode().split("\n")
                need(version == "countersign/head/v1" and end == "" and name in names, "not a list of heads")
                need(names.index(name) > number, "a list of heads is not in order")
                need(self.leaves[name][0] <= int(size), "a recorded size falls")
                number, self.leaves[name] = names.index(name), (int(size), root, last)
                check_leaf(self.chains, name, int(size), root, last)
        if self.lost:
            raise Absent(f"the heads recorded at {self.lost} could not be read, and these build on them")
        tree = Tree(head_leaf(name, *leaf) for name, leaf in self.leaves.items())
        need(tree.root(len(names)) == raw(event.b["root"]), "the leaves do not hash to the recorded root")
        self.keys_fit(event.b)

    def sparse(self, event):
        name, sizes = f"heads/{event.at:020}.json", {}
        if name not in self.bundle.files:
            raise Absent(f"{name} is missing")
        page = exact(self.bundle.files[name])
        need(page["size"] == event.b["size"], "another number of leaves")
        for chain, leaf in page["chains"].items():
            root, path = base64.b64encode(raw(leaf["root"])).decode(), [unbase64(part, 32) for part in leaf["path"]]
            check_leaf(self.chains, chain, leaf["size"], root, leaf["head"])
            data = head_leaf(chain, leaf["size"], root, leaf["head"])
            included(data, leaf["number"], page["size"], path, raw(event.b["root"]))
            opened = [] if self.chains[chain].base else self.chains[chain].events[:1]
            need(not opened or opened[0].b["number"] == leaf["number"], "the chain has another number")
            sizes[chain] = leaf["size"]
        self.keys_fit(event.b)
        for chain in self.chains.values():
            here = chain.whole and chain.events and not chain.base
            opened = chain.events[0].b["number"] if here else page["size"]
            if chain.name not in sizes and opened < page["size"]:
                raise Absent(f"{name} has no path for {chain.name}")
        return sizes
