"""The test suites that every provider must pass, third-party providers included: one file per contract.

Called by the tests of a provider. Subclass the suite in a test module, define the fixture that its docstring names, and
let pytest collect it (`asyncio_mode = "auto"`).
"""
