"""Credentials at rest: AES-256-GCM, a data key per secret, wrapped by the master key.

sealing.py    a secret ↔ its record, bound to its place   (port Sealer)
ring.py       the master keys, newest first, and where they are kept
durable.py    a small file with a secret, written as a whole
ed25519.py    signatures of sealed logs
rotation.py   all records under a new master key, while the service runs
"""

from .ring import GivenKeys, KeyFile, KeySource, MasterKey, parse_ring
from .rotation import Rotated, Rotation
from .sealing import Vault

__all__ = ["GivenKeys", "KeyFile", "KeySource", "MasterKey", "Rotated", "Rotation", "Vault", "parse_ring"]
