"""The audit log on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class AuditOut(BaseModel):
    id: str
    created_at: datetime
    user_id: str
    key_id: str
    request_id: str
    action: str
    """Such as `model.deploy`; `model.deploy.failed` follows where it failed."""
    target: str
    detail: dict[str, Any]
