// What all explorers share. Python joins this with the script of one explorer into one module, so
// all names here are that script's as well:
//
//   element, drawn     make nodes; text is text, never markup
//   bytesText, count   numbers as Python writes them
//   ask                a question to Python: ask(model, { what: "page", from: 0 }) -> Promise
//   newest             of many questions only the newest is asked, one at a time
//   openFrame          the box around a view: errors, waiting, the Python that does the same
//   virtualRows        a list of any length, of which only what is seen exists
//   listKeys           arrows, Home, End, pages, type-ahead
//   tooltips           what is written in data-tip, beside the mouse and the focus
//
// A view ends with  export default { render };  and its render begins with openFrame.

const PATIENCE_MS = 1500;
const SOON_MS = 250;
const SVG = "http://www.w3.org/2000/svg";

// Making nodes

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// element("button", { class: "nbdock-x", text: "Go", on: { click: act } }, ...children)
const element = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

// The same for SVG.
const drawn = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

let names = 0;
const freshId = () => `nbdock-${++names}-${Math.random().toString(36).slice(2, 8)}`;

// Numbers and names as people read them

const count = (number) => String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  let amount = bytes;
  for (const unit of ["kB", "MB", "GB", "TB"]) {
    amount /= 1000;
    if (amount < 999.5 || unit === "TB") return `${amount.toFixed(amount >= 9.95 ? 0 : 1)} ${unit}`;
  }
}

const percent = (part, whole) => {
  const share = whole > 0 ? part / whole : 0;
  return share > 0 && share < 0.0095 ? "<1 %" : `${Math.round(100 * share)} %`;
};

// Names may hold characters that move or hide others: those are shown as what they are not.
const plain = (text) => String(text).replace(/[\p{C}\u2028\u2029]/gu, "\ufffd");

// The colour of something by its number, as svg.py has it; below 0 of all others.
const COLOURS = 9;
const colourOf = (number) =>
  number >= 0 ? `var(--nbdock-c${number % COLOURS})` : "var(--nbdock-c-others)";

// Questions to Python

const asking = new WeakMap();

function questionsOf(model) {
  let open = asking.get(model);
  if (!open) {
    open = new Map();
    asking.set(model, open);
    model.on("msg:custom", (message) => {
      const asked = message && open.get(message.id);
      if (!asked) return; // another view's
      open.delete(message.id);
      if (message.error) {
        const error = new Error(message.error.message);
        error.hint = message.error.hint || "";
        asked.reject(error);
      } else asked.resolve(message.answer);
    });
  }
  return open;
}

// More than once, each time later: while a front end gets its subshell, a message may be lost.
const AGAIN_MS = 2000;
const TIMES = 6;

function ask(model, question) {
  const open = questionsOf(model);
  const id = freshId();
  return new Promise((resolve, reject) => {
    open.set(id, { resolve, reject });
    const send = (wait, left) => {
      if (!open.has(id)) return;
      try {
        model.send({ ...question, id });
      } catch (error) {
        // Its kernel is gone, or its notebook is closed.
        open.delete(id);
        reject(error);
        return;
      }
      if (left > 1) setTimeout(send, wait, 2 * wait, left - 1);
    };
    send(AGAIN_MS, TIMES);
  });
}

// const search = newest((text) => ask(...), (answer) => show(answer), (error) => ...)
// While one is being answered only the last of those that come is remembered.
function newest(act, done, failed) {
  let isBusy = false;
  let next = null;
  const go = async (args) => {
    isBusy = true;
    try {
      const answer = await act(...args);
      if (!next) done(answer, ...args);
    } catch (error) {
      if (!next) failed(error, ...args);
    }
    isBusy = false;
    if (next) {
      const waiting = next;
      next = null;
      go(waiting);
    }
  };
  return (...args) => {
    if (isBusy) next = args;
    else go(args);
  };
}

// The box around a view

const GONE = "The kernel that answered is gone. Run the cell again to explore.";
const BUSY = "The kernel is busy with a cell; it gets to this when it is free.";

