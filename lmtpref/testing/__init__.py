"""Servers, faults and fixtures for tests."""
