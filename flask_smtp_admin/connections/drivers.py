"""The kinds of connections: what stands in the column *Driver*.

Owns their names. What a driver does is done where messages are delivered.
"""

from __future__ import annotations

DRIVERS: dict[str, str] = {"smtp": "SMTP"}
"""Name, as it is stored, and label. A release that delivers in another way adds its line."""