// const frame = openFrame({ model, el }, { name: "image", label: "Files of redis:7" });
//   frame.root            carries the class; append to frame.body
//   frame.watch(promise)  shows that it takes long, and an error if there is one
//   frame.fail(error)     shows an error; frame.clear() takes it away
//   frame.setCode(text)   the Python that gives the same
//   frame.say(text)       a line for those who do not see the view
//   return () => frame.close();   from render
function openFrame({ model, el }, { name, label }) {
  const message = element("div", { class: "nbdock-problem-text" });
  const hint = element("div", { class: "nbdock-problem-hint" });
  const problem = element(
    "div",
    { class: "nbdock-problem", role: "alert", hidden: true },
    element("div", {}, message, hint),
    element("button", {
      class: "nbdock-button nbdock-problem-close",
      type: "button",
      "aria-label": "Dismiss the error",
      text: "\u00d7",
      on: { click: () => clear() },
    }),
  );
  const note = element("div", { class: "nbdock-note", role: "status", hidden: true });
  const bar = element("div", { class: "nbdock-busy", hidden: true, "aria-hidden": true });
  const spoken = element("div", { class: "nbdock-spoken", role: "status" });
  const body = element("div", { class: "nbdock-body" });
  const code = codeBox();
  const root = element(
    "div",
    { class: `nbdock-explore nbdock-${name}`, role: "group", "aria-label": label },
    bar, problem, note, body, code.box, spoken,
  );
  el.append(root);
  const tips = tooltips(root);

  let pending = 0;
  let soon = 0;
  let late = 0;
  const clear = () => {
    problem.hidden = true;
  };
  const fail = (error) => {
    message.textContent = plain(error.message || error);
    hint.textContent = plain(error.hint || "");
    hint.hidden = !error.hint;
    problem.hidden = false;
  };
  const settle = () => {
    if (--pending > 0) return;
    clearTimeout(soon);
    clearTimeout(late);
    bar.hidden = true;
    note.hidden = true;
    body.removeAttribute("aria-busy");
  };
  const watch = async (promise) => {
    if (pending++ === 0) {
      soon = setTimeout(() => {
        bar.hidden = false;
        body.setAttribute("aria-busy", "true");
      }, SOON_MS);
      late = setTimeout(() => {
        note.textContent = BUSY;
        note.hidden = false;
      }, PATIENCE_MS);
    }
    try {
      return await promise;
    } catch (error) {
      fail(error);
      throw error;
    } finally {
      settle();
    }
  };
  // A kernel that restarts answers no more: what can be read without it stands instead.
  const gone = () => {
    tips.close();
    const twin = element("div", { class: "nbdock-twin" });
    twin.innerHTML = model.get("twin"); // Python's, with everything escaped and no scripts
    root.replaceChildren(element("div", { class: "nbdock-note", role: "status", text: GONE }), twin);
  };
  let wasAlive = true;
  model.on("comm_live_update", () => {
    if (wasAlive) gone();
    wasAlive = false;
  });
  return {
    root,
    body,
    watch,
    fail,
    clear,
    tips,
    setCode: code.set,
    say: (text) => {
      spoken.textContent = text;
    },
    close: () => {
      clearTimeout(soon);
      clearTimeout(late);
      tips.close();
    },
  };
}

function codeBox() {
  const text = element("code", { tabindex: "0", "aria-label": "The Python that gives the same" });
  const button = element("button", { class: "nbdock-button", type: "button", text: "Copy" });
  const box = element(
    "div",
    { class: "nbdock-code", hidden: true },
    element("span", { class: "nbdock-code-label", text: "Python", "aria-hidden": true }),
    text,
    button,
  );
  let again = 0;
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text)) ? "Copied" : "Selected";
    clearTimeout(again);
    again = setTimeout(() => {
      button.textContent = "Copy";
    }, PATIENCE_MS);
  });
  return {
    box,
    set: (python) => {
      text.textContent = python;
      box.hidden = !python;
    },
  };
}

// Pages that are not from this machine or not encrypted have no clipboard: there it is selected.
async function copied(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }
}

// Lists

// const list = virtualRows(box, { height: 24, draw: (index) => node });
//   list.setCount(n)   how many there are
//   list.redraw()      what is seen is drawn anew
//   list.reveal(i)     scrolls there
//   list.seen()        [first, last + 1]
// Browsers draw boxes of some 30 million pixels; longer lists scroll in larger steps.
const TALLEST_PX = 8_000_000;
const AROUND = 8;

