"""`/model`: which model answers in this conversation, and choosing another of those that may be asked."""

from integrations.database import Database
from integrations.errors import Misconfigured
from integrations.settings import Settings
from orchestration.commands.asker import Asker
from orchestration.commands.vocabulary import same_name
from serving.fleet import DEFAULT, Fleet, ModelSpec
from serving.models_file import read_fleet

_BACK = frozenset({DEFAULT, "auto", "默认", "自动"})


def model(database: Database, settings: Settings, word: str, asker: Asker) -> str:
    """Return the answer to `/model` and `/model NAME`; `/model default` leaves the choice to the routes again."""
    try:
        fleet = read_fleet(settings.serving)
    except Misconfigured as error:
        return asker.say(f"The models' settings can't be read: {error}", f"无法读取模型配置：{error}")
    may = {spec.name: spec for spec in _allowed(fleet, asker.principal.tenant)}
    if not word:
        known = database.transcript.known(asker.address)
        return _listed(fleet, may, known.model if known else None, asker)
    return _choose(database, may, word, asker)


def _choose(database: Database, may: dict[str, ModelSpec], word: str, asker: Asker) -> str:
    if not asker.direct and not asker.is_admin:
        return asker.say(
            "In a group only an administrator chooses the model, since it answers everybody.",
            "群聊中只有管理员可以选择模型。",
        )
    if same_name(word) in _BACK:
        database.transcript.choose_model(asker.address, None)
        return asker.say(f"The route `{DEFAULT}` chooses again.", f"恢复为默认路由 `{DEFAULT}`。")
    found = next((name for name in may if same_name(name) == same_name(word)), None)
    if found is None:
        names = ", ".join(f"`{name}`" for name in may)
        return asker.say(
            f"There is no model `{word[:60]}` that may be asked here. There are: {names}.",
            f"没有可用的模型 `{word[:60]}`。可选：{names}。",
        )
    if not database.transcript.choose_model(asker.address, found):
        return asker.say("Say something here first.", "请先在此会话中说点什么。")
    return asker.say(
        f"`{found}` words the answers in this conversation from now on; `/model {DEFAULT}` takes that back.",
        f"此会话今后由 `{found}` 回答；发送 `/模型 默认` 可恢复。",
    )


def still_allowed(name: str | None, settings: Settings, tenant: str) -> str | None:
    """Return the model that was chosen for a conversation, None where none was, or it may no longer be asked."""
    if name is None:
        return None
    may = _allowed(read_fleet(settings.serving), tenant)
    return name if any(spec.name == name for spec in may) else None


def _allowed(fleet: Fleet, tenant: str) -> list[ModelSpec]:
    """Return the models that can chat and that this tenant's requests may go to."""
    return [spec for spec in fleet.models.values() if not spec.embeds and fleet.policy.refusal(spec, tenant) is None]


def _listed(fleet: Fleet, may: dict[str, ModelSpec], mine: str | None, asker: Asker) -> str:
    usual = fleet.all_routes()[DEFAULT].candidates
    now = mine if mine in may else usual[0]
    lines = [asker.say(f"`{now}` answers here.", f"此会话由 `{now}` 回答。")]
    if mine is not None and mine not in may:
        gone = f"(`{mine}`, chosen before, may no longer be asked.)", f"（之前选择的 `{mine}` 已不可用。）"
        lines.append(asker.say(*gone))
    for name, spec in may.items():
        notes = [spec.engine, *([asker.say("remote", "远程")] if spec.is_remote else []), *spec.capabilities]
        lines.append(f"- {'●' if name == now else '○'} `{name}` ({', '.join(notes)})")
    lines.append(asker.say("`/model NAME` chooses one for this conversation.", "`/模型 名称` 为此会话选择模型。"))
    return "\n".join(lines)
