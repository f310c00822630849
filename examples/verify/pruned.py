"""Chains that were pruned: where one begins, what is kept of its tree before that, and the platform events that say so."""
import re
from datetime import datetime, timedelta

from formats import need, node, raw

LEAVES = 256  # a cut is a multiple of this; one hash is kept for so many leaves


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def cuts(platform):
    """The orders of each chain, oldest first."""
    found = {}
    for event in platform.events:
        if (event.family, event.fact) == ("chain", "pruned") and event.b:
            found.setdefault(event.b["chain"], []).append(event)
    return found


def peaks(size, nodes):
    """The complete subtrees over the first `size` leaves, the largest first, from the hashes of 256 leaves each."""
    levels, found = [list(nodes)], []
    while len(levels[-1]) > 1:
        pairs = zip(levels[-1][::2], levels[-1][1::2])
        levels.append([node(left, right) for left, right in pairs])
    groups = size // LEAVES
    for level in reversed(range(groups.bit_length())):
        if groups >> level & 1:
            found.append(levels[level][(groups >> level) - 1])
    return found


def tiles(bundle, name):
    """The hashes that the bundle keeps of a chain, in order."""
    mine = sorted(file for file in bundle.files if re.fullmatch(rf"tiles/{re.escape(name)}/\d{{20}}\.tile", file))
    data = b""
    for index, file in enumerate(mine):
        need(file.endswith(f"/{index:020}.tile"), "a tile is missing")
        need(index == len(mine) - 1 or len(bundle.files[file]) == LEAVES * 32, "a tile in the middle is not full")
        data += bundle.files[file]
    need(len(data) % 32 == 0, "a tile ends within a hash")
    return [data[at:at + 32] for at in range(0, len(data), 32)]


def check_tiles(chain, kept):
    base = chain.base
    need(len(kept) == base["cut"] // LEAVES, "not one hash for each 256 events before the cut")
    need(peaks(base["cut"], kept) == [raw(part) for part in base["tree"]], "the hashes do not give the tree before the cut")


def check_order(event, before, keys):
    """An order: further than the one before, of a chain of heartbeats, behind recorded heads that cover it."""
    body, base = event.b, event.b["base"]
    need(body["chain"].endswith(".beats"), "only a chain of heartbeats is pruned")
    fits = base["cut"] > 0 and base["cut"] % LEAVES == 0 and sum(base["families"].values()) == base["cut"]
    need(fits and len(base["tree"]) == base["cut"].bit_count(), "its base is none")
    need(before is None or before.b["base"]["cut"] < base["cut"], "it does not go on from the pruning before")
    need(base["time"] <= body["until"], "an event before the cut is younger than may go")
    covered = [at for at, sizes in keys.recorded if at <= body["heads"] < event.at and sizes.get(body["chain"], 0) >= base["cut"]]
    need(covered, "no recorded heads before it cover what goes")


def check_policy(event, tenant, keys):
    """The tenant said how long it keeps heartbeats, that was recorded, and what went was old enough."""
    said = tenant.by_sequence.get(event.b["policy"])
    need(said and (said.family, said.fact) == ("retention", "beats-set"), "the tenant does not say there how long it keeps them")
    kept = timedelta(days=said.b["beats_days"])
    need(when(event.b["until"]) + kept <= when(event.h["time"]), "heartbeats went before their time was over")
    recorded = [at for at, sizes in keys.recorded if at <= event.b["heads"] and sizes.get(tenant.name, 0) > said.at]
    need(recorded, "what the tenant said was not recorded before heartbeats went by it")


def check_receipt(event, orders, done, whole):
    """A receipt is of the newest order of its chain, and each has one."""
    before = [order for order in orders.get(event.b["chain"], []) if order.at < event.at]
    pending = before and before[-1].at == event.b["ordered"] and event.b["ordered"] not in done
    need(pending, "no pruning is pending that was ordered there")
    done.add(event.b["ordered"])
    went = before[-1].b["base"]["cut"] - (before[-2].b["base"]["cut"] if len(before) > 1 else 0)
    need(event.b["events"] == went or not whole, "it counts other events than went")


def check(verdict, bundle, chains, keys):
    platform = chains["platform"]
    orders, done = cuts(platform), set()
    for event in platform.events:
        if (event.family, event.fact) == ("chain", "cleared") and event.b:
            verdict.check("chain", "platform", event.at, check_receipt, event, orders, done, platform.whole)
    for name, mine in orders.items():
        before, tenant = None, chains.get(name.removesuffix(".beats"))
        for event in mine:
            if not platform.broken:
                verdict.check("chain", "platform", event.at, check_order, event, before, keys)
            if tenant and not tenant.broken:
                verdict.check("chain", "platform", event.at, check_policy, event, tenant, keys)
            before = event
    for name, chain in chains.items():
        begun = (bundle.forms[name]["form"] == "pruned") == (chain.base is not None)
        verdict.check("framing", name, chain.cut, need, begun, "manifest and platform disagree on whether it was pruned")
        if chain.base is not None and not chain.broken:
            kept = verdict.check("tree", name, chain.base["cut"], tiles, bundle, name)
            if kept is not None:
                verdict.check("tree", name, chain.base["cut"], check_tiles, chain, kept)
