# SPDX-License-Identifier: GPL-2.0-or-later
"""Ed25519 keys (RFC 8032), read from the files that OpenSSL and OpenSSH write. No key is made here, and none is kept."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from plugfest.errors import UsageError

_LARGEST = 1 << 16
"""Bytes of a key's file; one of Ed25519 has a few hundred."""
_HOW = "make one with `openssl genpkey -algorithm ed25519 -out KEY` or `ssh-keygen -t ed25519 -f KEY`"


@dataclass(frozen=True)
class PublicKey:
    """The key of who signed.

    Attributes:
        key: of the library.
    """

    key: Ed25519PublicKey

    @property
    def line(self) -> str:
        """As OpenSSH writes it, without a comment: ``ssh-ed25519 AAAA…``."""
        form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return self.key.public_bytes(*form).decode()

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:…``."""
        blob = base64.b64decode(self.line.split()[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature of these bytes is this key's."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """The vendor's private key.

    Attributes:
        key: of the library.
    """

    key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The public key of it."""
        return PublicKey(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of these bytes, 64 bytes; it is the same each time."""
        return self.key.sign(message)


def signing_key(path: Path, passphrase: Callable[[], str]) -> SigningKey:
    """Read a private key.

    Args:
        path: a file in PEM (PKCS #8) or in OpenSSH's format.
        passphrase: asks for the passphrase; called if the key is encrypted.

    Raises:
        UsageError: there is no such file, it holds no Ed25519 private key, or the passphrase is wrong.
    """
    data = _content(path, "--key")
    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else serialization.load_pem_private_key
    try:
        found = load(data, None)
    except TypeError:  # encrypted
        try:
            found = load(data, passphrase().encode())
        except (TypeError, ValueError) as error:
            raise UsageError(f"--key {path}: expected the key's passphrase, found another; try again") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"--key {path}: expected an Ed25519 private key, found something else; {_HOW}") from error
    if not isinstance(found, Ed25519PrivateKey):
        kind = type(found).__name__.lstrip("_").removesuffix("PrivateKey")
        raise UsageError(f"--key {path}: expected an Ed25519 private key, found one of {kind}; {_HOW}")
    return SigningKey(found)


def trusted_key(path: Path) -> PublicKey:
    """Read the public key of who is trusted, in PEM or as a line of OpenSSH.

    Raises:
        UsageError: there is no such file, or it holds no Ed25519 public key.
    """
    found = public_key(_content(path, "--trust"))
    if found is None:
        raise UsageError(
            f"--trust {path}: expected an Ed25519 public key, found something else; "
            "name the file KEY.pub of ssh-keygen, or of `openssl pkey -in KEY -pubout`"
        )
    return found


def public_key(data: bytes) -> PublicKey | None:
    """Return the Ed25519 public key in PEM or in a line of OpenSSH; None if there is none."""
    load = serialization.load_pem_public_key if data.startswith(b"-----") else serialization.load_ssh_public_key
    try:
        found = load(data)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return PublicKey(found) if isinstance(found, Ed25519PublicKey) else None


def _content(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise UsageError(
            f"{option} {path}: expected the file of a key, found: {error.strerror}; name another"
        ) from error
