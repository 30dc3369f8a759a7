"""Everything that crosses a wire or is written down: identities, messages, and how values become bytes.

All rooms may import this one; it imports only `grange.errors`. It does no I/O, never waits and reads no clock.
Open `ids.py` first, then `message.py`.
"""
