# SPDX-License-Identifier: GPL-2.0-or-later
"""The envelope of a signed statement: DSSE 1.0 (github.com/secure-systems-lab/dsse, protocol.md and envelope.md)."""

from __future__ import annotations

import base64
import json

from plugfest.certify.archive import BundleError
from plugfest.certify.key import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""What the payload is: an in-toto statement in JSON."""


def seal(payload: bytes, key: SigningKey) -> bytes:
    """Return the envelope of a payload that a key has signed.

    Ed25519 signs without chance, so the same payload and key make the same bytes.
    """
    return _written(payload, key.public, key.sign(_pre_authentication(payload)))


def unseal(envelope: bytes, key: PublicKey, origin: str) -> bytes:
    """Return the payload of an envelope.

    Args:
        envelope: as `seal` returns it.
        key: of who must have signed.
        origin: the file's name, for the message.

    Raises:
        BundleError: it is no such envelope, or the key did not sign it.
    """
    try:
        found = json.loads(envelope)
        (signature,) = found["signatures"]
        payload = base64.b64decode(found["payload"], validate=True)
        signed = base64.b64decode(signature["sig"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{origin}: expected a DSSE envelope with one signature, found something else") from error
    if not key.signed(signed, _pre_authentication(payload)):
        raise BundleError(
            f"{origin}: the signature is not that of {key.fingerprint}: the statement or the signature was changed"
        )
    if envelope != _written(payload, key, signed):
        raise BundleError(f"{origin}: expected an envelope as plugfest writes it, found one that was written anew")
    return payload


def _written(payload: bytes, key: PublicKey, signature: bytes) -> bytes:
    found = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key.fingerprint, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(found, indent=1).encode() + b"\n"


def _pre_authentication(payload: bytes) -> bytes:
    """Return what is signed: the type and the payload with their lengths, so that neither can be taken for the other."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
