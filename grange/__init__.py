"""grange: virtual actors for asyncio."""
