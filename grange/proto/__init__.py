"""Everything that crosses a wire or is written down: identities, messages, and how values become bytes.

Everybody may import this room; it imports only `grange.errors`. Nothing here does I/O, waits or reads a clock.
Open `ids.py` first, then `message.py`.
"""
