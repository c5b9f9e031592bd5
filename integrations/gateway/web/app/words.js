// The words of the page, in English and Chinese. A text with {x} is filled by say("key", {x: …}).

const WORDS = {
  en: {
    title: "Runbell", skip: "Skip to the message box", menu: "Conversations", close: "Close",
    new: "New conversation", conversations: "Conversations", untitled: "New conversation", drop: "Remove “{title}” from this list",
    empty_list: "Your conversations appear here.", theme: "Theme", theme_auto: "System", theme_light: "Light", theme_dark: "Dark",
    language: "Language", composer: "Message", placeholder: "Message, or / for commands", send: "Send",
    hint: "Enter sends · Shift+Enter new line · / commands · ↑ earlier messages",
    count: "{count} of {max} characters", too_long: "{over} characters too many. Shorten the message, or share the text as a file.",
    hello: "What shall I ring for?", hello_text: "Ask in your own words, or start a workflow. Every message becomes a run that you can watch.",
    you: "You", bell: "Runbell", notice: "Notice", in_answer_to: "In answer to “{text}”",
    connecting: "Connecting…", ready: "Connected", waiting: "Reconnecting in {seconds} s", blocked: "Reconnecting in {seconds} s", offline: "Offline", locked: "Not signed in",
    blocked_text: "Runbell answers, but refuses live connections from {origin}. Open the page at the address that “runbell status” shows, or set gateway.public_url to this one.",
    closed: "Closed", retry: "Try now",
    offline_text: "No network. What you send is kept here and goes out when you are back.",
    waiting_text: "The connection is lost. What you send is kept here and goes out when it is back.",
    locked_text: "This browser is not signed in, or no longer. Open the link that “runbell up” printed; “runbell open” makes a new one. Unsent messages are kept.",
    again: "I have signed in", updated: "Runbell was updated.", reload: "Reload",
    unsent: "Waiting to be sent", unsent_offline: "Will be sent when the connection is back", refused: "Not sent: {problem}",
    edit: "Edit", resend: "Send again", discard: "Discard", full: "This browser's storage is full: messages not yet sent are lost when you close the page.",
    received: "In line", running: "Running", waiting_run: "Waiting for a decision", answered: "Done", failed: "Failed", dead: "Given up",
    stop: "Stop", stopping: "Stopping…", stopped: "Stopped", op_stopped: "stopped", stop_failed: "The run can't be stopped: {detail}",
    run: "Open the run", no_answer: "This message ended without an answer. The run shows why.", ops: "Progress of the run",
    op_started: "running", op_succeeded: "done", op_failed: "failed", op_skipped: "skipped", op_pending: "to come",
    show_all: "Show all ({lines} lines)", show_all_characters: "Show all ({characters} characters)", show_less: "Show less", copy: "Copy", copied: "Copied", copy_failed: "Copying is not allowed here",
    latest: "Newest messages", choices: "Choices", suggestions: "Suggestions", required: "required", default: "default {value}",
    today: "Today", yesterday: "Yesterday", open_file: "Open {name}", commands_failed: "The list of commands can't be loaded ({detail}).",
    problem: "{title}: {detail}", dismiss: "Dismiss",
    form_title: "{command} needs a little more", form_cancel: "Cancel", form_sending: "Sending…", form_until: "Open until {time}",
    form_choose: "Choose…", yes: "Yes", no: "No", form_sealed: "kept sealed and shown nowhere", form_unreadable: "This can't be read. Expected: {hint}.",
    form_answered: "Answered", form_cancelled: "Cancelled", form_replaced: "Replaced by what came next", form_expired: "Closed after ten minutes without an answer",
    form_closed: "This form is closed: it was answered, cancelled or replaced. Nothing was done.", form_refused: "Not sent: {problem}",
  },
  zh: {
    title: "Runbell", skip: "跳到输入框", menu: "会话", close: "关闭",
    new: "新会话", conversations: "会话", untitled: "新会话", drop: "从列表中移除“{title}”",
    empty_list: "您的会话会显示在这里。", theme: "主题", theme_auto: "跟随系统", theme_light: "浅色", theme_dark: "深色",
    language: "语言", composer: "消息", placeholder: "输入消息，或 / 查看命令", send: "发送",
    hint: "Enter 发送 · Shift+Enter 换行 · / 命令 · ↑ 历史消息",
    count: "{count} / {max} 字", too_long: "超出 {over} 字。请缩短消息，或以文件方式分享。",
    hello: "需要我做什么？", hello_text: "用自己的话提问，或启动一个工作流。每条消息都会成为一次可查看的运行。",
    you: "您", bell: "Runbell", notice: "通知", in_answer_to: "回复“{text}”",
    connecting: "正在连接…", ready: "已连接", waiting: "{seconds} 秒后重连", blocked: "{seconds} 秒后重连", offline: "离线", locked: "未登录",
    blocked_text: "Runbell 有响应，但拒绝来自 {origin} 的实时连接。请使用 “runbell status” 显示的地址，或将 gateway.public_url 设为此地址。",
    closed: "已关闭", retry: "立即重试",
    offline_text: "没有网络。您发送的内容会保存在此，恢复后自动发出。",
    waiting_text: "连接已断开。您发送的内容会保存在此，恢复后自动发出。",
    locked_text: "此浏览器未登录或登录已失效。请打开 “runbell up” 打印的链接；“runbell open” 会生成新的链接。未发送的消息不会丢失。",
    again: "我已登录", updated: "Runbell 已更新。", reload: "重新加载",
    unsent: "等待发送", unsent_offline: "连接恢复后发送", refused: "未发送：{problem}",
    edit: "编辑", resend: "重新发送", discard: "丢弃", full: "浏览器存储已满：关闭页面会丢失尚未发送的消息。",
    received: "排队中", running: "运行中", waiting_run: "等待决定", answered: "完成", failed: "失败", dead: "已放弃",
    stop: "停止", stopping: "正在停止…", stopped: "已停止", op_stopped: "已停止", stop_failed: "无法停止运行：{detail}",
    run: "打开运行", no_answer: "这条消息没有得到回答，运行记录里有原因。", ops: "运行进度",
    op_started: "运行中", op_succeeded: "完成", op_failed: "失败", op_skipped: "跳过", op_pending: "未开始",
    show_all: "全部显示（{lines} 行）", show_all_characters: "全部显示（{characters} 字）", show_less: "收起", copy: "复制", copied: "已复制", copy_failed: "此处不允许复制",
    latest: "最新消息", choices: "选项", suggestions: "建议", required: "必填", default: "默认 {value}",
    today: "今天", yesterday: "昨天", open_file: "打开 {name}", commands_failed: "无法加载命令列表（{detail}）。",
    problem: "{title}：{detail}", dismiss: "关闭提示",
    form_title: "{command} 还需要一些信息", form_cancel: "取消", form_sending: "正在发送…", form_until: "{time} 前有效",
    form_choose: "请选择…", yes: "是", no: "否", form_sealed: "加密保存，不会显示", form_unreadable: "无法识别，应为：{hint}。",
    form_answered: "已填写", form_cancelled: "已取消", form_replaced: "已被后续内容取代", form_expired: "十分钟内未填写，已关闭",
    form_closed: "此表单已关闭：已填写、取消或被取代。未执行任何操作。", form_refused: "未发送：{problem}",
  },
};

let language = "en";

/** `choice` is "auto", "en" or "zh". */
export function setLanguage(choice) {
  const wanted = choice === "auto" ? navigator.language : choice;
  language = wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

export function locale() {
  return document.documentElement.lang;
}

/** The language of dates and numbers: the reader's own variety of the page's language. */
export function region() {
  return navigator.languages.find((each) => each.toLowerCase().startsWith(language)) ?? locale();
}

export function say(key, values = {}) {
  const text = WORDS[language][key];
  if (text === undefined) throw new Error(`no word for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Fill the fixed elements of the page: data-say is text, data-say-label the accessible name, … */
export function fill(root) {
  for (const node of root.querySelectorAll("[data-say]")) node.textContent = say(node.dataset.say);
  for (const node of root.querySelectorAll("[data-say-label]")) {
    node.setAttribute("aria-label", say(node.dataset.sayLabel));
    if (node.tagName === "BUTTON") node.title = say(node.dataset.sayLabel);
  }
  for (const node of root.querySelectorAll("[data-say-placeholder]")) node.placeholder = say(node.dataset.sayPlaceholder);
}

export function keys() {
  return { en: Object.keys(WORDS.en), zh: Object.keys(WORDS.zh) };
}
