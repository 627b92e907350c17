// A job that runs: how far it is, the end of its log, and a button that stops it.
// Python says all of it in `shown`; a view only draws, and says that it is there.

const BARS = /([\u2588\u2591]+)/;
const PATIENCE_MS = 1500;
const CALL_MS = 250;

function drawHead(head, text) {
  head.replaceChildren(
    ...text.split(BARS).map((part, i) => {
      if (i % 2 === 0) return document.createTextNode(part);
      const bar = document.createElement("span");
      bar.className = "nbdock-job-bar";
      bar.setAttribute("aria-hidden", "true");
      bar.textContent = part;
      return bar;
    }),
  );
}

// Lines that are there stay, so that what someone has selected stays selected.
function drawLog(log, last, shown) {
  let known = last ? last.first + last.lines.length : 0;
  const height = log.scrollHeight;
  if (!last || shown.first > known || shown.first < last.first) {
    log.replaceChildren();
    known = shown.first;
  } else {
    for (let i = last.first; i < shown.first; i++) log.firstChild.remove();
    log.scrollTop -= height - log.scrollHeight;
  }
  for (const line of shown.lines.slice(known - shown.first)) {
    const row = document.createElement("div");
    row.textContent = line || "\u00a0";
    log.append(row);
  }
  log.hidden = shown.lines.length === 0;
}

function render({ model, el }) {
  const root = document.createElement("div");
  const head = document.createElement("div");
  const button = document.createElement("button");
  const note = document.createElement("span");
  const log = document.createElement("div");
  const top = document.createElement("div");
  root.className = "nbdock-job";
  root.setAttribute("role", "group");
  top.className = "nbdock-job-top";
  head.className = "nbdock-job-head";
  button.className = "nbdock-job-cancel";
  button.type = "button";
  note.className = "nbdock-job-note";
  note.setAttribute("role", "status");
  log.className = "nbdock-job-log";
  log.tabIndex = 0;
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "off");
  top.append(head, button);
  root.append(top, note, log);
  el.append(root);

  let last = null;
  let waiting = 0;
  // The log follows its end, unless someone has scrolled away from it.
  let isFollowing = true;
  const follow = () => {
    if (isFollowing) log.scrollTop = log.scrollHeight;
  };
  log.addEventListener("scroll", () => {
    isFollowing = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  });
  const draw = () => {
    const shown = model.get("shown");
    root.setAttribute("aria-label", `Job ${shown.name}`);
    log.setAttribute("aria-label", `Log of ${shown.name}`);
    button.setAttribute("aria-label", `Cancel ${shown.name}`);
    button.hidden = !shown.reachable;
    if (shown.cancelling) {
      clearTimeout(waiting);
      note.textContent = "";
      button.disabled = true;
    }
    button.textContent = button.disabled ? "Cancelling\u2026" : "Cancel";
    drawHead(head, shown.text);
    drawLog(log, last, shown);
    last = shown;
    requestAnimationFrame(follow); // the first time, it is not on the page yet
  };
  button.addEventListener("click", () => {
    button.disabled = true;
    button.textContent = "Cancelling\u2026";
    model.send({ type: "cancel" });
    waiting = setTimeout(() => {
      note.textContent = "The kernel is busy with a cell; it gets to this when it is free.";
    }, PATIENCE_MS);
  });
  // More than once: the first may be sent before the front end has its subshell, and then it
  // waits until the cell has ended.
  let calling = 0;
  const call = (after) => {
    if (model.get("shown").reachable) return;
    model.send({ type: "here" });
    calling = setTimeout(call, after, 2 * after);
  };
  model.on("change:shown", draw);
  draw();
  call(CALL_MS);
  return () => {
    clearTimeout(waiting);
    clearTimeout(calling);
    model.off("change:shown", draw);
  };
}

export default { render };
