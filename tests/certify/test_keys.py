# SPDX-License-Identifier: GPL-2.0-or-later
"""The vendor's keys, as OpenSSL and OpenSSH write them, and the signed envelope."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from plugfest.certify import envelope
from plugfest.certify.archive import BundleError
from plugfest.certify.key import SigningKey, signing_key, trusted_key
from plugfest.errors import UsageError

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
PAYLOAD = b'{"_type": "https://in-toto.io/Statement/v1"}'
SEALED = envelope.seal(PAYLOAD, KEY)


def nobody() -> str:
    raise AssertionError("no passphrase is needed")


def written(folder: Path, form: str, passphrase: bytes | None = None) -> Path:
    path = folder / "key"
    encryption = (
        serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    )
    kind = serialization.PrivateFormat.OpenSSH if form == "ssh" else serialization.PrivateFormat.PKCS8
    path.write_bytes(KEY.key.private_bytes(serialization.Encoding.PEM, kind, encryption))
    return path


@pytest.mark.parametrize("form", ["ssh", "pem"])
def test_a_private_key_is_read(tmp_path: Path, form: str) -> None:
    assert signing_key(written(tmp_path, form), nobody).public.line == KEY.public.line


@pytest.mark.parametrize("form", ["ssh", "pem"])
def test_an_encrypted_key_wants_its_passphrase(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, form, b"secret")
    assert signing_key(path, lambda: "secret").public.line == KEY.public.line
    with pytest.raises(UsageError, match="expected the key's passphrase, found another"):
        signing_key(path, lambda: "wrong")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
def test_what_openssh_writes_is_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", key], check=True)
    public = signing_key(key, nobody).public
    assert trusted_key(key.with_suffix(".pub")).line == public.line
    listed = subprocess.run(["ssh-keygen", "-l", "-f", key], check=True, capture_output=True, text=True).stdout
    assert listed.split()[1] == public.fingerprint


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_what_openssl_writes_is_read_and_openssl_verifies(tmp_path: Path) -> None:
    key, public, signature, message = (tmp_path / name for name in ("key.pem", "public.pem", "signature", "message"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    read = signing_key(key, nobody)
    assert trusted_key(public).line == read.public.line
    sealed = json.loads(envelope.seal(PAYLOAD, read))
    signature.write_bytes(base64.b64decode(sealed["signatures"][0]["sig"]))
    # DSSE's pre-authentication encoding, written out
    message.write_bytes(b"DSSEv1 28 application/vnd.in-toto+json 44 " + PAYLOAD)
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        message,
        "-sigfile",
        signature,
    ]
    assert "Verified Successfully" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    other = rsa.generate_private_key(65537, 2048)
    path.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(UsageError, match=f"--key {path}: expected an Ed25519 private key, found one of RSA; make one"):
        signing_key(path, nobody)
    path.write_text(KEY.public.line)
    with pytest.raises(UsageError, match="expected an Ed25519 private key, found something else; make one"):
        signing_key(path, nobody)
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match="expected an Ed25519 private key, found something else; make one"):
        signing_key(path, nobody)
    with pytest.raises(UsageError, match="found: No such file or directory; name another"):
        signing_key(tmp_path / "none", nobody)
    with pytest.raises(UsageError, match="found: Is a directory; name another"):
        trusted_key(tmp_path)
    with pytest.raises(UsageError, match="expected an Ed25519 public key, found something else"):
        trusted_key(path)
    path.write_bytes(
        other.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    with pytest.raises(UsageError, match="expected an Ed25519 public key, found something else"):
        trusted_key(path)


def test_a_payload_comes_back_from_its_envelope() -> None:
    assert envelope.unseal(SEALED, KEY.public, "e") == PAYLOAD
    assert envelope.seal(PAYLOAD, KEY) == SEALED
    found = json.loads(SEALED)
    assert found["payloadType"] == "application/vnd.in-toto+json"
    assert found["signatures"][0]["keyid"] == KEY.public.fingerprint


def test_another_key_did_not_sign() -> None:
    with pytest.raises(BundleError, match=f"e: the signature is not that of {OTHER.public.fingerprint}"):
        envelope.unseal(SEALED, OTHER.public, "e")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.integers(0, 255))
def test_any_changed_byte_of_an_envelope_is_refused(place: int, value: int) -> None:
    changed = SEALED[:place] + bytes([value]) + SEALED[place + 1 :]
    if changed != SEALED:
        with pytest.raises(BundleError, match="e: "):
            envelope.unseal(changed, KEY.public, "e")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"signatures": []}',
        b'{"signatures": [1], "payload": 1}',
        b"[" * 100_000,
        b"\xff",
        b"1" * 10_000,
    ],
)
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="e: expected a DSSE envelope with one signature"):
        envelope.unseal(content, KEY.public, "e")


def without(change: dict[str, Any]) -> bytes:
    return json.dumps({**json.loads(SEALED), **change}).encode()


@pytest.mark.parametrize("change", [{"payloadType": "text/plain"}, {"more": 1}, {}])
def test_an_envelope_that_was_written_anew_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="found one that was written anew"):
        envelope.unseal(without(change), KEY.public, "e")


def test_a_second_signature_is_refused() -> None:
    signatures = json.loads(SEALED)["signatures"]
    with pytest.raises(BundleError, match="expected a DSSE envelope with one signature"):
        envelope.unseal(without({"signatures": signatures * 2}), KEY.public, "e")
