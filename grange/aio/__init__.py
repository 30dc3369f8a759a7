"""Asyncio helpers for every room: owned tasks, time-outs that do not count suspensions, backoff, a log limit, a signal.

Any room may import it; it imports only the error tree. Open `tasks.py` first: each background task of grange is
started there and has an owner that awaits it. `backoff.py` is pure.
"""
