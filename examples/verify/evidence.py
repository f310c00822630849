"""What people, the server and connectors signed: statements, orders, deliveries, outcomes, heartbeats, documents."""
from datetime import datetime

from blake3 import blake3

from chains import open_envelope
from formats import Absent, Bad, b3, canonical, need, prefixed, raw_digest, sha256, signed_by, signed_json, strict, unbase64


class Tenant:
    """Fold of one tenant's chain: sites, people, actions; every signature inside bodies is checked on the way."""

    def __init__(self, bundle, chain, chains, keys, heads, used):
        self.bundle, self.chain, self.chains, self.keys, self.heads, self.used = bundle, chain, chains, keys, heads, used
        self.sites, self.people, self.actions, self.nonces, self.counters = {}, {}, {}, set(), {}
        self.documents, self.heartbeats, self.places, self.unnamed = {}, {}, {}, None
        self.connectors, self.order_nonces, self.order_sequences = {}, set(), {}

    def apply(self, event):
        alone = self.unnamed is not None and self.unnamed[0] != event.h["commandid"]
        self.unnamed = None if alone else self.unnamed
        self.fold(event)
        need(not alone, "a document was pinned before this, and no message of the connector in its append names it")

    def fold(self, event):
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
            self.people.pop((inner["approver"], inner["credential"]), None)
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
        if document["version"] > 1:
            self.unnamed = (event.h["commandid"], site["digest"])

    def connector_invited(self, event, b):
        self.sites[b["site"]]["codes"] = {b["code_digest"]: b["expires"]}  # a later one takes its place

    def connector_paired(self, event, b):
        peek = signed_json(unbase64(b["envelope"]["payload"]))
        site = self.sites[peek["site"]]
        need(peek["generation"] == site["generation"] + 1, "the generation does not rise by one")
        need(peek["code_digest"] in site["codes"], "no open invitation has this code")
        need(event.h["time"] <= site["codes"].pop(peek["code_digest"]), "the invitation had expired")
        key = unbase64(peek["key"], 32)
        self.connectors[peek["connector"], peek["generation"]] = (key, peek["site"])
        site["generation"], site["connector"] = peek["generation"], peek["connector"]
        self.message(event, "message", "action")

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
        last, saw = self.counters.get((*who, stream), (-1, 0))
        self.counters[*who, stream] = (m["counter"], m["checkpoint"]["size"])
        need(m["checkpoint"]["size"] >= saw, "saw a smaller checkpoint than before")
        need(m["counter"] == last + 1, f"counter {m['counter']} where {last + 1} comes next")
        if stream == "beat":
            need(m["previous"] == self.heartbeats.get(who, "-"), "the heartbeat does not name the one before it")
            self.heartbeats[who] = digest
        value = f"{m['generation']} {stream} {m['counter']}"
        command = blake3(prefixed(m["chain"], "connector", m["connector"], "counter", value), derive_key_context="countersign command v1").hexdigest()[:32]
        need(event.h["commandid"] == command, "the command id is not the counter's")
        request = blake3(unbase64(event.b["envelope"]["payload"]), derive_key_context="countersign request v1").hexdigest()[:32]
        need(event.h.get("requestdigest") == request, "the request digest is not the payload's")
        need(stream == "beat" or m["generation"] == self.sites[site]["generation"], "a message of an ended generation")
        if event.family == "connector" or kind == "outcome" and m["result"] != "refused":
            need(m["document_digest"] == self.sites[site]["digest"], "names another pinned document than the site's")
            self.unnamed = None if self.unnamed and self.unnamed[1] == m["document_digest"] else self.unnamed
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
        was, action["state"] = action["state"], "denied" if b["verdict"] == "deny" else action["state"]
        need(was == "open", "an action is assessed that is not open")
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
        stands = event.h["time"] <= action["votes"].get(s["approver"], ("", "", ""))[2]  # a lapsed vote may be cast again
        need(decision == "withdraw" or not stands, "a second vote of the same person")
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
        action["votes"][s["approver"]] = ("approve", b["signed"]["statement"], s["not_after"])

    def action_rejected(self, event, b):
        action, s = self.vote(event, b, "deny")
        action["votes"][s["approver"]], action["state"] = ("deny", b["signed"]["statement"], s["not_after"]), "rejected"

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
            need(action["votes"].get(s["approver"], ())[:2] == ("approve", signed["statement"]), "holds a statement that does not stand in this chain")
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
        need("deny" not in [vote for vote, _, _ in action["votes"].values()], "authorised against a standing denial")
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
        before = {"accepted": ["delivered", "unresolved"], "refused": ["delivered", "unresolved"]}.get(event.fact, ["accepted", "unresolved"])
        need(action["state"] in before, f"{event.fact} after {action['state']}")
        action["state"] = event.fact

    action_accepted = action_refused = action_succeeded = action_failed = action_undone = outcome

    def action_unresolved(self, event, b):
        action = self.actions[b["action"]]
        need(action["state"] in ("delivered", "accepted"), "unresolved without a delivery")
        action["state"] = "unresolved"

    def close(self, event, b):
        action = self.actions[b["action"]]
        was, action["state"] = action["state"], event.fact
        need(was in ("open", "authorized") if event.fact == "expired" else was == "open", f"{event.fact} after {was}")

    action_withdrawn = action_revoked = action_expired = close

    def beat_received(self, event, b):
        m = self.message(event, "heartbeat", "beat")
        if m["document_digest"] not in self.documents:
            return  # changed at the site: its version is not known here
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
