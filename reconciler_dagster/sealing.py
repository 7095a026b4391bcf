"""Secrets that are kept in a table: encrypted with keys that are kept elsewhere.

Fernet (AES-128-CBC and HMAC-SHA256). The first key encrypts, every one decrypts: so a new key is
put in front, everything is sealed anew, and the old one is taken away.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from reconciler_dagster import redaction

if TYPE_CHECKING:  # slow to import, and only needed where something is sealed
    from cryptography.fernet import MultiFernet


class CannotOpen(Exception):
    """None of the keys opens it, or it was sealed for somebody else."""


def fresh_key() -> str:
    """A new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


class Keys:
    """The keys of a setting, separated by commas or blanks. ValueError where one is no key."""

    def __init__(self, setting: str) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        words = re.split(r"[,\s]+", setting.strip(", \n"))
        redaction.know(*words)
        try:
            self._fernets: MultiFernet = MultiFernet([Fernet(word) for word in words])
        except ValueError:
            raise ValueError(
                "expected keys as `reconciler tokens new-key` prints them, separated by commas"
            ) from None

    def seal(self, owner: str, secret: str) -> bytes:
        """Encrypt for an owner: elsewhere in the table it cannot be used."""
        return self._fernets.encrypt(json.dumps([owner, secret]).encode())

    def open(self, owner: str, sealed: bytes) -> str:
        """Decrypt. Raises CannotOpen."""
        from cryptography.fernet import InvalidToken

        try:
            whose, secret = json.loads(self._fernets.decrypt(sealed))
        except (InvalidToken, ValueError):
            raise CannotOpen from None
        if whose != owner:
            raise CannotOpen
        redaction.know(secret)
        return str(secret)

    def seal_anew(self, sealed: bytes) -> bytes:
        """The same, encrypted with the first key. Raises CannotOpen."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernets.rotate(sealed)
        except InvalidToken:
            raise CannotOpen from None
