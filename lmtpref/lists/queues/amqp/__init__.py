"""Queues in RabbitMQ: quorum queues, publisher confirms."""
