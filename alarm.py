# alarm.py
from grange import Grain, Tick

RUNG: list[str] = []


class Alarm(Grain):
    async def wake(self, seconds: float) -> None:
        await self.reminders.set("wake", seconds, payload={"song": "birds"})

    async def on_reminder(self, tick: Tick) -> None:
        RUNG.append(tick.payload["song"])
