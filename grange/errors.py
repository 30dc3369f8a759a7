"""The errors that grange raises, as one tree. Attributes hold the facts; the message names the remedy.

::

    GrangeError
    ├── CallError                     a call to a grain did not end with its result
    │   ├── CallNotExecuted           certainly not executed: repeating the call is safe
    │   │   ├── SiloUnavailable       no silo could take the call
    │   │   ├── Overloaded            a limit refused the call; repeat it after `retry_after` seconds
    │   │   ├── NoSuchGrain           no silo hosts this grain type
    │   │   ├── NoSuchMethod          the grain has no such method
    │   │   ├── ObserverGone          the client of the observer has gone, or has deleted it
    │   │   ├── ActivationFailed      the grain was not activated: in time, by its placement, or by its own doing
    │   │   ├── DeadlockError         the call would have waited for itself, for ever; `cycle` says how
    │   │   ├── Unauthorized          the role of the client does not allow it
    │   │   ├── InvalidCall           an argument or the key does not fit its annotation (also a TypeError)
    │   │   ├── CallerClosed          the client or silo of the reference has ended (also a RuntimeError)
    │   │   ├── WrongLoop             used outside of its event loop or process (also a RuntimeError)
    │   │   └── PayloadTooLarge       the encoded arguments exceed the limit
    │   ├── CallOutcomeUnknown        perhaps executed, perhaps still running: check before you repeat it
    │   │   ├── CallTimeout           no answer within the response time-out (also a TimeoutError)
    │   │   ├── ConnectionLost        the connection broke after the request had left
    │   │   ├── SiloStopped           the silo stopped while it ran the call
    │   │   ├── TurnAbandoned         the call did not end within `max_turn_time`
    │   │   └── EnumerationAborted    a streamed method ended before its generator did
    │   ├── CallCancelled             executed; the method raised CancelledError itself
    │   ├── InvalidResult             executed; its result could not be sent back
    │   └── RemoteError               executed; raised an error that this process has no class for
    ├── InconsistentStateError        another writer changed this state since it was read
    ├── StorageError                  a storage provider could not carry out an operation
    │   ├── StorageUnavailable        the database is unreachable; a write was not applied
    │   ├── StateUnreadable           what is stored does not fit the type of the state
    │   ├── UniqueValueError          another record has this value of a unique index; the write was not applied
    │   └── WriteOutcomeUnknown       the database's answer was lost: the write may have been applied
    ├── SecretUnavailable             a secret cannot be read now, and there is no value of it that may be used
    ├── ConfigurationError            a wrong option, URL, class or grain definition (also a ValueError)
    │   └── OptionError               a wrong option of a silo
    ├── MembershipError               the membership table or the membership protocol failed
    │   ├── MembershipUnavailable     the membership table is unreachable
    │   ├── TableLost                 the database lost the membership table, or was rolled back
    │   ├── JoinFailed                this silo could not become active
    │   ├── DeclaredDead              the other silos declared this silo dead; its process must end
    │   └── SelfFenced                this silo was cut off for too long; its process must end
    ├── ServicesUnavailable           services= of the silo could not reach what it needs (also an OSError)
    ├── StartupFailed                 a start-up task or a silo service of the application failed; the silo stopped
    └── HandshakeRefused              the other side has a different cluster, protocol version or identity
"""

from __future__ import annotations


class GrangeError(Exception):
    """The root of all errors that grange raises on purpose."""


class CallError(GrangeError):
    """A call to a grain did not end with its result. The subclass says whether the call was executed."""


class CallNotExecuted(CallError):
    """The call was certainly not executed: no user code of its method ran. It is safe to repeat it."""


class SiloUnavailable(CallNotExecuted):
    """No silo could take the call: no silo is known or reachable, or all refused until the time was over.

    The call was certainly not executed. Try again later, or check the cluster (`grange silos`).
    """


