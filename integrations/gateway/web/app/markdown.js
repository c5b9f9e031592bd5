// Markdown of answers → safe DOM. marked parses, DOMPurify keeps what is listed here, nothing else.

import { Marked } from "../vendor/marked.js";
import DOMPurify from "../vendor/purify.js";
import { announce, el, icon } from "./dom.js";
import { say } from "./words.js";

const TAGS = "p br hr strong em del code pre blockquote ul ol li a img h1 h2 h3 h4 h5 h6 table thead tbody tr th td input".split(" ");
const ATTRIBUTES = ["href", "src", "alt", "title", "class", "start", "align", "type", "checked", "disabled"];
const LINE_BREAK = /^<br\s*\/?>\s*$/i;
const PLAIN = ["align", "start", "type"]; // attributes whose values are no addresses

const marked = new Marked({ gfm: true, breaks: true, renderer: { html: ({ text }) => (LINE_BREAK.test(text) ? "<br>" : escaped(text)) } });
const purifier = DOMPurify(window);
purifier.addHook("afterSanitizeAttributes", restrain);

/** HTML in an answer is shown as it is written, but for line breaks, which tables need. */
function escaped(html) {
  return html.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** Render `text` into a fragment; links open elsewhere, images come from this server only. */
export function render(text) {
  const fragment = purifier.sanitize(marked.parse(text), {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ATTRIBUTES, ADD_URI_SAFE_ATTR: PLAIN,
    ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true,
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|\/(?!\/)|#)/i,
  });
  for (const image of fragment.querySelectorAll("img")) keepImage(image);
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  for (const block of fragment.querySelectorAll("pre")) withCopy(block);
  return fragment;
}

/** Whether an address is a file of this server, which is all that may be shown as an image. */
export function isOurFile(address) {
  const url = new URL(address, location.href);
  return url.origin === location.origin && url.pathname.startsWith("/v1/files/");
}

function restrain(node) {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  } else if (node.tagName === "INPUT") {
    if (node.getAttribute("type") !== "checkbox") return node.remove();
    node.setAttribute("disabled", "");
  }
  if (node.hasAttribute("class") && !/^language-[\w+#.-]{1,30}$/.test(node.className)) node.removeAttribute("class");
}

/** An image from outside becomes a link: loading it would tell that address who reads here, and when. */
function keepImage(image) {
  const address = image.getAttribute("src");
  if (address && isOurFile(address)) return image.setAttribute("loading", "lazy");
  const label = image.alt || address || "";
  image.replaceWith(/^https?:/i.test(address) ? el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, label) : label);
}

function scrollable(table) {
  const frame = el("div", { class: "table", tabindex: "0", role: "group" });
  table.replaceWith(frame);
  frame.append(table);
}

function withCopy(block) {
  const code = block.querySelector("code");
  const language = code?.className.replace("language-", "") ?? "";
  const label = el("span", {}, say("copy"));
  const button = el("button", { type: "button", class: "copy", onclick: () => copy(block.innerText, label) }, icon("copy"), label);
  const frame = el("div", { class: "code" }, el("div", { class: "code-head" }, el("span", {}, language), button));
  block.tabIndex = 0;
  block.replaceWith(frame);
  frame.append(block);
}

async function copy(text, label) {
  const ended = await navigator.clipboard.writeText(text).then(() => "copied", () => "copy_failed");
  label.textContent = say(ended);
  announce(say(ended));
  setTimeout(() => (label.textContent = say("copy")), 2000);
}
