"""Signing in to the console: the token in a cookie that no script and no other site can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from reconciler_dagster.core.adoption import State
from reconciler_dagster.core.sync import MAIN, Pair
from reconciler_dagster.notices import store
from reconciler_dagster.portal import auth, plain, queries
from reconciler_dagster.portal.auth import Role, User
from reconciler_dagster.portal.console.local import HOME, local_path
from reconciler_dagster.portal.problems import Problem, not_found
from reconciler_dagster.portal.shown import Shown, in_order
from reconciler_dagster.portal.state import Portal, ThePortal, portal_of
from reconciler_dagster.postgres import adoption

SESSION, CLIENT, NOTICE = "portal_session", "portal_client", "portal_notice"

router = APIRouter(prefix="/console", include_in_schema=False)


def set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """A cookie of the console's own paths, gone with the browser's session."""
    response.set_cookie(
        name,
        value,
        path=HOME,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def same_origin(request: Request) -> None:
    """Refuse a form that another site's page has sent, whatever the cookie says."""
    site = request.headers.get("sec-fetch-site")
    host = request.headers.get("host", "")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site not in (None, "same-origin") or not host or origin != host:
        raise Problem(403, "This form was sent from elsewhere. Send it from the console itself.")


@dataclass(frozen=True)
class Visit:
    """A signed-in person's request: who it is, and which client is being looked at."""

    request: Request
    portal: Portal
    user: User
    clients: Sequence[queries.Client]
    client: queries.Client | None

    def require_client(self) -> queries.Client:
        """The client whose sync this person may see; raises 403 or 404 otherwise."""
        self.user.require_admin()
        if self.client is None:
            raise not_found("client yet: the portal's clients table is empty")
        return self.client

    @cached_property
    def shown(self) -> dict[str, Shown]:
        """The syncs that are in force for the client that is looked at."""
        return self.portal.shown(self.client.airtable_base_id if self.client else None)

    @property
    def rows(self) -> str:
        """What is synced, in a word: `leads` where it is these alone."""
        return next(iter(self.shown.values())).plural if len(self.shown) == 1 else "rows"

    def count_rows(self, count: int) -> str:
        """A number of them."""
        if len(self.shown) == 1:
            return next(iter(self.shown.values())).rows(count)
        return f"{count:,} row{'' if count == 1 else 's'}"

    def require_sync(self, name: str) -> tuple[Pair, Shown]:
        """A sync of the client that is looked at; raises 403 or 404 otherwise."""
        client = self.require_client()
        if name not in self.shown:
            raise not_found("table here: it is not synced")
        return Pair(str(client.id), self.shown[name].map), self.shown[name]

    @property
    def pairs(self) -> list[Pair]:
        """The client that is looked at with each of its syncs; raises 403 or 404 without one."""
        client = self.require_client()
        return [Pair(str(client.id), shown.map) for shown in self.shown.values()]

    def require_leads(self) -> Shown:
        """How the leads are mapped; raises 404 where they are not synced."""
        if MAIN not in self.shown:
            raise not_found("page here: leads are not synced")
        return self.shown[MAIN]

    def page(self, template: str, **context: Any) -> Response:
        """A page with what the frame around it needs."""
        notice = unquote(self.request.cookies.get(NOTICE, ""))
        kind, _, message = notice.partition(" ")
        everywhere = {
            "user": self.user,
            "clients": self.clients,
            "client": self.client,
            "badges": self._badges(),
            "tables": in_order(self.shown),
            "leads": self.shown.get(MAIN),
            "rows": self.rows,
            "count_rows": self.count_rows,
            "refusal": partial(plain.refusal, self.user),
            "notice": {"kind": kind, "message": message} if message else None,
            "ui_url": self.portal.settings.dagster_ui_url
            if self.user.role is Role.SUPER_ADMIN
            else None,
        }
        templates = self.request.app.state.templates
        page: Response = templates.TemplateResponse(
            self.request, template, {**everywhere, **context}
        )
        if message:
            page.delete_cookie(NOTICE, path=HOME)
        return page

    def _badges(self) -> dict[str, int]:
        if self.client is None or not self.user.is_admin:
            return {"quarantine": 0, "deletions": 0, "adoption": 0, "notices": 0}
        with self.portal.transaction() as connection:
            notices = sum(store.standing(connection).values()) if self.user.sees_all else 0
            waiting = queries.waiting(connection, self.client.id)
            standing = adoption.standing(connection, str(self.client.id))
            new = self.portal.why_without(standing)
            return {
                "notices": notices,
                "quarantine": waiting.quarantine,
                "deletions": waiting.deletions,
                "adoption": int(standing.state is State.NEW or bool(new)),
            }

    def go(self, path: str, message: str = "", kind: str = "done") -> RedirectResponse:
        """To another page, which shows the message once."""
        response = RedirectResponse(f"{HOME}{path}", 303)
        if message:
            set_cookie(self.request, response, NOTICE, quote(f"{kind} {message}"))
        return response


