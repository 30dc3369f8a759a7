from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_SILO: _ClassVar[Role]
    ROLE_CLIENT: _ClassVar[Role]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_MSGPACK: _ClassVar[Encoding]
    ENCODING_JSON: _ClassVar[Encoding]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_NOT_HERE: _ClassVar[Reason]
    REASON_NOT_READY: _ClassVar[Reason]
    REASON_OVERLOADED: _ClassVar[Reason]
    REASON_NO_SUCH_GRAIN: _ClassVar[Reason]
    REASON_NO_SUCH_METHOD: _ClassVar[Reason]
    REASON_INVALID_CALL: _ClassVar[Reason]
    REASON_PAYLOAD_TOO_LARGE: _ClassVar[Reason]
    REASON_EXPIRED: _ClassVar[Reason]
    REASON_ACTIVATION_FAILED: _ClassVar[Reason]
    REASON_CANCELLED: _ClassVar[Reason]
    REASON_LOST: _ClassVar[Reason]
    REASON_UNAUTHORIZED: _ClassVar[Reason]
ROLE_SILO: Role
ROLE_CLIENT: Role
ENCODING_MSGPACK: Encoding
ENCODING_JSON: Encoding
REASON_UNSPECIFIED: Reason
REASON_NOT_HERE: Reason
REASON_NOT_READY: Reason
REASON_OVERLOADED: Reason
REASON_NO_SUCH_GRAIN: Reason
REASON_NO_SUCH_METHOD: Reason
REASON_INVALID_CALL: Reason
REASON_PAYLOAD_TOO_LARGE: Reason
REASON_EXPIRED: Reason
REASON_ACTIVATION_FAILED: Reason
REASON_CANCELLED: Reason
REASON_LOST: Reason
REASON_UNAUTHORIZED: Reason

class ProbeQuestion(_message.Message):
    __slots__ = ("cluster", "target", "body")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    target: SiloAddress
    body: bytes
    def __init__(self, cluster: _Optional[str] = ..., target: _Optional[_Union[SiloAddress, _Mapping]] = ..., body: _Optional[bytes] = ...) -> None: ...

class ProbeAnswer(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "refusal", "requests", "responses", "rejections", "cancels", "statuses")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    REJECTIONS_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    refusal: Refusal
    requests: _containers.RepeatedCompositeFieldContainer[Request]
    responses: _containers.RepeatedCompositeFieldContainer[Response]
    rejections: _containers.RepeatedCompositeFieldContainer[Rejection]
    cancels: _containers.RepeatedCompositeFieldContainer[Cancel]
    statuses: _containers.RepeatedCompositeFieldContainer[Status]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., requests: _Optional[_Iterable[_Union[Request, _Mapping]]] = ..., responses: _Optional[_Iterable[_Union[Response, _Mapping]]] = ..., rejections: _Optional[_Iterable[_Union[Rejection, _Mapping]]] = ..., cancels: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., statuses: _Optional[_Iterable[_Union[Status, _Mapping]]] = ...) -> None: ...

class SiloAddress(_message.Message):
    __slots__ = ("host", "port", "generation")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    generation: int
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("cluster", "role", "name", "address", "target", "protocol_min", "protocol_max", "manifest", "payload_limit", "packed", "token", "client_key")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MIN_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAX_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    role: Role
    name: str
    address: SiloAddress
    target: SiloAddress
    protocol_min: int
    protocol_max: int
    manifest: str
    payload_limit: int
    packed: int
    token: str
    client_key: bytes
    def __init__(self, cluster: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., name: _Optional[str] = ..., address: _Optional[_Union[SiloAddress, _Mapping]] = ..., target: _Optional[_Union[SiloAddress, _Mapping]] = ..., protocol_min: _Optional[int] = ..., protocol_max: _Optional[int] = ..., manifest: _Optional[str] = ..., payload_limit: _Optional[int] = ..., packed: _Optional[int] = ..., token: _Optional[str] = ..., client_key: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("cluster", "address", "protocol", "manifest", "payload_limit", "packed")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    address: SiloAddress
    protocol: int
    manifest: str
    payload_limit: int
    packed: int
    def __init__(self, cluster: _Optional[str] = ..., address: _Optional[_Union[SiloAddress, _Mapping]] = ..., protocol: _Optional[int] = ..., manifest: _Optional[str] = ..., payload_limit: _Optional[int] = ..., packed: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "message", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("id", "grain_type", "grain_key", "method", "args", "encoding", "timeout_ms", "context", "one_way", "view", "traceparent", "chain", "interface_version", "principal")
    ID_FIELD_NUMBER: _ClassVar[int]
    GRAIN_TYPE_FIELD_NUMBER: _ClassVar[int]
    GRAIN_KEY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ONE_WAY_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    id: int
    grain_type: str
    grain_key: str
    method: str
    args: bytes
    encoding: Encoding
    timeout_ms: int
    context: bytes
    one_way: bool
    view: int
    traceparent: str
    chain: bytes
    interface_version: int
    principal: bytes
    def __init__(self, id: _Optional[int] = ..., grain_type: _Optional[str] = ..., grain_key: _Optional[str] = ..., method: _Optional[str] = ..., args: _Optional[bytes] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., timeout_ms: _Optional[int] = ..., context: _Optional[bytes] = ..., one_way: _Optional[bool] = ..., view: _Optional[int] = ..., traceparent: _Optional[str] = ..., chain: _Optional[bytes] = ..., interface_version: _Optional[int] = ..., principal: _Optional[bytes] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("id", "payload", "failed")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    id: int
    payload: bytes
    failed: bool
    def __init__(self, id: _Optional[int] = ..., payload: _Optional[bytes] = ..., failed: _Optional[bool] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("id", "reason", "message", "hint", "retry_after_ms", "fault")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    id: int
    reason: Reason
    message: str
    hint: SiloAddress
    retry_after_ms: int
    fault: bytes
    def __init__(self, id: _Optional[int] = ..., reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., hint: _Optional[_Union[SiloAddress, _Mapping]] = ..., retry_after_ms: _Optional[int] = ..., fault: _Optional[bytes] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("id", "interrupt")
    ID_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    id: int
    interrupt: bool
    def __init__(self, id: _Optional[int] = ..., interrupt: _Optional[bool] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("id", "text")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: int
    text: str
    def __init__(self, id: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...
