"""grange: virtual actors for asyncio. Authors of grains import from here; silos and clients have rooms of their own.

::

    grange/
      __main__.py  cli/                    the command `grange`
      dashboard/   testing/                show a cluster in a browser | a cluster inside a test
      silo/        client/     servers/    one server process | one client process | Redis and Postgres for tests
      management.py                        what programs ask of a cluster, and acts on it
      reminders/                           what a grain has to do later, kept in a store
      storage/     directory/   audit/      stored state | which silo hosts each grain | who did what
      membership/                          which silos are in the cluster
      runtime/                             makes calls, receives calls, runs activations; independent of the cluster
      grains/      transport/  databases/  classes for authors | sends messages | access to SQLite, Redis, Postgres
      placement/  observability/  security/  chooses a silo (pure) | figures, events, traces | identities, certificates
      aio/                                 asyncio helpers for every room: owned tasks, time-outs, backoff
      proto/                               ids and messages that are sent or stored (pure)
      option_ranges.py  admin_token.py     values that numeric options may have | the secret of a data folder
      local_records.py                     the silos of this user on this machine
      errors.py  clock.py  printable.py    the error tree | wall-clock time | control characters in texts
      text_files.py  counted.py            configuration and secrets in files | numbers with their nouns
      __init__.py                          re-exports what authors use

A room imports only rooms on lines below its own; rooms on one line do not import each other (`.importlinter`). To
follow one call, open `grains/ref.py`, then `runtime/calls/caller.py`.
"""

import os

from grange.errors import (
    ActivationFailed,
    CallCancelled,
    CallerClosed,
    CallError,
    CallNotExecuted,
    CallOutcomeUnknown,
    CallTimeout,
    ConfigurationError,
    ConnectionLost,
    DeadlockError,
    DeclaredDead,
    EnumerationAborted,
    GrangeError,
    HandshakeRefused,
    InconsistentStateError,
    InvalidCall,
    InvalidResult,
    JoinFailed,
    MembershipError,
    MembershipUnavailable,
    NoSuchGrain,
    NoSuchMethod,
    ObserverGone,
    OptionError,
    Overloaded,
    PayloadTooLarge,
    RemoteError,
    SecretUnavailable,
    SelfFenced,
    ServicesUnavailable,
    SiloStopped,
    SiloUnavailable,
    StartupFailed,
    StateUnreadable,
    StorageError,
    StorageUnavailable,
    TableLost,
    TurnAbandoned,
    Unauthorized,
    UniqueValueError,
    WriteOutcomeUnknown,
    WrongLoop,
)
from grange.grains.acting import acting_for
from grange.grains.blocking import blocking, from_thread
from grange.grains.caller import caller
from grange.grains.context import idempotency_key, placement_hint, request_context
from grange.grains.deactivation import DeactivationCode, DeactivationReason
from grange.grains.decorators import (
    always_interleave,
    audited,
    cancellable,
    idempotent,
    one_way,
    rate_limited,
    read_only,
    requires,
    response_timeout,
    transactional,
)
from grange.grains.enumeration import with_batch_size
from grange.grains.filters import Call, Filter, Proceed
from grange.grains.grain import Grain, GrainInterface, Timer
from grange.grains.observer import GrainObserver
from grange.grains.observer_set import ObserverSet
from grange.grains.reentrancy import allow_reentrancy, suppress_reentrancy
from grange.grains.service import SiloService
from grange.grains.tick import Cron, Job, Reminder, Retry, ScheduledJob, Tick
from grange.printable import filter_loggers
from grange.proto.identity import Identity
from grange.proto.ids import GrainId, SiloAddress
from grange.proto.keys import Key
from grange.security.policy import CallFacts
from grange.storage.states.schema import Indexed, Renamed, state_schema
from grange.storage.states.state import PersistentState
from grange.storage.states.stored import Stored

__all__ = [
    "ActivationFailed",
    "Call",
    "CallCancelled",
    "CallError",
    "CallFacts",
    "CallNotExecuted",
    "CallOutcomeUnknown",
    "CallTimeout",
    "CallerClosed",
    "ConfigurationError",
    "ConnectionLost",
    "Cron",
    "DeactivationCode",
    "DeactivationReason",
    "DeadlockError",
    "DeclaredDead",
    "EnumerationAborted",
    "Filter",
    "Grain",
    "GrainId",
    "GrainInterface",
    "GrainObserver",
    "GrangeError",
    "HandshakeRefused",
    "Identity",
    "InconsistentStateError",
    "Indexed",
    "InvalidCall",
    "InvalidResult",
    "Job",
    "JoinFailed",
    "Key",
    "MembershipError",
    "MembershipUnavailable",
    "NoSuchGrain",
    "NoSuchMethod",
    "ObserverGone",
    "ObserverSet",
    "OptionError",
    "Overloaded",
    "PayloadTooLarge",
    "PersistentState",
    "Proceed",
    "Reminder",
    "RemoteError",
    "Renamed",
    "Retry",
    "ScheduledJob",
    "SecretUnavailable",
    "SelfFenced",
    "ServicesUnavailable",
    "SiloAddress",
    "SiloService",
    "SiloStopped",
    "SiloUnavailable",
    "StartupFailed",
    "StateUnreadable",
    "StorageError",
    "StorageUnavailable",
    "Stored",
    "TableLost",
    "Tick",
    "Timer",
    "TurnAbandoned",
    "Unauthorized",
    "UniqueValueError",
    "WriteOutcomeUnknown",
    "WrongLoop",
    "acting_for",
    "allow_reentrancy",
    "always_interleave",
    "audited",
    "blocking",
    "caller",
    "cancellable",
    "from_thread",
    "idempotency_key",
    "idempotent",
    "one_way",
    "placement_hint",
    "rate_limited",
    "read_only",
    "request_context",
    "requires",
    "response_timeout",
    "state_schema",
    "suppress_reentrancy",
    "transactional",
    "with_batch_size",
]

# Keys, names and errors from elsewhere must not bring control characters into a log.
filter_loggers()

# gRPC reads it when it is imported, which `grange.transport` does later. Its own lines on standard error, one for each
# port in use and each handshake that fails, only repeat what our errors say, and would hide them.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
