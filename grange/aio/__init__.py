"""Asyncio parts that every room uses: owned tasks, time-outs that count time awake, backoff, a throttled log, a signal.

Any room may import it; it imports only the error tree. Open `tasks.py` first: each background task of grange is
started there and has an owner that awaits it. `backoff.py` is pure.
"""
