# order.py
from grange import Grain, Job, PersistentState, transactional

SHIPPED: list[str] = []


class Order(Grain):
    def __init__(self, paid: PersistentState[bool]) -> None:
        self.paid = paid

    @transactional
    async def pay(self, amount: int) -> None:
        self.paid.value = True
        await self.jobs.schedule(self.reference, 60, name="ship")
        if amount < 10:
            raise ValueError("too little")

    async def on_job(self, job: Job) -> None:
        SHIPPED.append(self.key)
