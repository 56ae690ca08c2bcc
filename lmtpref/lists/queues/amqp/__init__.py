"""Queues in RabbitMQ, as quorum queues with publisher confirms."""
