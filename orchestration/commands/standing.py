"""Whether a schedule may still fire: its owner, their right, its command and its conversation, looked at each time."""

from integrations.access import Refused, may
from integrations.database import Database, Schedule
from integrations.errors import Forbidden
from integrations.settings import Settings
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.language import pick


def lapse(database: Database, settings: Settings, catalogue: Catalogue, schedule: Schedule) -> Refused | None:
    """Return why a schedule must not fire any more, or None where all is as it was when it was made."""
    what = schedule.what
    try:
        owner = database.principals.resolve(what.address.tenant, what.address.channel, what.account)
    except Forbidden:
        owner = None
    if owner is not None and what.principal_id not in {owner.id, *database.linking.left(owner.id)}:
        return Refused(
            f"the account {what.account} no longer belongs to whoever made this schedule",
            f"账号 {what.account} 已不属于此定时任务的创建者",
        )
    spec = catalogue.find(what.command)
    if spec is None or not spec.location:
        return Refused(f"there is no command /{what.command} any more", f"命令 /{what.command} 已不存在")
    allowed = may(owner, spec, settings.access)
    if isinstance(allowed, Refused):
        return allowed
    if reason := database.schedules.undeliverable(what.address):
        return Refused(f"its conversation can't be reached any more ({reason})", f"所在会话已无法送达（{reason}）")
    return None


def paused_notice(schedule: Schedule, why: Refused) -> str:
    """Return what is said in the conversation of a schedule that was paused."""
    what = schedule.what
    return pick(
        "zh" if what.language == "zh" else "en",
        f"⏸ The schedule `{schedule.id}` (/{what.command}, {what.said}) is paused: {why.reason} "
        f"Once that is mended: `/schedule resume {schedule.id}`.",
        f"⏸ 定时任务 `{schedule.id}`（/{what.command}，{what.said}）已暂停：{why.reason_zh}。"
        f"解决后请发送 `/定时 恢复 {schedule.id}`。",
    )
