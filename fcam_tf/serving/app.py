"""The paths of the server, as an application of FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from fcam_tf.names import printable, unknown
from fcam_tf.serving import predicting, uploads
from fcam_tf.serving.errors import BadRequestError, RefusedError
from fcam_tf.serving.service import Service

_TYPE = "application/json"
_HEADERS = {
    # All of the page is in it.
    "Content-Security-Policy": "default-src 'none'; img-src data: blob:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_RETRY = {"Retry-After": "1"}


def make_app(service: Service, name: str) -> FastAPI:
    """Return the application that serves a model under a name.

    Errors are JSON, ``{"error": "..."}``, as TensorFlow Serving's are: 400 what is at fault in a
    request, 413 too large, 503 busy or not ready, 504 too late.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    # Its pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="fcam serve", lifespan=lifespan, docs_url=None, redoc_url=None)
    page = resources.files("fcam_tf.serving").joinpath("page.html").read_text("utf-8")
    page = page.replace("{{name}}", html.escape(name))

    @app.middleware("http")
    async def measured(
        request: Request, call: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        begin, status = time.perf_counter(), 500
        try:
            response = await call(request)
            status = response.status_code
            return response
        finally:
            path = getattr(request.scope.get("route"), "path", "other")
            service.metrics.requests.labels(path, str(status)).inc()
            service.metrics.seconds.labels(path).observe(time.perf_counter() - begin)

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    async def shown() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)

    @app.get("/healthz")
    @app.head("/healthz", include_in_schema=False)  # as load balancers ask
    async def health() -> dict[str, str]:
        service.ready()
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/localize")
    async def localize(request: Request, *, overlay: bool = False) -> dict[str, Any]:
        async with _admitted(service, request) as served:
            content = await _photo_of(request, await _body_of(request, service.limits.body))
            for other in set(request.query_params) - {"overlay"}:  # such as a class to look for
                raise BadRequestError(unknown(["overlay"], other, "parameter"))
            photo = await service.in_thread(
                uploads.read_upload, content, served.sides, service.limits.pixels
            )
            found = await service.answer(uploads.PIXELS, photo.pixels[None])
            told = functools.partial(uploads.result_json, with_overlay=overlay)
            return await service.in_thread(told, served, photo, found)

    _add_models(app, service, name)
    _add_errors(app)
    return app


def _add_models(app: FastAPI, service: Service, name: str) -> None:
    """Add the paths of TensorFlow Serving."""
    model = f"/v1/models/{name}"

    @app.get(model)
    @app.get(model + "/versions/{version}", include_in_schema=False)
    async def status(version: str = "") -> dict[str, Any]:
        return predicting.status_json(_version(service, version))

    @app.get(f"{model}/metadata")
    @app.get(model + "/versions/{version}/metadata", include_in_schema=False)
    async def metadata(version: str = "") -> dict[str, Any]:
        return predicting.metadata_json(name, _version(service, version))

    @app.post(f"{model}:predict")
    @app.post(model + "/versions/{version}:predict", include_in_schema=False)
    async def predict(request: Request, version: str = "") -> Response:
        _version(service, version)
        async with _admitted(service, request) as served:
            body = await _body_of(request, service.limits.body)
            read = await service.in_thread(predicting.read_request, served, body)
            signature, rows, in_columns = read
            if served.signatures[signature].spec.dtype.name == "string":
                await service.in_thread(uploads.check_files, rows, service.limits.pixels)
            found = await service.answer(signature, rows)
            told = functools.partial(predicting.answer_json, in_columns=in_columns)
            return Response(await service.in_thread(told, found), media_type=_TYPE)


def _add_errors(app: FastAPI) -> None:
    """Answer errors in JSON."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        headers = _RETRY if error.status == 503 else None
        return _told(str(error), error.status, headers)

    @app.exception_handler(BadRequestError)
    async def bad(_: Request, error: BadRequestError) -> JSONResponse:
        return _told(str(error), 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        came = f"{first['msg']}. Received: {str(first['input'])[:100]!r}."
        return _told(f"`{first['loc'][-1]}`: {came}", 400)

    @app.exception_handler(HTTPException)
    async def refused_by_path(request: Request, error: HTTPException) -> JSONResponse:
        words = f"{request.method} {request.url.path[:200]}: {error.detail}"
        return _told(words, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> JSONResponse:
        return _told("the server failed; its log says why", 500)


def _told(words: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    # What a client sent may have characters in it that UTF-8 does not.
    return JSONResponse({"error": printable(words)}, status, headers)


@contextlib.asynccontextmanager
async def _admitted(service: Service, request: Request) -> AsyncIterator[Any]:
    try:
        async with service.admitted() as served:
            yield served
    except ClientDisconnect:
        raise RefusedError(400, "the connection ended within the request") from None
    except RefusedError as error:
        if error.status == 503:  # else a client that still sends would see no answer
            with contextlib.suppress(RefusedError, ClientDisconnect, TimeoutError):
                async with asyncio.timeout(service.limits.timeout):
                    async for _ in _parts_of(request, service.limits.body):
                        pass  # and keeps nothing, as there may be many of them
        raise


async def _body_of(request: Request, most: int) -> bytes:
    body = b"".join([part async for part in _parts_of(request, most)])
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise RefusedError(415, f"the body is compressed by {encoding[:20]}; send it as it is")
    return body


async def _parts_of(request: Request, most: int) -> AsyncGenerator[bytes]:
    """Read a request, no more of it than is taken."""
    too_large = RefusedError(413, f"the request is larger than {most / 2**20:g} MB")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise too_large
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large
        yield part


async def _photo_of(request: Request, body: bytes) -> bytes:
    """Return the photo of a request: all of it, or the file of a form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        content = body
    else:

        async def stream() -> AsyncGenerator[bytes]:
            yield body

        try:
            form = await MultiPartParser(
                request.headers, stream(), max_files=1, max_fields=8
            ).parse()
        except (MultiPartException, KeyError) as error:
            raise BadRequestError(f"the form cannot be read: {error}") from None
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        content = await files[0].read() if files else b""
        await form.close()
    if not content:
        raise BadRequestError(
            "there is no photo in the request; send one as its body, or as a file of a form"
        )
    return content


def _version(service: Service, version: str) -> Any:
    served = service.ready()
    if version not in ("", served.version):
        raise HTTPException(404, f"there is version {served.version} alone")
    return served
