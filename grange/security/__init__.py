"""Who is who, and who may what: certificates, identities, rules, secrets.

The transports ask it for the material of TLS, the silo and the client for identities and decisions. Open
`certificate.py` first.
"""
