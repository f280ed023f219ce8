# SPDX-License-Identifier: Apache-2.0
"""HTTP of the co-signing service: ``POST /v1/sign`` and ``GET /v1/identity``, with limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from keeper.cosign.messages import PATH
from keeper.cosign.service import Answer, Cosigner

IDENTITY = "/v1/identity"
BODY_S = 5.0


def cosign_routes(service: Cosigner, *, max_body_bytes: int, timeout_s: float) -> list[BaseRoute]:
    """Routes of the service.

    Parameters
    ----------
    timeout_s
        Longest time a judgement may take; the requester is told to ask again, the judgement is finished all the same.
    """

    async def sign(request: Request) -> JSONResponse:
        wait_s = service.admit(request.client.host if request.client is not None else "")
        if wait_s > 0.0:
            return _response((429, {"error": "too many requests", "retry_after_s": int(wait_s) + 1}))
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request, max_body_bytes)
        except (TimeoutError, ClientDisconnect):
            return _response((408, {"error": f"the body did not come within {BODY_S:g} s"}))
        if body is None:
            return _response((413, {"error": f"a body may have {max_body_bytes} bytes"}))
        try:
            async with asyncio.timeout(timeout_s):
                return _response(await run_in_threadpool(service.answer, body))
        except TimeoutError:
            return _response((503, {"error": f"not judged within {timeout_s:g} s; ask again"}))

    def identity(_request: Request) -> JSONResponse:
        return JSONResponse(service.identity())

    return [Route(PATH, sign, methods=["POST"]), Route(IDENTITY, identity, methods=["GET"])]


async def _body(request: Request, most: int) -> bytes | None:
    """Body of a request, None where it is too long."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)


def _response(answer: Answer) -> JSONResponse:
    status, body = answer
    headers = {"Cache-Control": "no-store"}
    if "retry_after_s" in body:
        headers["Retry-After"] = str(body["retry_after_s"])
    return JSONResponse(body, status, headers)
