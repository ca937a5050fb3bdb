"""/quality: how what is live answers, beside what answered before it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.deps import ServicesDep, needs
from gateway.models.schemas import NAME
from gateway.policy import Scope
from gateway.quality.schemas import QualityOut
from gateway.wire import Items

router = APIRouter(prefix="/quality", tags=["models"], dependencies=[needs(Scope.ADMIN)])


@router.get("")
async def everything(services: ServicesDep) -> Items[QualityOut]:
    """Of every adapter that is live."""
    return Items(items=await services.quality.all())


@router.get("/{name}")
async def quality(name: Annotated[str, Path(pattern=NAME)], services: ServicesDep) -> QualityOut:
    """`worse` is proven at 99 %, `watch` is a rise by five points that may be chance."""
    return await services.quality.of(name)
