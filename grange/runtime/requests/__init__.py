"""One request, as both ends of a call see it. Open `invocation.py` first.

`invocation.py` is a request on its way through a silo, `plan.py` the codecs of its method, `refusal.py` the answer
"certainly not executed", `deadlines.py` the end of its time.
"""
