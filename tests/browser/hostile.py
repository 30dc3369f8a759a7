"""Texts that a careless page would run, show as another text, or break on. They are keys, states and log lines."""

TEXTS = (
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "\"><svg onload='window.hit = 1'>",
    "';window.hit = 1;//",
    "</script><script>window.hit = 1</script>",
    "javascript:window.hit = 1",
    "<iframe srcdoc='<script>parent.hit = 1</script>'>",
    "${window.hit = 1}",
    "{{constructor.constructor('window.hit = 1')()}}",
    "<a href='javascript:window.hit = 1'>x</a>",
    "<style>*{display:none}</style>",
    "..",
    "a/b?c=d#e%2f%00",
    "\u202egnp.exe",
    "e\u0301" * 40,
    "x" * 2000,
    "__proto__",
    "=1+1",
)
