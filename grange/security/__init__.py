"""Who is who, who may what, and secrets: certificates, identities, rules, references to secrets.

The transports ask it for the material of TLS, the silo and the client for identities and decisions. Open
`certificate.py` first.

For secrets open `references.py` first: a text such as `${vault:secret/shop#password}` in an option. `secrets.py` reads
what they name, through `secret_file.py`, `secret_variable.py`, `vault.py` and the sources of other packages (entry
points `grange.secrets`). `known.py` keeps the values out of logs. A silo fills them into its options when it starts
(`silo/secret_options.py`); stores read them again for each new connection (`databases/credentials.py`).
"""
