"""How the log of an organization is sealed: how far, by which key, the newest checkpoint, the mode, and what an auditor is handed."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromQuery

from aegis_stream.api.problems import status_of
from aegis_stream.api.service import control_of
from aegis_stream.control import evidence, log_proofs
from aegis_stream.control import proof as control
from aegis_stream.domain.organization import ProofMode
from aegis_stream.errors import Conflict, FieldProblem, Invalid, Limited, Unavailable

from .commands import ShownCall, quoted, shown_call
from .gate import form_of, origin_of, visit_of
from .page import base_of, done, page, problems_of, see_other
from .proof_words import MODES, proof_headline, words_of
from .rights import PROOF
from .words import number

AnyRequest = Request[Any, Any, Any]
LABELS = {"from_size": "Size of a checkpoint that you kept"}


@get(PROOF)
async def show_proof(request: AnyRequest) -> Response[str]:
    """Show how far the log is sealed."""
    return await _proof_page(request, {})


@get(PROOF + "/checkpoint")
async def download_checkpoint(request: AnyRequest) -> Response[bytes]:
    """Send the newest signed checkpoint as a file. Raises: NotFound when nothing is sealed."""
    visit = visit_of(request)
    found = await log_proofs.checkpoint(control_of(request), visit.caller)
    return attached(found.note.encode(), f"checkpoint-{visit.org_id}-{found.tree.size}.txt")


@get(PROOF + "/bundle")
async def download_bundle(request: AnyRequest, from_size: FromQuery[str] = "") -> Response[Any]:
    """Send what an auditor is handed. Raises: NotFound when nothing is sealed."""
    asked = from_size.strip().replace(",", "")
    try:
        size = _number(asked) if asked else None
        found = await evidence.bundle(control_of(request), visit_of(request).caller, size)
    except (Invalid, Conflict) as error:
        return await _proof_page(request, problems_of(error), from_size, status=status_of(error)[0])
    return attached(found.data, f"{found.name}.zip", "application/zip")


@get(PROOF + "/mode")
async def ask_mode(request: AnyRequest, to: FromQuery[str] = "") -> Response[Any]:
    """Say what happens when another mode is chosen, before it is."""
    deps, visit = control_of(request), visit_of(request)
    here = _path_of(request)
    found = await control.show(deps, visit.org_id)
    mode = _mode(to)
    if mode is None or mode is found.organization.proof:
        return see_other(here)
    return await page(
        request,
        "proof_mode.html",
        title="Change how the log is sealed",
        here=here,
        now_in=found.organization.proof,
        chosen=words_of(mode),
        call=_mode_call(request, mode),
    )


@post(PROOF + "/mode", status_code=303)
async def set_mode(request: AnyRequest) -> Response[bytes]:
    """Choose how the log is sealed. Raises: Invalid for an unknown mode. Conflict when it is not as the form showed it."""
    visit, form = visit_of(request), form_of(request)
    mode, seen = _mode(form.one("to")), form.one("seen")
    if mode is None or not seen:
        raise Invalid("the form lacks a mode, so nothing was changed: open the page again")
    await control.set_mode(control_of(request), visit.caller, visit.org_id, mode, seen=seen)
    trail = f"{base_of(visit.org_id)}/audit?action=proof_change"
    return done(request, _path_of(request), f"The mode is {mode} from now on.", href=trail)


@post(PROOF + "/seal", status_code=303)
async def seal_now(request: AnyRequest) -> Response[Any]:
    """Have everything sealed that is recorded; waits for the sealer, at most 15 s."""
    try:
        sealed = await log_proofs.seal_now(control_of(request), visit_of(request).caller)
    except (Conflict, Limited, Unavailable) as error:
        status, _ = status_of(error)
        return await _proof_page(request, problems_of(error), title="Not all is sealed", status=status)
    text = f"The events up to {number(sealed.end)} are sealed: export up to there."
    return done(request, _path_of(request), text, href="#checkpoint")


def attached(data: bytes, name: str, media: str = "text/plain") -> Response[bytes]:
    """Return an answer that a browser keeps as a file; `name` has no quotes."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=media, headers=headers)


async def _proof_page(
    request: AnyRequest,
    problems: dict[str, str],
    from_size: str = "",
    *,
    title: str = "Nothing was downloaded",
    status: int = 200,
) -> Response[str]:
    deps, visit = control_of(request), visit_of(request)
    settings, base = deps.settings.proof, base_of(visit.org_id)
    found = await control.show(deps, visit.org_id)
    headline = proof_headline(found, base, deps.clock.now(), is_on=settings.enabled, pause_s=settings.seconds)
    return await page(
        request,
        "proof.html",
        title="Proof",
        status=status,
        headline=headline,
        stays=True,
        here=_path_of(request),
        found=found,
        log=found.log if found.log is not None and found.log.note else None,
        modes=MODES,
        labels=LABELS,
        problems=problems,
        problem_title=title,
        from_size=from_size,
        checkpoint_call=shown_call(
            origin_of(request),
            "GET",
            f"/api/orgs/{visit.org_id}/proof/checkpoint",
            aegis=f"aegis proof show --org {quoted(visit.org_id)} --json",
        ),
        bundle_call=shown_call(
            origin_of(request),
            "GET",
            f"/api/orgs/{visit.org_id}/proof/bundle",
            aegis=f"aegis proof bundle --org {quoted(visit.org_id)}",
            is_file=True,
        ),
        seal_call=shown_call(
            origin_of(request),
            "POST",
            f"/api/orgs/{visit.org_id}/proof/checkpoint",
            aegis=f"aegis proof seal --org {quoted(visit.org_id)}",
        ),
        mode_call=_mode_call(request, ProofMode.STREAM),
    )


def _mode_call(request: AnyRequest, mode: ProofMode) -> ShownCall:
    org_id = visit_of(request).org_id
    return shown_call(
        origin_of(request),
        "PATCH",
        f"/api/orgs/{org_id}",
        {"proof": mode.value},
        aegis=f"aegis proof mode --org {quoted(org_id)} {mode}",
    )


def _path_of(request: AnyRequest) -> str:
    return f"{base_of(visit_of(request).org_id)}/proof"


def _mode(text: str) -> ProofMode | None:
    return ProofMode(text) if text in tuple(ProofMode) else None


def _number(text: str) -> int:
    """Read a size. Raises: Invalid."""
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        message = "must be a number, the second line of the checkpoint"
        raise Invalid(f"from_size {message}", problems=(FieldProblem("from_size", message),))
    return int(text)


HANDLERS = [show_proof, download_checkpoint, download_bundle, ask_mode, set_mode, seal_now]
