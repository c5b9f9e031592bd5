"""`/link`: one person on several networks. Works in direct conversations only; a code is never shown in a group."""

from integrations.database import Database
from integrations.database.linking import Account, Redeemed, normal, shown
from integrations.messages import OutboundMessage
from orchestration.commands.asker import Asker

_LIST = frozenset({"list", "列表"})
_REMOVE = frozenset({"remove", "unlink", "解除", "移除"})


def link(database: Database, words: str, asker: Asker) -> str:
    """Return the answer to `/link …`."""
    first, _, rest = words.strip().partition(" ")
    if not asker.direct:
        return _in_a_group(database, first, asker)
    if not first:
        return _issue(database, asker)
    if first.casefold() in _LIST:
        return _listed(database, asker)
    if first.casefold() in _REMOVE:
        return _remove(database, rest.split(), asker)
    return _redeem(database, words, asker)


def _in_a_group(database: Database, first: str, asker: Asker) -> str:
    if first and first.casefold() not in _LIST | _REMOVE:
        # Everybody here has read it.
        database.linking.burn(asker.principal.tenant, first)
    return asker.say(
        "Accounts are tied in a direct message to me, never in a group. A code that was written here has ended.",
        "请在与我的私聊中关联账号，不要在群里操作。已在此处发送的代码立即失效。",
    )


def _issue(database: Database, asker: Asker) -> str:
    code = shown(database.linking.issue(asker.principal, asker.address))
    return asker.say(
        f"Your code is `{code}`. Write `/link {code}` to me in a direct message on the other network, within "
        "10 minutes. It works once; whoever uses it becomes you here, so show it to nobody.",
        f"你的代码是 `{code}`。请在 10 分钟内，在另一个平台的私聊中向我发送 `/link {code}`。"
        "代码只能使用一次；使用它的账号将代表你，请勿告诉他人。",
    )


def _redeem(database: Database, words: str, asker: Asker) -> str:
    account = Account(asker.address.channel, asker.account)
    found = database.linking.redeem(words, account, asker.principal)
    if found.outcome == "tied" and found.asked_at is not None:
        _notify(database, found, account, normal(words))
    owner = f"{found.owner} ({found.asked_at.channel})" if found.asked_at else found.owner
    return asker.say(*_TOLD[found.outcome]).format(owner=owner)


def _notify(database: Database, found: Redeemed, account: Account, code: str) -> None:
    """Tell the owner of the code, where they asked for it, who used it."""
    if found.asked_at is None:
        return
    text = (
        f"🔗 The account `{account.account}` on {account.channel} is yours here from now on. If that was not you: "
        f"`/link remove {account.channel} {account.account}`\n"
        f"🔗 {account.channel} 上的账号 `{account.account}` 现已关联到你。如非本人操作，请发送上面的命令。"
    )
    post = OutboundMessage(address=found.asked_at, text=text, kind="notice")
    database.outbox.post(
        post, key=f"link:{account.channel}:{account.account}:{code[-4:]}:{found.asked_at.conversation}"
    )


def _listed(database: Database, asker: Asker) -> str:
    lines = [asker.say("**Your accounts**", "**你的账号**")]
    for account in database.linking.of(asker.principal.id):
        here = (account.channel, account.account) == (asker.address.channel, asker.account)
        marks = [asker.say("this one", "当前")] if here else []
        marks += [asker.say("tied", "已关联")] if account.tied else []
        lines.append(f"- {account.channel} `{account.account}`" + (f" ({', '.join(marks)})" if marks else ""))
    lines.append(asker.say("`/link remove NETWORK ACCOUNT` unties one.", "`/link remove 平台 账号` 可解除关联。"))
    return "\n".join(lines)


def _remove(database: Database, words: list[str], asker: Asker) -> str:
    if len(words) not in (0, 2):
        return asker.say(
            "Write `/link remove NETWORK ACCOUNT`, as `/link list` shows them.", "写法：`/link remove 平台 账号`。"
        )
    channel, account = words or (asker.address.channel, asker.account)
    if database.linking.remove(Account(channel, account.strip("`")), asker.principal):
        return asker.say(
            f"{channel} `{account}` is on its own again, with what it knew before.",
            f"{channel} `{account}` 已解除关联，恢复其原有的记忆。",
        )
    return asker.say(
        f"{channel} `{account}` is not tied to you, or it is where you are at home. See `/link list`.",
        f"{channel} `{account}` 未关联到你，或是你的主账号。请查看 `/link list`。",
    )


_TOLD = {
    "tied": (
        "🔗 This account is **{owner}** here from now on: the same runs, rights and memory. `/link remove` undoes it.",
        "🔗 此账号现已代表 **{owner}**：相同的运行、权限和记忆。`/link remove` 可撤销。",
    ),
    "wrong": (
        "This code is wrong, used, or older than 10 minutes. `/link` on the other network makes a new one.",
        "代码错误、已使用或已过期。请在另一个平台发送 `/link` 获取新代码。",
    ),
    "often": (
        "Too many codes were tried from this account. Wait ten minutes.",
        "此账号尝试次数过多，请十分钟后再试。",
    ),
    "own": ("That code is your own: write it on the other network.", "这是你自己的代码，请在另一个平台发送。"),
    "above": (
        "This account may do more here than **{owner}**, so it can't become them. Do it the other way round: write "
        "`/link` here, and the code there.",
        "此账号的权限高于 **{owner}**，不能关联过去。请反过来：在这里发送 `/link`，在另一平台输入代码。",
    ),
}
