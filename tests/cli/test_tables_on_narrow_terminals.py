"""Tables on narrow terminals."""

import io

from rich.console import Console
from rich.table import Table

from grange.cli.output import fitted

ADDRESS = "127.0.0.1:11111@1795425035311"
FACTS = (ADDRESS, "orders-1", "active", "2026-11-23T09:10:35+00:00", "cart, customer")


def shown(width: int) -> list[str]:
    table = Table(box=None, pad_edge=False)
    for column in ("silo", "name", "status", "started", "grain types"):
        table.add_column(column, no_wrap=column != "grain types")
    table.add_row(*FACTS)
    table.add_row(ADDRESS.replace("11111", "11112"), "orders-2", "active", "2026-11-23T09:10:36+00:00", "cart")
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(fitted(table, console))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table_that_has_room_has_a_line_for_each_row() -> None:
    lines = shown(120)

    assert len(lines) == 3
    assert ADDRESS in lines[1]


def test_on_a_narrow_terminal_addresses_and_times_take_two_lines() -> None:
    lines = shown(68)

    assert "127.0.0.1:11111" in lines[1]
    assert lines[1].split()[1:3] == ["orders-1", "active"]
    assert lines[2].startswith("@1795425035311")
    assert "T09:10:35+00:00" in lines[2]
    assert all(len(line) <= 68 for line in lines)


def test_on_a_very_narrow_terminal_each_fact_has_a_line_and_none_is_cut() -> None:
    lines = shown(45)

    assert [line.split()[-1] for line in lines[:4]] == list(FACTS[:4])
    assert lines[4].endswith("cart, customer")
    assert lines[5] == ""
    assert "".join(shown(30)).count("…") == 0
