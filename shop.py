# shop.py
from datetime import timedelta

from grange import Cron, Grain, Reminder, Tick

SENT: list[str] = []


class Shop(Grain):
    async def open(self) -> list[Reminder]:
        await self.reminders.set("summary", cron=Cron("0 18 * * *", "Europe/Zurich"), missed="skip")
        await self.reminders.set("stock", every=timedelta(minutes=10))
        return await self.reminders.list()

    async def close(self) -> bool:
        return await self.reminders.cancel("summary") and await self.reminders.cancel("stock")

    async def on_reminder(self, tick: Tick) -> None:
        SENT.append(tick.name)
