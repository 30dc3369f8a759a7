# mail.py
from grange import Grain, Job, Retry

MAILS: list[tuple[str, str]] = []


class Mailbox(Grain):
    async def on_job(self, job: Job) -> None:
        if job.attempt == 1:
            raise ConnectionError("the mail server is away")
        MAILS.append((self.key, job.metadata["subject"]))


class Customer(Grain):
    async def register(self) -> str:
        box = self.get_grain(Mailbox, self.key)
        retry = Retry(attempts=10, first=5, longest=3600)
        job = await self.jobs.schedule(box, 600, name="welcome", metadata={"subject": "Welcome"}, retry=retry)
        return job.id

    async def waiting(self) -> list[str]:
        return [job.name for job in await self.jobs.list(self.get_grain(Mailbox, self.key))]
