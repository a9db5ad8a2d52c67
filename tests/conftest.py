"""Fixtures that several test files share."""

from tests.thirdparty import weather

__all__ = ["weather"]