def _visit(request: Request, portal: Annotated[Portal, Depends(portal_of)]) -> Visit:
    token = request.cookies.get(SESSION)
    if not token:
        raise Problem(401, "")
    user = portal.sign_in(token, request)
    with portal.transaction() as connection:
        clients = queries.clients(connection, user)
    chosen = request.cookies.get(CLIENT)
    client = next((each for each in clients if str(each.id) == chosen), None)
    return Visit(request, portal, user, clients, client or next(iter(clients), None))


def _visit_by_form(request: Request, portal: Annotated[Portal, Depends(portal_of)]) -> Visit:
    same_origin(request)
    return _visit(request, portal)


SignedInVisit = Annotated[Visit, Depends(_visit)]
SentForm = Annotated[Visit, Depends(_visit_by_form)]
"""A form that a signed-in person has sent from a page of the console itself."""


def to_sign_in(request: Request, problem: Problem) -> Response:
    """To the sign-in page, and from there back to the page that was asked for."""
    wanted = request.scope["path"] if request.method == "GET" else HOME
    address = f"{HOME}/sign-in?next={quote(wanted)}"
    if request.headers.get("hx-request"):
        return Response(headers={"HX-Redirect": f"{HOME}/sign-in"})
    response = RedirectResponse(address, 303)
    if problem.detail:
        set_cookie(request, response, NOTICE, quote(f"error {problem.detail}"))
    return response


@router.get("/sign-in")
def sign_in_page(request: Request, portal: ThePortal, next: str = HOME) -> Response:
    """The sign-in page; in the demo with its users to choose from."""
    users: list[User] = []
    if portal.portal_settings.demo:
        with portal.transaction() as connection:
            users = auth.all_users(connection)
    notice = unquote(request.cookies.get(NOTICE, "")).partition(" ")[2]
    page: Response = request.app.state.templates.TemplateResponse(
        request, "sign_in.html", {"users": users, "next": local_path(next), "notice": notice}
    )
    page.delete_cookie(NOTICE, path=HOME)
    return page


@router.post("/sign-in", dependencies=[Depends(same_origin)])
def sign_in(
    request: Request,
    portal: ThePortal,
    token: Annotated[str, Form(max_length=8192)] = "",
    user_id: Annotated[UUID | None, Form()] = None,
    next: Annotated[str, Form(max_length=2000)] = HOME,
) -> Response:
    """Sign in with a token of the portal, or in the demo as one of its users."""
    if user_id is not None:
        if not portal.portal_settings.demo:
            raise Problem(403, "Only the demo lets people in without a token.")
        with portal.transaction() as connection:
            user = auth.find_user(connection, user_id)
        if user is None:
            raise not_found("user")
        token = portal.tokens.mint(user)
    token = token.strip()
    portal.sign_in(token, request)
    response = RedirectResponse(local_path(next), 303)
    set_cookie(request, response, SESSION, token)
    return response


@router.post("/sign-out", dependencies=[Depends(same_origin)])
def sign_out() -> Response:
    """Forget the session."""
    response = RedirectResponse(f"{HOME}/sign-in", 303)
    for name in (SESSION, CLIENT, NOTICE):
        response.delete_cookie(name, path=HOME)
    return response


@router.post("/client")
def choose_client(visit: SentForm, client_id: Annotated[UUID, Form()]) -> Response:
    """Look at another client."""
    queries.require_client(visit.clients, client_id)
    response = visit.go("")
    set_cookie(visit.request, response, CLIENT, str(client_id))
    return response
