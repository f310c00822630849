"""What people, the server and connectors signed: statements, orders, deliveries, outcomes, heartbeats, documents."""
from datetime import datetime

from chains import open_envelope, payload
from formats import Absent, Bad, b3, canonical, exact, need, prefixed, raw, sha256, short, signed_by, strict, unbase64

RELEASED = ("refused", "succeeded", "failed", "undone", "expired")  # after these the site is free for another order


class Tenant:
    """Fold of one tenant's chain: sites, people, actions; every signature inside bodies is checked on the way."""

    def __init__(self, bundle, chain, platform, keys, used, beats=None):
        self.pruned, self.paired = beats and beats.base, {}
        self.bundle, self.chain, self.platform, self.keys, self.used = bundle, chain, platform, keys, used
        self.sites, self.people, self.actions, self.connectors, self.last = {}, {}, {}, {}, {}
        self.nonces, self.order_sequences, self.documents, self.places, self.unnamed = set(), {}, {}, {}, None

    def apply(self, event):
        unnamed = self.unnamed
        alone = unnamed is not None and unnamed[0] != event.h["commandid"]
        self.unnamed = None if alone else unnamed
        fold = getattr(self, f"{event.family}_{event.fact}".replace("-", "_"), None)
        if fold and event.b is not None:
            fold(event, event.b)
        need(not alone, "a document was pinned before this, and no message of the connector in its append names it")

    # --- people, sites, connectors ---

    def platform_noted(self, event, b):
        header, body, inner = exact(b["header"]), b["body"].encode(), strict(b["body"])
        need(header["source"] == f"/ledgers/{self.chain.ledger}/chains/platform", "restates an event of another chain")
        hashed = b3("body", bytes.fromhex(b["salt"]) + body)
        need(header["bodyhash"] == hashed, "the restated body has another hash")
        if ".approver.enrolled." in header["type"]:
            self.people[inner["approver"], inner["credential"]] = inner["key"]
            check_enrolment(self.chain.ledger, inner)
        elif ".approver.removed." in header["type"]:
            self.people.pop((inner["approver"], inner["credential"]), None)
        at = int(header["sequence"])
        need(event.head[0] >= at, "its platformhead is older than what it restates")
        if at in self.platform.by_sequence:
            same = self.platform.by_sequence[at].hash == b3("event", b["header"].encode())
            need(same, "restates another event than platform has")
        elif self.platform.whole:
            need(self.platform.broken, "restates an event that platform does not have")
        else:
            raise Absent(f"platform event {at}, which it restates, is not here")

    def site_registered(self, event, b):
        self.sites[b["site"]] = {"document": None, "digest": "-", "connector": (None, 0), "code": None, "held": None}

    def site_document_pinned(self, event, b):
        document, site = b["document"], self.sites[b["document"]["site"]]
        here = (document["ledger"], document["chain"]) == (self.chain.ledger, self.chain.name)
        need(here, "pins a document of another ledger or chain")
        need(unbase64(document["genesis"]) == self.keys.genesis, "the document names another genesis key")
        need(document["version"] == (site["document"] or {"version": 0})["version"] + 1, "document versions are dense")
        need(document["previous"] == site["digest"], "the document does not name the one before")
        site["document"], site["digest"] = document, sha256(canonical(document))
        self.documents[site["digest"]] = document["version"]
        if document["version"] > 1:
            self.unnamed = (event.h["commandid"], site["digest"])

    def connector_invited(self, event, b):
        self.sites[b["site"]]["code"] = (b["code_digest"], b["expires"])  # a later one takes its place

    def connector_paired(self, event, b):
        said = payload(b["envelope"])
        site, who = self.sites[said["site"]], (said["connector"], said["generation"])
        code, rises = site["code"], said["generation"] == site["connector"][1] + 1
        self.connectors[who], site["connector"], site["code"] = (unbase64(said["key"], 32), said["site"]), who, None
        self.paired[who] = event.h["time"]
        need(rises, "the generation does not rise by one")
        need(code and code[0] == said["code_digest"], "no open invitation has this code")
        need(event.h["time"] <= code[1], "the invitation had expired")
        self.message(event, "message", "action")

    def message(self, event, kind, stream):
        """A message of a connector: signature, dense counter, command id, pinned document, the checkpoint it saw."""
        envelope, chain = event.b["envelope"], event.h["source"].split("/")[-1]
        m = payload(envelope)
        who = (m["connector"], m["generation"])
        need(who in self.connectors, "a connector that was not paired")
        key, name = self.connectors[who]
        digest, site = open_envelope(envelope, kind, [key]), self.sites[name]
        here = (m["ledger"], m["chain"], m["site"], m["stream"]) == (self.chain.ledger, chain, name, stream)
        need(here, "a message for another ledger, chain, site or stream")
        need((event.h["authtype"], event.h["authid"]) == ("connector", who[0]), "the event names another author")
        before = self.last.get((who, stream))
        if before is None and stream == "beat" and self.pruned and m["counter"] and self.paired[who] <= self.pruned["time"]:
            before = (m["counter"] - 1, 0, m["previous"])  # it goes on from one that was pruned
        counter, saw, previous = before or (-1, 0, "-")
        self.last[who, stream] = (m["counter"], m["checkpoint"]["size"], digest)
        need(m["checkpoint"]["size"] >= saw, "saw a smaller checkpoint than before")
        need(m["counter"] == counter + 1, f"counter {m['counter']} where {counter + 1} comes next")
        need(stream != "beat" or m["previous"] == previous, "the heartbeat does not name the one before it")
        value = f"{m['generation']} {stream} {m['counter']}"
        command = short("command", prefixed(chain, "connector", who[0], "counter", value))
        need(event.h["commandid"] == command, "the command id is not the counter's")
        request = short("request", unbase64(envelope["payload"]))
        need(event.h.get("requestdigest") == request, "the request digest is not the payload's")
        need(stream == "beat" or who == site["connector"], "a message of an ended generation")
        if event.family == "connector" or kind == "outcome" and m["result"] != "refused":
            need(m["document_digest"] == site["digest"], "names another pinned document than the site's")
            if self.unnamed and self.unnamed[1] == m["document_digest"]:
                self.unnamed = None
        self.saw(m["checkpoint"], event)
        return m

    def saw(self, checkpoint, event):
        size, root = checkpoint["size"], raw(checkpoint["root"])
        same = size <= self.chain.count() and self.chain.tree.root(size) == root
        need(same, f"saw another tree of size {size} than this one (a split view)")
        need(event.h["source"].endswith(".beats") or size <= event.at, "saw a checkpoint from the future")

    def site_observed(self, event, b):
        self.message(event, "message", "action")

    def beat_received(self, event, b):
        m = self.message(event, "heartbeat", "beat")
        if m["document_digest"] in self.documents:  # else it was changed at the site, and its version is not known here
            place, last = (m["generation"], self.documents[m["document_digest"]]), self.places.get(m["site"], (0, 0))
            self.places[m["site"]] = place
            need(place[0] >= last[0] and place[1] >= last[1], "generation or document version steps back")

    # --- proposals, rounds, votes ---

    def action_proposed(self, event, b):
        what = b["action_object"]
        need(sha256(canonical(what)) == b["action_digest"], "the action object does not hash to action_digest")
        need(sha256(canonical(b["plan"])) == what["plan_digest"], "the plan does not hash to plan_digest")
        need(what["site"] in self.sites and event.h.get("site") == what["site"], "an action for another site")
        need(b["action"] not in self.actions, "the action was proposed before")
        self.actions[b["action"]] = {"object": what, "digest": b["action_digest"], "round": None, "votes": {}, "order": None,
                                     "state": "open", "never": {event.h["authid"], b["proposer_owner"]}}

    def action_assessed(self, event, b):
        action = self.actions[b["action"]]
        last, was = action["round"], action["state"]
        action.update(round=b, votes={}, state="denied" if b["verdict"] == "deny" else was)
        need(b["round"] == (last["round"] if last else 0) + 1, "rounds are dense")
        need(was == "open", "an action is assessed that is not open")
        need(b["view_digest"] in b["blobs"], "the view document is not named in blobs")
        view = exact(self.bundle.blob(b["view_digest"]))
        need(sha256(canonical(view["action"])) == action["digest"], "the view document shows another action")

    def vote(self, event, b, decision):
        action, votes = self.actions[b["action"]], self.actions[b["action"]]["votes"]
        s, seen = self.statement(b["signed"], self.people), action["round"]
        need(s["decision"] == decision, f"the statement says {s['decision']}")
        same = (s["action"], s["action_digest"], s["site"]) == (b["action"], action["digest"], action["object"]["site"])
        need(same, "a statement over another action")
        for shown in ("round", "view_digest", "rollback_digest", "policy_digest"):
            need(s[shown] == seen[shown], f"a statement over another {shown} than the last assessment's")
        need(s["round"] == b["round"], "a statement of another round")
        need(s["approver"] not in action["never"], "the proposer, or the owner of the agent, votes")
        need(("statement", s["nonce"]) not in self.nonces, "the nonce of a statement came before")
        self.nonces.add(("statement", s["nonce"]))
        until = votes.get(s["approver"], ("", "", ""))[2]  # a lapsed vote may be cast again
        need(decision == "withdraw" or until < event.h["time"], "a second vote of the same person")
        if decision == "withdraw":
            need(votes.pop(s["approver"], None), "withdraws a vote that does not stand")
        else:
            votes[s["approver"]] = (decision, b["signed"]["statement"], s["not_after"])
        action["state"] = "rejected" if decision == "deny" else action["state"]

    def action_approved(self, event, b):
        self.vote(event, b, "approve")

    def action_rejected(self, event, b):
        self.vote(event, b, "deny")

    def action_approval_withdrawn(self, event, b):
        self.vote(event, b, "withdraw")

    def statement(self, signed, people):
        if signed["alg"] != "ed25519":
            raise Absent(f"statements signed by {signed['alg']} are not supported")
        s = exact(signed["statement"])
        if s["v"] != 1:
            raise Absent("a statement of an unknown version")
        need((s["ledger"], s["chain"]) == (self.chain.ledger, self.chain.name), "a statement for another ledger or chain")
        need(0 <= span(s["not_before"], s["not_after"]) <= 86400, "a statement may count for at most 24 hours")
        key = people.get((s["approver"], s["credential"]))
        need(key, "a statement by a key that is not enrolled, or not pinned")
        message = b"countersign/approval/v1\0" + signed["statement"].encode()
        need(signed_by(unbase64(key, 32), message, unbase64(signed["signature"], 64)), "the signature is not the credential's")
        return s

    # --- orders and what became of them ---

    def action_authorized(self, event, b):
        action, order, time = self.actions[b["action"]], payload(b["envelope"]), event.h["time"]
        site = self.sites[action["object"]["site"]]
        held, site["held"] = site["held"], b["action"]
        was, action["state"], action["order"] = action["state"], "authorized", (sha256(unbase64(b["envelope"]["payload"])), event.at)
        self.check_order_key(event, b["envelope"])
        need(held is None, "an order for a site while the order of another action is out there")
        need((order["ledger"], order["chain"]) == (self.chain.ledger, self.chain.name), "an order for another ledger or chain")
        need(order["site"] == action["object"]["site"], "an order for another site")
        need((order["connector"], order["generation"]) == site["connector"], "an order for another connector or generation")
        same = order["action"] == b["action"] and sha256(canonical(order["action_object"])) == action["digest"]
        need(same, "an order for another action")
        need(order["rollback_digest"] == order["action_object"]["rollback_digest"], "another rollback plan than its action's")
        for decided in ("rollback_digest", "policy_digest", "round"):
            said = order if decided in order else b
            need(said[decided] == action["round"][decided], f"an order over another {decided} than the last assessment's")
        need(order["document_digest"] == site["digest"], "an order for another pinned document")
        need(order["not_before"] <= time <= order["expires"], "authorised outside the times of the order")
        need(span(order["not_before"], order["expires"]) <= 120, "the order lives longer than 120 seconds")
        need(("order", order["nonce"]) not in self.nonces, "the nonce of an order came before")
        self.nonces.add(("order", order["nonce"]))
        need(order["sequence"] > self.order_sequences.get(order["connector"], ""), "the order's sequence does not rise")
        self.order_sequences[order["connector"]] = order["sequence"]
        need(was == "open", "an order for an action that is not open")
        self.check_votes(order, action, site["document"], time)

    def check_order_key(self, event, envelope):
        for key in self.keys.of("order"):
            try:
                open_envelope(envelope, "order", [key["key"]])
            except Bad:
                continue
            need(event.head[0] >= key["added"], "signed by a key that was not added yet")
            need(event.at < self.keys.end_on(key, self.chain.name), "signed by a key that had ended")
            return
        raise Bad("no order key of the ledger signed the order")

    def check_votes(self, order, action, document, time):
        people, pinned = set(), {(entry["approver"], entry["credential"]): entry["key"] for entry in document["approvers"]}
        for signed in order["statements"]:
            s = self.statement(signed, pinned)
            stands = action["votes"].get(s["approver"], ())[:2] == ("approve", signed["statement"])
            need(stands, "holds a statement that does not stand in this chain")
            need((s["approver"], s["credential"]) in self.people, "holds a statement of somebody who was removed")
            need(s["not_before"] <= time <= s["not_after"], "authorised outside the times of a statement")
            need(s["scope"] == "action" or document["break_glass"], "break-glass where the document allows none")
            need(s["approver"] not in people, "counts one person twice")
            need(sha256(signed["statement"].encode()) not in self.used, "a statement stands in a second order")
            self.used.add(sha256(signed["statement"].encode()))
            people.add(s["approver"])
        kind = action["object"]["kind"]
        floor = max([rule["approvals"] for rule in document["floor"] if rule["kind"] in ("*", kind)], default=1)
        floor = max(floor, document["quorum"] if kind == "document.replace" else 0)
        need(len(people) >= floor, "fewer approvals than the floor of the site")
        need("deny" not in [vote[0] for vote in action["votes"].values()], "authorised against a standing denial")

    def action_delivered(self, event, b):
        action = self.actions[b["action"]]
        need(action["order"] and action["order"][0] == b["order_digest"], "delivers another order")
        need(action["state"] in ("authorized", "delivered", "unresolved"), "delivers after the order was answered")
        need(b["checkpoint"]["size"] > action["order"][1], "the checkpoint does not cover the order")
        self.saw(b["checkpoint"], event)
        action["state"] = "unresolved" if action["state"] == "unresolved" else "delivered"

    def outcome(self, event, b):
        action, m = self.actions[b["action"]], self.message(event, "outcome", "action")
        was = self.move(b["action"], event.fact)
        need(m["result"] == event.fact, f"the outcome says {m['result']}")
        need(action["order"] and m["order_digest"] == action["order"][0], "an outcome of another order")
        need(m["site"] == action["object"]["site"], "an outcome of another site")
        first = "delivered" if event.fact in ("accepted", "refused") else "accepted"
        need(was in (first, "unresolved"), f"{event.fact} after {was}")

    action_accepted = action_refused = action_succeeded = action_failed = action_undone = outcome

    def close(self, event, b):
        before = {"unresolved": ("delivered", "accepted"), "expired": ("open", "authorized")}.get(event.fact, ("open",))
        was = self.move(b["action"], event.fact)
        need(was in before, f"{event.fact} after {was}")

    action_withdrawn = action_revoked = action_expired = action_unresolved = close

    def move(self, name, state):
        action = self.actions[name]
        site, was = self.sites[action["object"]["site"]], action["state"]
        action["state"] = state
        if state in RELEASED and site["held"] == name:
            site["held"] = None
        return was


def span(start, end):
    """Seconds between two times."""
    first, last = (datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ") for time in (start, end))
    return (last - first).total_seconds()


def check_enrolment(ledger, b):
    if b["alg"] != "ed25519":
        raise Absent(f"keys of kind {b['alg']} are not supported")
    said = canonical({name: b[name] for name in ("approver", "credential", "alg", "key")} | {"ledger": ledger})
    proved = signed_by(unbase64(b["key"], 32), b"countersign/enrolment/v1\0" + said, unbase64(b["proof"], 64))
    need(proved, "the enrolment proof is not the key's")
