"""The suites that every provider passes, ours and yours: one file per contract.

Called by the tests of a provider. Subclass the suite in a test module, give it the fixture its docstring
names, and let pytest collect it (`asyncio_mode = "auto"`).
"""
