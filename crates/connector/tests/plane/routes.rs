//! The connector's routes, as the control plane in memory answers them.

use super::*;

pub(super) async fn pairing(
    State(plane): State<Plane>,
    Json(request): Json<PairingRequest>,
) -> Response {
    let inner = plane.lock();
    if request.code != inner.code.to_string() || inner.paired.is_some() {
        return problem(404, "pairing-code-unknown");
    }
    Json(PairingInfo {
        ledger: inner.ledger.id,
        genesis_key: (&inner.ledger.genesis).into(),
        keys: inner.ledger.keys.clone(),
        tenant: inner.ledger.tenant.clone(),
        site: inner.ledger.site.clone(),
        document: inner.document.clone(),
        connector: inner.ledger.connector.clone(),
        generation: inner.generation,
    })
    .into_response()
}

pub(super) async fn pair(State(plane): State<Plane>, Json(request): Json<PairRequest>) -> Response {
    let mut inner = plane.lock();
    let repeated = inner.paired.as_ref() == Some(&request.envelope);
    if request.code != inner.code.to_string() || (inner.paired.is_some() && !repeated) {
        return problem(404, "pairing-code-unknown");
    }
    if !repeated {
        let message = VerifiedMessage::verify_pairing(&request.envelope)
            .unwrap()
            .into_message();
        let ConnectorMessage::Paired(paired) = &message else {
            panic!("no pairing")
        };
        assert_eq!(paired.code_digest, inner.code.digest());
        assert_eq!(paired.head.generation, inner.generation);
        inner.connector_key = Some(paired.key);
        inner.paired = Some(request.envelope.clone());
        inner
            .taken
            .insert((Stream::Action, 0), request.envelope.clone());
        inner.chain.append(
            "connector",
            "paired",
            &serde_json::json!({ "envelope": request.envelope }),
            now(),
        );
        inner.messages.push(message);
    }
    if std::mem::take(&mut inner.faults.lose_pairing) {
        return lost();
    }
    Json(PairReceipt {
        connector: inner.ledger.connector.clone(),
        generation: inner.generation,
        checkpoint: inner.checkpoint(),
    })
    .into_response()
}

pub(super) async fn beat(State(plane): State<Plane>, Json(signed): Json<Signed>) -> Response {
    let mut inner = plane.lock();
    let message = match inner.take(&signed.envelope) {
        Ok(message) => message,
        Err(refusal) => return *refusal,
    };
    plane.changed.notify_waiters();
    if inner.faults.lose_answer == Some(Stream::Beat) {
        inner.faults.lose_answer = None;
        return lost();
    }
    let head = message.head();
    Json(BeatAnswer {
        time: now(),
        containment: inner.containment,
        checkpoint: inner.checkpoint(),
        consistency: inner
            .chain
            .consistency(head.checkpoint.size, inner.chain.size()),
        keys: inner.keys_after(head.keys_version),
        lease_until: now().plus_millis(60_000),
    })
    .into_response()
}

pub(super) async fn poll(State(plane): State<Plane>, Json(signed): Json<Signed>) -> Response {
    let held = tokio::time::timeout(HOLD, async {
        loop {
            let changed = plane.changed.notified();
            {
                let mut inner = plane.lock();
                let message = match inner.take(&signed.envelope) {
                    Ok(message) => message,
                    Err(refusal) => return *refusal,
                };
                if let Some((at, _)) = inner.pending.first().copied() {
                    inner.delivered += 1;
                    let head = message.head();
                    return Json(inner.delivery(at, head.checkpoint.size, head.keys_version))
                        .into_response();
                }
            }
            changed.await;
        }
    });
    held.await
        .unwrap_or_else(|_| StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn message(State(plane): State<Plane>, Json(signed): Json<Signed>) -> Response {
    let mut inner = plane.lock();
    if inner.faults.deaf {
        return problem(503, "unavailable");
    }
    if let Some((status, code)) = inner.faults.refuse.take() {
        return problem(status, code);
    }
    if let Err(refusal) = inner.take(&signed.envelope) {
        return *refusal;
    }
    plane.changed.notify_waiters();
    if inner.faults.lose_answer == Some(Stream::Action) {
        inner.faults.lose_answer = None;
        return lost();
    }
    let sequence = countersign_ids::Sequence::new(u64::try_from(inner.chain.size()).unwrap() - 1);
    Json(Accepted {
        chain: inner.ledger.tenant.chain(),
        sequence,
    })
    .into_response()
}

pub(super) async fn blob(
    State(plane): State<Plane>,
    Path(digest): Path<Digest>,
    headers: HeaderMap,
) -> Response {
    let mut inner = plane.lock();
    let proof = headers
        .get(PROOF_HEADER)
        .and_then(|value| decode_proof(value.to_str().ok()?));
    let asked = headers
        .get(CONNECTOR_HEADER)
        .is_some_and(|value| value.to_str().unwrap() == inner.ledger.connector.as_str());
    let polled =
        proof.is_some_and(|proof| matches!(inner.take(&proof), Ok(ConnectorMessage::Poll(_))));
    if !asked || !polled {
        return problem(401, "unknown-key");
    }
    inner.fetched.push(digest);
    match inner.blobs.get(&digest) {
        Some(bytes) if inner.faults.spoil_blob == Some(digest) => {
            Bytes::from_iter(bytes.iter().rev().copied()).into_response()
        }
        Some(bytes) => Bytes::from(bytes.clone()).into_response(),
        None => problem(404, "blob-unknown"),
    }
}