class Overloaded(CallNotExecuted):
    """A full mailbox or a silo at its admission limit refused the call.

    The call was certainly not executed. Repeat it after `retry_after` seconds.
    """

    def __init__(self, message: str, retry_after: float = 0.1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoSuchGrain(CallNotExecuted):
    """No silo of the cluster hosts this grain type, or none in a version that serves the caller.

    The call was certainly not executed. Add the class to a silo's `grains=`, or check the grain type's name and the
    `version=` of the caller's interface.
    """


class NoSuchMethod(CallNotExecuted):
    """The grain class has no public async method of this name.

    The call was certainly not executed. Caller and silo may have different versions of the class.
    """


class ObserverGone(CallNotExecuted):
    """The client of this observer is not connected to any silo, or has deleted the observer.

    The call was certainly not executed. Forget the observer: its client makes a new one when it is interested again.
    """


class ActivationFailed(CallNotExecuted):
    """The grain was not activated in time, or deactivated itself while activating; or no silo fits its placement.

    Also if the placement strategy of its class failed: the message has the strategy's error.

    The method was certainly not executed. An error that a constructor or `on_activate` raises is not wrapped: the
    caller gets that error itself, with a note. A grain that fails again and again is held down: it is refused with the
    last error for `retry_after` seconds, and not activated.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlockError(CallNotExecuted):
    """The call waited for its turn at a grain that, through other calls, waited for it: a cycle that never ends.

    `cycle` names the calls as (grain, method): each waits for the next, and the last, which is this one, for the first.
    It was certainly not executed. Let the chain back in with `allow_reentrancy()`, mark the method `@read_only` or
    `@always_interleave`, or make one of the calls one-way; to repeat it unchanged fails again.
    """

    def __init__(self, message: str, cycle: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.cycle = cycle


class Unauthorized(CallNotExecuted):
    """The role of this client does not allow the request. The message names the role that does.

    It was certainly not executed. Give the client a token of that role: `Client(token=...)`, or `--token-file` of
    `grange`; to repeat it unchanged fails again.
    """


class InvalidCall(CallNotExecuted, TypeError):
    """An argument or the key does not fit its annotation.

    The call was certainly not executed. Correct the call; to repeat it unchanged fails again.
    """


class CallerClosed(CallNotExecuted, RuntimeError):
    """The client or silo through which the call was made is closed.

    The call was certainly not executed. Make it through a client or silo that runs; to repeat it unchanged fails again.
    """


class WrongLoop(CallNotExecuted, RuntimeError):
    """A client, silo, reference, state or timer was used in another event loop, in a thread, or in a forked process.

    Certainly nothing was executed. Hand the coroutine over with `asyncio.run_coroutine_threadsafe`, or enter a client
    in each loop and each process.
    """


class PayloadTooLarge(CallNotExecuted):
    """The encoded arguments exceed the payload limit. `size` and `limit` are in bytes.

    The call was certainly not executed. Send a reference to the data, or raise `payload_limit`.
    """

    def __init__(self, message: str, size: int = 0, limit: int = 0) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class CallOutcomeUnknown(CallError):
    """The call may have run, may still run, or may never run. Check its effect before you repeat it."""


class CallTimeout(CallOutcomeUnknown, TimeoutError):
    """No answer came within the response time-out. The message gives the last known status of the call.

    The call may have run or may still run. Check its effect before you repeat it.
    """


class ConnectionLost(CallOutcomeUnknown):
    """The connection to the silo broke after the request had left this process.

    The call may have run or may still run. Check its effect before you repeat it.
    """


class SiloStopped(CallOutcomeUnknown):
    """The silo stopped while it ran the call: its drain time-out was over before the call ended.

    The method started, and it is unknown how far it got. Check its effect before you repeat the call.
    """


class TurnAbandoned(CallOutcomeUnknown):
    """The call ran for longer than `max_turn_time` of its silo and held up others, so its activation was given up.

    The method started, and it is unknown how far it got; its state stores nothing any more. Check its effect before you
    repeat the call: the next one runs in a new activation, with the stored state.
    """


class EnumerationAborted(CallOutcomeUnknown):
    """A streamed method ended before its generator did: its activation or silo ended, or no item was fetched for long.

    The items so far are right and in order. The generator was closed, or ended with its silo: begin again where the
    items end. The cause, if any, is the error of the call that should have fetched the next ones.
    """


class CallCancelled(CallError):
    """The method was executed and raised `asyncio.CancelledError` itself. The caller's task was not cancelled."""


class InvalidResult(CallError):
    """The method was executed, but its result does not fit its annotation or the payload limit.

    Correct the method: a repeated call is executed again and fails again.
    """


class RemoteError(CallError):
    """The method was executed and raised an error of a class that this process has not registered.

    `type_name` is the error's qualified class name, `remote_traceback` its traceback as text. To get the error as its
    own class, name that class in `errors=` of the grain class, the silo or the client.
    """

    def __init__(self, message: str, type_name: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.type_name}: {text}" if self.type_name else text


class InconsistentStateError(GrangeError):
    """A write or clear gave an etag other than the stored one: another writer changed the state since it was read.

    The write was not applied. `stored` and `given` are the two etags (None: no record). If the error escapes
    a turn of the grain whose state it is, that activation ends; the next call reads the stored state. It ends no other
    activation, such as that of a grain that called this one. `fenced`: the other silos declared the writer's silo dead,
    and the store refuses all its writes, with any etag.
    """

    def __init__(self, message: str, stored: str | None = None, given: str | None = None, fenced: bool = False) -> None:
        super().__init__(message)
        self.stored = stored
        self.given = given
        self.fenced = fenced


class StorageError(GrangeError):
    """A storage provider could not carry out an operation. The message names the provider and the record.

    If the error of an operation on a `PersistentState` escapes a turn of its grain, that activation ends: its memory
    holds changes that are not stored. The next call activates the grain again and reads the stored state.
    """


class StorageUnavailable(StorageError):
    """The database is unreachable, or did not answer a read.

    A write or clear that raised this was certainly not applied. Repeat the call when the database is back.
    """


class StateUnreadable(StorageError):
    """What is stored does not fit the type of the state: it is damaged, or of a version that this silo cannot read.

    The grain is not activated, and the record stays as it is. `grain_type`, `key` and `state` name the record. `stored`
    is the version of the type that stored it, `known` the version of this silo's type.
    """

    def __init__(
        self, message: str, grain_type: str = "", key: str = "", state: str = "", stored: int = 0, known: int = 0
    ) -> None:
        super().__init__(message)
        self.grain_type = grain_type
        self.key = key
        self.state = state
        self.stored = stored
        self.known = known


class UniqueValueError(StorageError):
    """Another record of this grain type has the value of a field that is declared unique.

    The write was certainly not applied. `field` names the indexed field; the value is not part of the message.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class WriteOutcomeUnknown(StorageError):
    """A write or clear was sent to the database and the answer was lost. It may have been applied, or may be later.

    If the error escapes a turn, that activation ends, as after every `StorageError`. A grain that catches it may write
    again: that write detects the outcome and stores the value once.
    """


class SecretUnavailable(GrangeError):
    """A secret that an option refers to cannot be read now, and there is no earlier value that may be used.

    Its source does not answer or refuses, as Vault when it is down or sealed. A silo that meets it at its start does
    not start; one that runs uses the last good value for `secrets_stale` seconds, and opens no new connection after
    that. The message names the reference and the source, never a value. Bring the source back, or correct the options
    by which it is reached.
    """


class ConfigurationError(GrangeError, ValueError):
    """A wrong option, URL, class or grain definition. The message names it and the remedy."""


class OptionError(ConfigurationError):
    """A wrong option of a silo. `option` is its name, `origin` its variable or file (empty: a keyword)."""

    subject = "option"

    def __init__(self, option: str, problem: str, origin: str = "") -> None:
        super().__init__(f"{self.subject} {option!r}{f' ({origin})' if origin else ''}: {problem}")
        self.option = option
        self.origin = origin
        self.problem = problem

    def given_by(self, origin: str) -> OptionError:
        """The same error for an option that came as a keyword, which the caller took from `origin`."""
        return self if self.origin else type(self)(self.option, self.problem, origin)


class MembershipError(GrangeError):
    """The membership table or the membership protocol failed. The subclass gives the reason."""


class MembershipUnavailable(MembershipError):
    """The membership table is unreachable. Running silos continue; joins and deaths wait until it is back."""


class TableLost(MembershipError):
    """The database no longer holds the membership table that it held before.

    Running silos continue; joins and deaths wait. The silos rebuild the table from their views. A silo never mistakes a
    lost table for a new one.
    """


class JoinFailed(MembershipError):
    """This silo could not become active. The message names the step that failed."""


class DeclaredDead(MembershipError):
    """The other silos declared this silo dead. Its process must end; a restart joins as a new generation."""


class SelfFenced(MembershipError):
    """This silo was cut off from its cluster for too long. Its process must end; restart it where it is connected."""


class StartupFailed(GrangeError):
    """A start-up task, or the start of a silo service, failed. The message names it, and `__cause__` is its error.

    The silo has stopped again. Correct the cause, and start it again.
    """


class ServicesUnavailable(GrangeError, OSError):
    """The function `services=` of a silo raised an OSError at the start, such as a refused connection or a time-out.

    The silo has not started. Start it again when the service is back.
    """


class HandshakeRefused(GrangeError):
    """The other side refused the connection. `code` is a stable name for programs; the message names the remedy.

    `retry_after`: seconds after which it makes sense to try again; 0: the other side did not say.
    """

    def __init__(self, message: str, code: str = "refused", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
