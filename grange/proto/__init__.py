"""The formats on the wire and in storage: identities, messages, and the encoding of values as bytes.

All rooms may import this one; it imports only `grange.errors`. It does no I/O, never waits and reads no clock.
Open `ids.py` first, then `message.py`.
"""