function virtualRows(box, { height, draw, onSeen }) {
  const spacer = element("div", { class: "nbdock-rows-spacer", role: "presentation" });
  const rows = element("div", { class: "nbdock-rows", role: "presentation" });
  spacer.append(rows);
  box.append(spacer);
  let number = 0;
  let first = 0;
  let last = 0;
  let waiting = 0;

  const total = () => number * height;
  const tall = () => Math.min(total(), TALLEST_PX);
  // From where the scroll bar is to the pixel of the list that stands at the top, and back.
  const stretch = () => {
    const room = tall() - box.clientHeight;
    return room > 0 ? (total() - box.clientHeight) / room : 1;
  };
  const top = () => box.scrollTop * stretch();

  const place = (force) => {
    const at = top();
    const from = Math.max(0, Math.floor(at / height) - AROUND);
    const to = Math.min(number, Math.ceil((at + box.clientHeight) / height) + AROUND);
    if (force || from !== first || to !== last) {
      first = from;
      last = to;
      const nodes = [];
      for (let i = first; i < last; i++) nodes.push(draw(i));
      const focused = rows.contains(document.activeElement);
      rows.replaceChildren(...nodes);
      if (focused) box.focus({ preventScroll: true });
      if (onSeen) onSeen(first, last);
    }
    rows.style.transform = `translateY(${box.scrollTop - at + first * height}px)`;
  };
  const later = () => {
    if (!waiting) {
      waiting = requestAnimationFrame(() => {
        waiting = 0;
        place(false);
      });
    }
  };
  box.addEventListener("scroll", later, { passive: true });
  const resized = new ResizeObserver(later);
  resized.observe(box);
  return {
    setCount: (n) => {
      number = n;
      spacer.style.height = `${tall()}px`;
      place(true);
    },
    redraw: () => place(true),
    seen: () => [first, last],
    page: () => Math.max(1, Math.floor(box.clientHeight / height) - 1),
    reveal: (index) => {
      const at = top();
      const y = index * height;
      if (y < at) box.scrollTop = y / stretch();
      else if (y + height > at + box.clientHeight) {
        box.scrollTop = (y + height - box.clientHeight) / stretch();
      }
      place(false);
    },
    close: () => {
      cancelAnimationFrame(waiting);
      resized.disconnect();
    },
  };
}

const TYPING_MS = 800;

// listKeys(box, { count, current, page, move, open, leave, find })
//   move(index, event)   the focus goes there; event.shiftKey and ctrlKey say more
//   open(key)            Enter, Space, ArrowRight, ArrowLeft; true if that meant something
//   leave()              Escape; true if that meant something
//   find(text)           type-ahead
function listKeys(box, keys) {
  let typed = "";
  let typing = 0;
  box.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey) return;
    const at = keys.current();
    const end = keys.count() - 1;
    const steps = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      Home: 0,
      End: end,
      PageDown: at + (keys.page ? keys.page() : 10),
      PageUp: at - (keys.page ? keys.page() : 10),
    };
    let isMine = true;
    if (event.key in steps) {
      if (end >= 0) keys.move(Math.max(0, Math.min(end, steps[event.key])), event);
    } else if (["Enter", " ", "ArrowRight", "ArrowLeft"].includes(event.key)) {
      if (event.key === " " && typed) isMine = type(" ");
      else isMine = keys.open ? keys.open(event.key, event) : false;
    } else if (event.key === "Escape") isMine = keys.leave ? keys.leave() : false;
    else if (event.key.length === 1 && !event.ctrlKey) isMine = type(event.key);
    else isMine = false;
    if (isMine) {
      // JupyterLab has shortcuts of its own for single letters.
      event.preventDefault();
      event.stopPropagation();
    }
  });
  const type = (letter) => {
    if (!keys.find) return false;
    clearTimeout(typing);
    typed += letter;
    typing = setTimeout(() => {
      typed = "";
    }, TYPING_MS);
    keys.find(typed);
    return true;
  };
}

// JupyterLab takes keys that are typed in a view for its commands, unless they stop here.
function keepKeys(input) {
  input.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
  return input;
}

// Tooltips: data-tip="one line\nmore lines" on anything below root

function tooltips(root) {
  const tip = element("div", { class: "nbdock-tip", role: "tooltip", hidden: true });
  root.append(tip);
  let owner = null;
  const hide = () => {
    tip.hidden = true;
    owner = null;
  };
  const show = (target, x, y) => {
    const from = target.closest ? target.closest("[data-tip]") : null;
    if (!from || !root.contains(from) || !from.dataset.tip) return hide();
    if (owner !== from) {
      owner = from;
      const [head, ...rest] = from.dataset.tip.split("\n");
      tip.replaceChildren(
        element("div", { class: "nbdock-tip-head", text: head }),
        ...rest.map((line) => element("div", { text: line })),
      );
      tip.hidden = false;
    }
    const box = root.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const left = x - box.left + 14 + width > box.width ? x - box.left - 10 - width : x - box.left + 14;
    const top = y - box.top + 16 + height > box.height ? y - box.top - 10 - height : y - box.top + 16;
    tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  };
  const moved = (event) => show(event.target, event.clientX, event.clientY);
  const focused = (event) => {
    if (!event.target.matches(":focus-visible")) return;
    const box = event.target.getBoundingClientRect();
    show(event.target, box.left + box.width / 2, box.top + Math.min(box.height, 24));
  };
  root.addEventListener("pointermove", moved);
  root.addEventListener("pointerleave", hide);
  root.addEventListener("pointerdown", hide);
  root.addEventListener("focusin", focused);
  root.addEventListener("focusout", hide);
  return { hide, close: hide };
}
