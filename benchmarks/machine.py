"""The facts about the machine and the versions, without which no figure means anything.

Must not tell anything that names the machine.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

import psutil

PACKAGES = (
    "flask",
    "sqlalchemy",
    "psycopg",
    "rq",
    "redis",
    "flask-mail",
    "django",
    "django-post-office",
    "django-mailer",
)


def facts() -> dict[str, object]:
    """Return what is written into the JSON and under the table."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": round(os.getloadavg()[0], 2),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
