"""`/v1/approvals`: what waits for a decision, and the decision. The rules are `database/approvals`' own."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from integrations.approvals import words
from integrations.approvals.values import Answer, Approval, Verdict
from integrations.database.approvals import Word, normal
from integrations.errors import Forbidden, InvalidInput, LeaseLost, NotFound
from integrations.gateway.callers import Authenticated, Caller, Guarded
from integrations.gateway.schema import Request
from integrations.gateway.services import Services, Wired
from integrations.security.text import clean

router = APIRouter(tags=["approvals"], route_class=Guarded)
MOST_SHOWN = 200
ApprovalId = Annotated[str, Path(description="The approval's id, as its card shows it.", min_length=1, max_length=40)]
States = Literal["pending", "approved", "denied", "expired", "voided"]


class NewDecision(Request):
    """Why it is decided so."""

    reason: str = Field("", max_length=500, description="Some approvals can't be decided without one.")


class NewDelegate(Request):
    """Who may decide as well."""

    to: str = Field(
        min_length=3,
        max_length=300,
        description="An account as `CHANNEL:ACCOUNT`, or `principal:ID`; one that is known.",
    )


class DecisionView(BaseModel):
    """What one person said."""

    name: str
    principal_id: str
    verdict: Verdict
    reason: str
    channel: str = Field(description="Where they said it.")
    at: datetime


class ApprovalView(BaseModel):
    """One approval; `shown` is what is approved, with exact arguments, where secrets are dots."""

    id: str
    state: States
    subject: str
    shown: str
    effect: str
    requester: str
    requester_id: str
    approvers: list[str] = Field(description="Rules of who may decide, as in the setting `access`.")
    wanted: int = Field(description="How many different people must approve.")
    missing: int = Field(description="How many of them have not yet.")
    digest: str = Field(description="SHA-256 of what a decision is bound to.")
    message_id: str | None
    run_id: str | None
    run_url: str | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    why: str = Field(description="Why it ended without a decision.")
    may_delegate: bool = Field(description="Whether its approvers may hand it on.")
    delegates: list[str] = Field(description="Principals who may decide as well, since approvers named them.")
    decisions: list[DecisionView]


class ApprovalList(BaseModel):
    """Those that concern the caller, newest first."""

    approvals: list[ApprovalView]


@router.get("/v1/approvals")
async def waiting(
    services: Wired,
    caller: Authenticated,
    state: Annotated[Literal[States, "all"], Query(description="Only those in this state.")] = "pending",
) -> ApprovalList:
    """List the approvals that the caller asked for or may decide; for an administrator, all."""
    found = await asyncio.to_thread(
        services.database.approvals.concerning,
        caller.principal,
        state=None if state == "all" else state,
        limit=MOST_SHOWN,
    )
    return ApprovalList(approvals=[_shown(services, one) for one in found])


@router.get("/v1/approvals/{approval_id}")
async def look(approval_id: ApprovalId, services: Wired, caller: Authenticated) -> ApprovalView:
    """Tell how one approval stands."""
    found = await asyncio.to_thread(services.database.approvals.get, approval_id, caller.principal.tenant)
    if found is None or not (caller.is_admin or found.requester_id == caller.principal.id):
        raise NotFound("There is no such approval.")
    return _shown(services, found)


@router.post("/v1/approvals/{approval_id}/approve")
async def approve(
    approval_id: ApprovalId, services: Wired, caller: Authenticated, body: NewDecision | None = None
) -> ApprovalView:
    """Approve; whether the caller may is looked at now. Where more people are wanted it goes on waiting."""
    return await _decide(services, caller, approval_id, "approve", body)


@router.post("/v1/approvals/{approval_id}/deny")
async def deny(
    approval_id: ApprovalId, services: Wired, caller: Authenticated, body: NewDecision | None = None
) -> ApprovalView:
    """Deny: nothing is run, and whoever asked for it is told. Whoever asked for it takes it back by this."""
    return await _decide(services, caller, approval_id, "deny", body)


@router.post("/v1/approvals/{approval_id}/delegate")
async def delegate(approval_id: ApprovalId, services: Wired, caller: Authenticated, body: NewDelegate) -> ApprovalView:
    """Let somebody decide instead of the caller, an approver, while that is so; where its policy allows it."""
    whom = clean(body.to, field="to")
    answer = await asyncio.to_thread(_hand_on, services, caller, approval_id, whom)
    if answer.outcome == "nobody":
        raise InvalidInput(words.answered(answer, normal(approval_id), "en"), field="to")
    if answer.approval is None or answer.outcome != "delegated":
        raise _refusal(answer, approval_id)
    return _shown(services, answer.approval)


def _hand_on(services: Services, caller: Caller, approval_id: str, whom: str) -> Answer:
    to = services.database.principals.named(caller.principal.tenant, whom)
    answer = services.database.approvals.delegate(approval_id, caller.principal, to)
    found = services.database.approvals.get(approval_id, caller.principal.tenant)
    return Answer(answer.outcome, found if answer.approval is not None else None)


async def _decide(
    services: Services, caller: Caller, approval_id: str, verdict: Verdict, body: NewDecision | None
) -> ApprovalView:
    reason = clean(body.reason, field="reason") if body is not None else ""
    word = Word(approval_id, caller.principal, verdict, reason, via="rest")
    answer = await asyncio.to_thread(services.database.approvals.decide, word)
    if answer.approval is None or answer.outcome not in {"approved", "denied", "counted", "withdrawn"}:
        raise _refusal(answer, approval_id)
    return _shown(services, answer.approval)


def _refusal(answer: Answer, approval_id: str) -> Exception:
    told = words.answered(answer, normal(approval_id), "en")
    if answer.outcome == "unknown":
        return NotFound("There is no such approval.")
    if answer.outcome in {"self", "forbidden"}:
        return Forbidden(told)
    if answer.outcome == "reason":
        return InvalidInput("This approval wants a reason.", field="reason")
    return LeaseLost(told)


def _shown(services: Services, one: Approval) -> ApprovalView:
    return ApprovalView(
        id=one.id,
        state=one.state,
        subject=one.subject,
        shown=one.shown,
        effect=one.effect,
        requester=one.requester_name,
        requester_id=one.requester_id,
        approvers=list(one.policy.rules(escalated=one.escalated)),
        wanted=one.policy.count,
        missing=one.missing,
        digest=one.digest,
        message_id=one.message_id,
        run_id=one.run_id,
        run_url=services.settings.run_url(one.run_id) if one.run_id else None,
        created_at=one.created_at,
        expires_at=one.expires_at,
        decided_at=one.decided_at,
        why=one.why,
        may_delegate=one.policy.may_delegate,
        delegates=list(dict.fromkeys(to for to, _ in one.delegates)),
        decisions=[
            DecisionView(
                name=said.name,
                principal_id=said.principal_id,
                verdict=said.verdict,
                reason=said.reason,
                channel=said.via,
                at=said.at,
            )
            for said in one.decisions
        ],
    )
