"""Every error that grange raises, as one tree. Errors carry facts as attributes and say what to do next.

::

    GrangeError
    ├── CallError                     a call to a grain did not end with its result
    │   ├── CallNotExecuted           certainly not executed: repeating the call is safe
    │   │   ├── SiloUnavailable       no silo could take the call
    │   │   ├── Overloaded            refused by a bound; `retry_after` says when to try again
    │   │   ├── NoSuchGrain           no silo hosts this grain type
    │   │   ├── NoSuchMethod          the grain has no such method
    │   │   ├── ActivationFailed      the grain could not be activated in time, or ended itself while activating
    │   │   ├── InvalidCall           an argument or the key does not fit its annotation (also a TypeError)
    │   │   └── PayloadTooLarge       the encoded arguments are over the limit
    │   ├── CallOutcomeUnknown        may have run, may run still: look before you repeat
    │   │   ├── CallTimeout           no answer within the response time-out (also a TimeoutError)
    │   │   ├── ConnectionLost        the connection broke after the request had left
    │   │   └── SiloStopped           the silo stopped while the call ran there, and did not wait for its end
    │   ├── CallCancelled             executed; the method ended by cancelling itself
    │   ├── InvalidResult             executed; its result could not be sent back
    │   └── RemoteError               executed; raised an error that this process has no class for
    ├── InconsistentStateError        somebody else wrote this state since it was read
    ├── StorageError                  a storage provider could not do its work
    │   ├── StorageUnavailable        the database cannot be reached; nothing was changed
    │   └── WriteOutcomeUnknown       the database's answer was lost: the change may have been stored
    ├── ConfigurationError            a wrong option, URL, class or grain definition (also a ValueError)
    ├── MembershipError               the cluster's table or protocol refused
    │   ├── MembershipUnavailable     the membership table cannot be reached
    │   ├── TableLost                 the database lost the membership table, or went back in time
    │   ├── JoinFailed                this silo could not become active
    │   ├── DeclaredDead              the others declared this silo dead; its process must end
    │   └── SelfFenced                this silo was cut off for too long; its process must end
    └── HandshakeRefused              the other side speaks another cluster, version or identity
"""

from __future__ import annotations


class GrangeError(Exception):
    """Root of every error that grange raises on purpose."""


class CallError(GrangeError):
    """A call to a grain did not end with its result. The subclass says whether it was executed."""


class CallNotExecuted(CallError):
    """The call was certainly not executed: no user code ran for it, and repeating it is safe."""


class SiloUnavailable(CallNotExecuted):
    """No silo could take the call: none is known, reachable or willing. Try again, or look at the cluster."""


class Overloaded(CallNotExecuted):
    """A bounded mailbox, queue or silo refused the call. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoSuchGrain(CallNotExecuted):
    """No silo of the cluster hosts this grain type. Is its class in the silo's `grains=`?"""


class NoSuchMethod(CallNotExecuted):
    """The grain class has no public async method of this name."""


class ActivationFailed(CallNotExecuted):
    """The grain could not be activated in time, or deactivated itself while activating.

    What a constructor or `on_activate` raises reaches the caller as itself instead, with a note that says so.
    """


class InvalidCall(CallNotExecuted, TypeError):
    """An argument or a key does not fit the method's annotation; refused before any user code ran."""


class PayloadTooLarge(CallNotExecuted):
    """The encoded arguments are larger than the payload limit. `size` and `limit` are in bytes."""

    def __init__(self, message: str, size: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class CallOutcomeUnknown(CallError):
    """The call may have run, may still run, or may never run. Look before you repeat it."""


class CallTimeout(CallOutcomeUnknown, TimeoutError):
    """No answer came within the response time-out. The message names the last known status of the call."""


class ConnectionLost(CallOutcomeUnknown):
    """The connection to the silo broke after the request had left this process."""


class SiloStopped(CallOutcomeUnknown):
    """The silo was asked to stop while it ran the call, and its drain time-out was over before the call ended."""


class CallCancelled(CallError):
    """The method was executed and ended by raising `asyncio.CancelledError`; your own task was not cancelled."""


class InvalidResult(CallError):
    """The method was executed, but its result does not fit its annotation or the payload limit."""


class RemoteError(CallError):
    """The method was executed and raised an error of a class that this process has not registered.

    `type_name` is the error's qualified class name and `remote_traceback` its traceback as text. To receive your own
    class, name it in `errors=` of the grain class, the silo or the client.
    """

    def __init__(self, message: str, type_name: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.type_name}: {text}" if self.type_name else text


class InconsistentStateError(GrangeError):
    """A write or clear named an etag that is not the stored one: somebody else wrote in between.

    `stored` and `given` are the two etags (None: no record). If it escapes a grain method, only that activation is
    dropped; the next call activates the grain anew and reads the stored state. `fenced`: the other silos declared the
    writer's silo dead; whatever etag it names, nothing it writes is stored any more.
    """

    def __init__(self, message: str, stored: str | None = None, given: str | None = None, fenced: bool = False) -> None:
        super().__init__(message)
        self.stored = stored
        self.given = given
        self.fenced = fenced


class StorageError(GrangeError):
    """A storage provider could not do what was asked; the message names the provider and the record."""


class StorageUnavailable(StorageError):
    """The database cannot be reached, or did not answer a read. A write or clear that raised this was not applied."""


class WriteOutcomeUnknown(StorageError):
    """A write or clear left for the database and its answer was lost: it may have been applied, or may be yet.

    If it escapes a grain method, that activation is dropped; the next call activates the grain anew and reads what is
    stored. A grain that catches it may write again: that finds out, and stores its value once.
    """


class ConfigurationError(GrangeError, ValueError):
    """A wrong option, URL, class or grain definition. The message names the key and the remedy."""


class MembershipError(GrangeError):
    """The membership table or protocol refused."""


class MembershipUnavailable(MembershipError):
    """The membership table cannot be reached. Running silos go on; joins and deaths wait."""


class TableLost(MembershipError):
    """The database no longer holds the membership table it held before. Running silos go on; joins and deaths wait.

    The silos rebuild it from what they know: a silo never takes a lost table for a fresh one.
    """


class JoinFailed(MembershipError):
    """This silo could not become active; the message says which step failed."""


class DeclaredDead(MembershipError):
    """The other silos declared this silo dead; its process must end and may come back as a new generation."""


class SelfFenced(MembershipError):
    """This silo was cut off from its cluster for so long that its process must end and be started where it is not."""


class HandshakeRefused(GrangeError):
    """The other side refused the connection: `code` is a stable word, the message says what to change."""

    def __init__(self, message: str, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code
