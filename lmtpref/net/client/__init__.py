"""The clients, for threads and for asyncio."""
