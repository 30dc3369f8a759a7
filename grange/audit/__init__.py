"""The audit of one silo: acts of operators, refused callers, and calls of methods that are `@audited`.

The silo makes one `AuditTrail`; acts, denials and audited methods write their rows to it. A row is in a ring of the
silo, on the logger `grange.audit`, and in a table of a database if the option `audit` names one. Open `trail.py` first.
"""
