// The strip of ops under a message: what the run has done, does, and will do, with milliseconds, and its link.

import { el, icon } from "./dom.js";
import { isSettled } from "./conversation.js";
import { say } from "./words.js";

/** What the assistant's run will do, shown ahead; other jobs show their ops as they come. */
const ASSISTANT = ["receive", "recall", "think", "act", "reply", "remember"];
const MARKS = { succeeded: "check", failed: "cross", skipped: "skip", stopped: "cross" };

/** Return the ops as stages: mapped ops (`act.carry_out[1]`) are one stage, named by their beginning. */
export function stages(turn) {
  const found = new Map();
  for (const [op, fact] of turn.ops) {
    const name = op.split(/[.[]/)[0];
    found.set(name, [...(found.get(name) ?? []), { op, ...fact }]);
  }
  const first = found.keys().next().value;
  const expected = turn.run?.job === "assistant" || first === ASSISTANT[0] ? ASSISTANT : [];
  const pending = isSettled(turn) ? [] : expected.filter((name) => !found.has(name));
  const others = [...found.keys()].filter((name) => !expected.includes(name));
  const names = [...expected.filter((name) => found.has(name) || pending.includes(name)), ...others];
  return names.map((name) => stage(name, found.get(name) ?? [], isSettled(turn)));
}

/** What was at work when its message ended was stopped: canceled, or its run given up. */
function stage(name, ops, ended) {
  const states = new Set(ops.map((op) => (ended && op.state === "started" ? "stopped" : op.state)));
  const done = ops.filter((op) => op.state !== "skipped"); // the rounds of a plan that there was no need for
  const state = ["failed", "started", "stopped", "succeeded", "skipped"].find((each) => states.has(each)) ?? "pending";
  const timed = ops.filter((op) => op.ms !== null && op.ms !== undefined);
  const ms = timed.length ? timed.reduce((sum, op) => sum + op.ms, 0) : null;
  return { name, state, ms, since: Math.min(...ops.map((op) => op.since ?? Infinity)), count: done.length };
}

/** 84 → "84 ms", 12345 → "12.3 s", 200000 → "3 min 20 s". */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Draw the strip of a turn, or nothing where there is no run and nothing to wait for. */
export function strip(turn, actions) {
  const shown = stages(turn);
  const status = statusWord(turn, shown);
  if (!shown.length && !turn.run?.url && !status) return null;
  return el("div", { class: "strip", "data-status": turn.status ?? "answered" },
    shown.length ? el("ol", { class: "ops", "aria-label": say("ops") }, shown.map(item)) : null,
    status && el("span", { class: "strip-status" }, status),
    stopButton(turn, actions),
    turn.run?.url && el("a", { class: "run-link", href: turn.run.url, target: "_blank", rel: "noopener" }, say("run"), icon("out")),
  );
}

/** Let the time of running ops tick; the caller calls this a few times a second. */
export function tick(root) {
  for (const node of root.querySelectorAll(".op[data-since]")) {
    node.querySelector(".ms").textContent = duration(Date.now() - Number(node.dataset.since));
  }
}

function item({ name, state, ms, since, count }) {
  const running = state === "started";
  const time = ms !== null && !running ? duration(ms) : "";
  return el("li", { class: "op", "data-op": name, "data-state": state, "data-since": running && since !== Infinity ? since : null },
    el("span", { class: "mark" }, MARKS[state] ? icon(MARKS[state]) : null),
    el("span", { class: "op-name" }, count > 1 ? `${name} ×${count}` : name),
    el("span", { class: "sr" }, say(`op_${state}`)),
    el("span", { class: "ms" }, time),
  );
}

function stopButton(turn, actions) {
  if (!turn.run?.id || !["running", "waiting"].includes(turn.status)) return null;
  return el("button", { type: "button", class: "stop", disabled: turn.stopping, onclick: () => actions.stop(turn) }, say(turn.stopping ? "stopping" : "stop"));
}

function statusWord(turn, shown) {
  if (turn.status === "waiting") return say("waiting_run");
  if (turn.status === "failed" && shown.some(({ state }) => state === "stopped")) return say("stopped");
  if (turn.status === "failed" || turn.status === "dead") return say(turn.status);
  if (turn.status === "received" && !turn.ops.size) return say("received");
  return null;
}
