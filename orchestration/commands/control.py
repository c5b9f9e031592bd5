"""Control commands: answered on the spot, without a run and without the model. See `vocabulary.py` for their words."""

from collections.abc import Callable, Mapping

from integrations.database import Database, QueuedRun
from integrations.messages import MessageStatus
from integrations.settings import Settings
from orchestration.commands import approvals, telling
from orchestration.commands import help as helping
from orchestration.commands.asker import Asker
from orchestration.commands.catalogue import Catalogue
from orchestration.commands.forgetting import Forgetful, forget
from orchestration.commands.linking import link
from orchestration.commands.model_choice import model
from orchestration.commands.retries import last_command, last_failed, retryable
from orchestration.commands.run_logs import logs

LEAST_PREFIX = 4
MOST_RUNS = 10
_MARKS = {
    MessageStatus.RECEIVED: "…",
    MessageStatus.RUNNING: "▶",
    MessageStatus.WAITING: "⏸",
    MessageStatus.ANSWERED: "✅",
    MessageStatus.FAILED: "❌",
    MessageStatus.DEAD: "❌",
}


class Controls:
    """Answers control commands. Thread-safe; blocks on the database only."""

    def __init__(
        self, database: Database, settings: Settings, memory: Forgetful | None, catalogue: Callable[[], Catalogue]
    ) -> None:
        self._database = database
        self._settings = settings
        self._memory = memory
        self._catalogue = catalogue

    def answer(self, name: str, args: Mapping[str, object], asker: Asker) -> str:
        """Return the answer, as Markdown, of the control command called `name`."""
        word = str(next(iter(args.values()), "")).strip()
        about = {
            "help": self.help,
            "cancel": self.cancel,
            "forget": self.forget,
            "link": self.link,
            "show": self.show,
            "why": self.why,
            "approve": self.approve,
            "deny": self.deny,
            "approvals": self.approvals,
            "logs": self.logs,
            "model": self.model,
        }
        if name in about:
            return about[name](word, asker)
        return {"status": self.status, "runs": self.runs, "whoami": self.whoami}[name](asker)

    def approve(self, words: str, asker: Asker) -> str:
        """Take the asker's yes to an approval."""
        return approvals.decide(self._database, "approve", words, asker)

    def deny(self, words: str, asker: Asker) -> str:
        """Take the asker's no to an approval."""
        return approvals.decide(self._database, "deny", words, asker)

    def approvals(self, words: str, asker: Asker) -> str:
        """List, show or hand on what waits for an approval."""
        return approvals.listed(self._database, words, asker)

    def link(self, words: str, asker: Asker) -> str:
        """Tie accounts on several networks to one person."""
        return link(self._database, words, asker)

    def help(self, name: str, asker: Asker) -> str:
        """Explain all commands, or one."""
        catalogue = self._catalogue().for_(asker.principal, self._settings.access)
        if not name:
            return helping.overview(catalogue, asker.language)
        word = name.lstrip("/／").split(maxsplit=1)[0] if name.strip("/／ ") else ""
        if spec := catalogue.find(word):
            return helping.details(spec, asker.language)
        near = catalogue.nearest(word)
        hint = asker.say(f" Did you mean `/help {near}`?", f"你是想看 `/帮助 {near}` 吗？") if near else ""
        return asker.say(f"There is no command {word[:64]!r}.{hint}", f"没有命令“{word[:64]}”。{hint}")

    def status(self, asker: Asker) -> str:
        """Tell what the asker's runs do now, and how busy the workers are; others' runs are counted, not shown."""
        runs = self._database.runs.latest(tenant=asker.principal.tenant, unfinished=True, limit=1000)
        shown = [run for run in runs if self._may_see(run, asker)]
        lines = [asker.say("**Running now**", "**正在运行**")]
        lines += [self._run_line(run, asker) for run in shown[:MOST_RUNS]] or [asker.say("Nothing.", "没有。")]
        others = len(runs) - min(len(shown), MOST_RUNS)
        if others:
            lines.append(asker.say(f"… and {others} more.", f"……另有 {others} 个。"))
        return "\n".join([*lines, "", *self._workers(runs, asker), *self._warnings(asker)])

    def runs(self, asker: Asker) -> str:
        """List the asker's last runs, each with its page in the Dagster UI."""
        principal = asker.principal
        runs = self._database.runs.latest(tenant=principal.tenant, principal_id=principal.id, limit=MOST_RUNS)
        if not runs:
            return asker.say("You have started nothing yet. `/help` shows what there is.", "你还没有运行过任何任务。")
        return "\n".join(
            [asker.say("**Your last runs**", "**你最近的运行**"), *(self._run_line(run, asker) for run in runs)]
        )

    def cancel(self, word: str, asker: Asker) -> str:
        """Ask for the end of the asker's run in this conversation, or of the one whose id begins with `word`.

        A question that waits for the asker's answer goes first.
        """
        if not word and self._database.questions.drop(asker.address, asker.principal.id):
            return asker.say("All right, I ask no further.", "好的，不再询问。")
        if taken_back := approvals.take_back(self._database, word, asker):
            return taken_back
        found = self._find(word, asker) if word else self._here(asker)
        if isinstance(found, str):
            return found
        if not self._database.runs.request_cancel(found.run_id):
            return asker.say("That run has ended already.", "该运行已经结束。")
        return asker.say(
            f"⏹ Cancelling {found.job}: [{found.run_id[:8]}]({self._settings.run_url(found.run_id)})",
            f"⏹ 正在取消 {found.job}：[{found.run_id[:8]}]({self._settings.run_url(found.run_id)})",
        )

    def show(self, word: str, asker: Asker) -> str:
        """Tell what became of a run, the asker's last one without its id."""
        found = self._meant(word, asker)
        return found if isinstance(found, str) else telling.show(self._database, self._settings, found, asker)

    def why(self, word: str, asker: Asker) -> str:
        """Tell where the time of a run went."""
        found = self._meant(word, asker)
        return found if isinstance(found, str) else telling.why(self._database, self._settings, found, asker)

    def logs(self, word: str, asker: Asker) -> str:
        """Show the last lines that a run printed and logged, the asker's last one without its id."""
        found = self._meant(word, asker)
        return found if isinstance(found, str) else logs(self._database, self._settings, found, asker)

    def model(self, word: str, asker: Asker) -> str:
        """Tell which model answers here, or choose another one."""
        return model(self._database, self._settings, word, asker)

    def _meant(self, word: str, asker: Asker) -> QueuedRun | str:
        if word:
            return self._find(word, asker)
        principal = asker.principal
        last = self._database.runs.latest(tenant=principal.tenant, principal_id=principal.id, limit=1)
        return last[0] if last else self.runs(asker)

    def failed(self, word: str, asker: Asker) -> QueuedRun | str:
        """Return the run to retry, by its id or the last that failed, or what to say where there is none."""
        found = self._find(word, asker) if word else last_failed(self._database, asker)
        return found if isinstance(found, str) else retryable(self._database, found, asker)

    def repeatable(self, word: str, asker: Asker) -> QueuedRun | str:
        """Return the run to do again, by its id or the asker's last command, or what to say where there is none."""
        return self._find(word, asker) if word else last_command(self._database, asker)

    def followed(self, run_id: str, asker: Asker) -> str:
        """Tell that a run was retried, or run again, before."""
        link = f"[{run_id[:8]}]({self._settings.run_url(run_id)})"
        return asker.say(
            f"That was done already: {link}. `/show {run_id[:8]}` tells what became of it.",
            f"已经执行过了：{link}。发送 `/查看 {run_id[:8]}` 了解结果。",
        )

    def whoami(self, asker: Asker) -> str:
        """Tell the asker how they are known here."""
        who, where = asker.principal, asker.address
        roles = ", ".join([*who.roles, *(f"group:{group}" for group in who.groups)])
        return asker.say(
            f"You are **{who.name}** (`{who.id}`), roles: {roles}.\n"
            f"Account `{asker.account}` on {where.channel}, conversation `{where.conversation}`, "
            f"tenant `{who.tenant}`.",
            f"你是 **{who.name}**（`{who.id}`），角色：{roles}。\n"
            f"账号 `{asker.account}`，渠道 {where.channel}，会话 `{where.conversation}`，租户 `{who.tenant}`。",
        )

    def forget(self, word: str, asker: Asker) -> str:
        """Remove the transcript and the recollections of this scope, once confirmed."""
        return forget(self._database, self._memory, word, asker)

    def _may_see(self, run: QueuedRun, asker: Asker) -> bool:
        return asker.is_admin or run.principal_id == asker.principal.id

    def _run_line(self, run: QueuedRun, asker: Asker) -> str:
        link = f"[{run.run_id[:8]}]({self._settings.run_url(run.run_id)})"
        at = telling.seen_by(asker, self._settings, run.created_at)
        asked = asker.say(", cancel asked for", "，已请求取消") if run.cancel_requested else ""
        if run.state == "queued" and run.concurrency_key:
            asked += asker.say(f", waits its turn ({run.concurrency_key})", f"，排队中（{run.concurrency_key}）")
        return f"- {self._mark(run)} {run.job} {link} · {at}{asked}"

    def _mark(self, run: QueuedRun) -> str:
        if run.state != "finished":
            return {"running": "▶", "parked": "⏸"}.get(run.state, "…")
        view = self._database.inbox.get(run.message_id) if run.message_id else None
        return _MARKS[view.status] if view else "•"

    def _workers(self, runs: list[QueuedRun], asker: Asker) -> list[str]:
        waiting = sum(run.state == "queued" for run in runs)
        live = self._database.workers.live()
        if not live:
            return [
                asker.say(
                    "⚠️ No worker is alive: nothing will run until `runbell up`.",
                    "⚠️ 没有存活的工作进程：请运行 `runbell up`。",
                )
            ]
        lines = [asker.say("**Workers**", "**工作进程**")]
        lines += [f"- {w.location}: {w.busy}/{w.threads} · pid {w.pid} · {w.state}" for w in live]
        return [*lines, asker.say(f"Queue: {waiting} waiting", f"队列：{waiting} 个等待中")]

    def _warnings(self, asker: Asker) -> list[str]:
        """Tell an administrator of commands whose choices are no longer those that their function returns."""
        stale = [spec for spec in self._catalogue().specs if spec.stale] if asker.is_admin else []
        return [
            asker.say(
                f"⚠️ /{spec.name}: {spec.stale}. The last ones are offered.",
                f"⚠️ /{spec.name}：无法计算选项，仍使用上次的选项（{spec.stale}）。",
            )
            for spec in stale
        ]

    def _here(self, asker: Asker) -> QueuedRun | str:
        runs = self._database.runs.running_in(asker.address)
        mine = [run for run in runs if run.principal_id == asker.principal.id] or runs
        if not mine:
            return asker.say(
                "Nothing runs in this conversation. `/runs` lists your runs; `/cancel ID` ends one.",
                "本会话没有正在运行的任务。`/运行` 列出你的运行，`/取消 ID` 可取消其中一个。",
            )
        if not self._may_see(mine[0], asker):
            return asker.say(
                "What runs here is somebody else's; only they or an administrator may cancel it.",
                "这里运行的任务属于他人，只有本人或管理员可以取消。",
            )
        return mine[0]

    def _find(self, word: str, asker: Asker) -> QueuedRun | str:
        prefix = word.strip("` ").rsplit("/", 1)[-1].lower()
        if len(prefix) < LEAST_PREFIX:
            return asker.say(
                f"Give at least {LEAST_PREFIX} characters of the run's id; `/runs` shows them.",
                f"请至少输入运行 ID 的前 {LEAST_PREFIX} 个字符；`/运行` 可查看。",
            )
        tenant, owner = asker.principal.tenant, None if asker.is_admin else asker.principal.id
        latest = self._database.runs.latest(tenant=tenant, principal_id=owner, limit=1000)
        found = [run for run in latest if run.run_id.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found:
            return asker.say(
                f"You have no run whose id begins with `{prefix[:40]}`. `/runs` lists yours.",
                f"你没有 ID 以 `{prefix[:40]}` 开头的运行。`/运行` 可查看。",
            )
        ids = ", ".join(f"`{run.run_id[:13]}`" for run in found[:5])
        return asker.say(f"Several runs begin so: {ids}. Give more of the id.", f"有多个匹配：{ids}。请输入更多字符。")
