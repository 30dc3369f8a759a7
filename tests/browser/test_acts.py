"""Acts by the pages: preview, reason, outcome, audit; and what a role does not get."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.conftest import Scene, Tab, end_scene, log_in, start_scene


def act(tab: Tab, verb: str, reason: str, confirm: str = "") -> str:
    """Do an act as a person does, and return what the dialog says of its outcome."""
    tab.page.get_by_role("button", name=f"{verb} …", exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    preview = dialog.get_by_role("button", name="Preview", exact=True)
    dialog.get_by_label("Reason").or_(preview).first.wait_for()
    if preview.is_visible():
        preview.click()
    dialog.get_by_label("Reason").fill(reason)
    if confirm:
        dialog.get_by_label(f"Type {confirm} to confirm").fill(confirm)
    dialog.get_by_role("button", name=verb, exact=True).click()
    outcome = dialog.locator(".outcome")
    outcome.wait_for()
    text = outcome.inner_text()
    dialog.get_by_role("button", name="Close").click()
    return text


def test_a_silo_is_cordoned_and_the_audit_has_the_reason(scene: Scene, context: BrowserContext) -> None:
    tab = log_in(context, scene, "operator")
    tab.open("/silos/silo-1")
    assert act(tab, "Cordon", "it swaps") == "Done."
    tab.open("/actions")
    row = tab.page.locator("tbody tr", has_text="it swaps").first
    row.wait_for()
    assert "token:operator" in row.inner_text()
    tab.check("audit-after-an-act")


def test_the_grains_of_a_type_are_deactivated(scene: Scene, context: BrowserContext) -> None:
    scene.order("rows 20")
    tab = log_in(context, scene)
    tab.open("/grains/order")
    assert act(tab, "Deactivate all", "a new version", confirm="order") == "Done."
    assert tab.errors == []


def test_an_act_without_a_reason_is_not_sent(scene: Scene, context: BrowserContext) -> None:
    tab = log_in(context, scene)
    tab.open("/silos/silo-2")
    tab.page.get_by_role("button", name="Drain …").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Drain", exact=True).click()
    dialog.get_by_text("Give a reason").wait_for()
    tab.check("act-without-a-reason")


@pytest.mark.parametrize("verb", ["Uncordon", "Collect idle", "Log level", "Dump tasks"])
def test_an_act_on_a_silo_is_done(scene: Scene, context: BrowserContext, verb: str) -> None:
    tab = log_in(context, scene, "operator")
    tab.open("/silos/silo-2")
    assert act(tab, verb, "a try") == "Done."
    tab.check(f"silo-after-{verb.replace(' ', '-').lower()}")


def test_a_method_is_called_through_its_form_and_the_grain_deactivated(scene: Scene, context: BrowserContext) -> None:
    tab = log_in(context, scene)
    scene.order("rows 1")
    tab.open("/g/order/order-000000")
    tab.page.get_by_label("Method").wait_for()
    assert act(tab, "Call", "a customer asks") == "Done."
    assert act(tab, "Deactivate", "its cache is stale") == "Done."
    assert tab.errors == []


def test_a_silo_is_drained(context: BrowserContext) -> None:
    scene = start_scene()
    try:
        tab = log_in(context, scene)
        tab.open("/silos/silo-2")
        assert act(tab, "Drain", "a new machine", confirm="silo-2") == "Done."
        assert tab.errors == []
    finally:
        end_scene(scene)


def test_a_silo_that_is_gone_is_declared_dead(context: BrowserContext) -> None:
    scene = start_scene()
    try:
        tab = log_in(context, scene)
        tab.open("/silos/silo-2")
        scene.order("kill")
        assert act(tab, "Declare dead", "its machine burns", confirm="silo-2") == "Done."
        assert tab.errors == []
    finally:
        end_scene(scene)
