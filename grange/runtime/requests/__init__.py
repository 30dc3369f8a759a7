"""The parts of one request that both ends of a call use. Open `invocation.py` first.

`invocation.py` is a request on its way through a silo, `plan.py` the codecs of its method, `refusal.py` the outcome
"certainly not executed", `deadlines.py` its time-out.
"""
