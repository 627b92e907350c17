"""Sizes and times as people read them."""

from __future__ import annotations

__all__ = ["bytes_text", "seconds_text"]


def bytes_text(count: int) -> str:
    """Bytes in decimal units, as engines and registries count them.

    >>> bytes_text(999), bytes_text(1_250_000), bytes_text(45_000_000)
    ('999 B', '1.2 MB', '45 MB')
    """
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.0f} {unit}" if amount >= 9.95 else f"{amount:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """Seconds, or minutes and seconds.

    >>> seconds_text(0.24), seconds_text(12.3), seconds_text(200)
    ('0.2 s', '12 s', '3 min 20 s')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
