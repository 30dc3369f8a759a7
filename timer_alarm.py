# timer_alarm.py
from grange import Grain

RUNG: list[str] = []


class TimerAlarm(Grain):
    async def wake(self, seconds: float) -> None:
        self.start_timer(self._ring, seconds)

    async def _ring(self) -> None:
        RUNG.append("timer")
