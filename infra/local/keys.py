"""API keys as the product defines them: `ec_`, 64 hex digits of randomness, 8 hex digits of checksum.

The checksum lets scanners and people recognise a mistyped or leaked key without asking the server.
Only the SHA-256 of a key is ever stored.
"""

import hashlib
import secrets
import zlib


def new_key() -> str:
    """A fresh key. It is shown once and cannot be recovered from its hash."""
    body = secrets.token_hex(32)
    return f"ec_{body}{zlib.crc32(body.encode('ascii')):08x}"


def key_hash(key: str) -> str:
    """What the template parameter `AdminKeyHashes` and the table hold instead of the key."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()
