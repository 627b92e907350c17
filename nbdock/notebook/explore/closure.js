// The dependencies of packages: Python draws them, this moves the picture, searches it and shows
// what belongs to one package.

const ZOOM = 1.25;
const MOST = 4;
const READABLE = 0.9;

function render({ model, el }) {
  const start = model.get("start");
  const frame = openFrame({ model, el }, { name: "closure", label: start.label });
  frame.setCode(start.code);

  const search = keepKeys(
    element("input", {
      class: "nbdock-input nbdock-closure-search", type: "search", placeholder: "Search packages",
      "aria-label": "Search packages; Enter goes to the next one", spellcheck: "false",
    }),
  );
  const found = element("span", { class: "nbdock-muted nbdock-closure-found", role: "status" });
  const button = (text, label, act) =>
    element("button", {
      class: "nbdock-button", type: "button", text, "aria-label": label, title: label,
      on: { click: act },
    });
  const bar = element(
    "div",
    { class: "nbdock-closure-bar" },
    search, found, element("span", { class: "nbdock-closure-space" }),
    button("\u2212", "Smaller (key \u2212)", () => zoom(1 / ZOOM)),
    button("+", "Larger (key +)", () => zoom(ZOOM)),
    button("All", "Show all of it (key 0)", () => fit()),
    button("1:1", "Readable size (key 1)", () => readable()),
  );
  const port = element("div", {
    class: "nbdock-closure-port", tabindex: "0", role: "listbox", "aria-multiselectable": "true",
    "aria-label": "Packages. Arrows go along dependencies, Enter selects, slash searches.",
  });
  const side = element("div", { class: "nbdock-closure-side" });
  frame.body.append(bar, element("div", { class: "nbdock-closure-main" }, port, side));

  let data = null;
  let svg = null;
  let groups = [];
  let boxes = []; // of each node, in the picture's own pixels
  let neededBy = [];
  let over = null;
  let at = -1;
  let hits = [];
  const selected = new Set();
  const view = { x: 0, y: 0, scale: 1 };

  // Where the picture stands

  const place = () => {
    svg.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  };
  const size = () => [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height];
  const keepIn = () => {
    const [width, height] = size();
    const clamp = (value, room, length) =>
      length <= room
        ? Math.max(0, Math.min(room - length, value))
        : Math.max(room - length - 40, Math.min(40, value));
    view.x = clamp(view.x, port.clientWidth, width * view.scale);
    view.y = clamp(view.y, port.clientHeight, height * view.scale);
    place();
  };
  const least = () => {
    const [width, height] = size();
    return Math.min(1, port.clientWidth / width, port.clientHeight / height);
  };
  const zoom = (factor, x = port.clientWidth / 2, y = port.clientHeight / 2) => {
    const scale = Math.max(least(), Math.min(MOST, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    keepIn();
  };
  const fit = () => {
    const [width, height] = size();
    view.scale = least();
    view.x = (port.clientWidth - width * view.scale) / 2;
    view.y = (port.clientHeight - height * view.scale) / 2;
    place();
  };
  const reveal = (i) => {
    const box = boxes[i];
    const margin = 60;
    const left = view.x + box.x * view.scale;
    const top = view.y + box.y * view.scale;
    const right = left + box.width * view.scale;
    const bottom = top + box.height * view.scale;
    if (left < margin) view.x += margin - left;
    else if (right > port.clientWidth - margin) view.x -= right - port.clientWidth + margin;
    if (top < margin) view.y += margin - top;
    else if (bottom > port.clientHeight - margin) view.y -= bottom - port.clientHeight + margin;
    keepIn();
  };
  const readable = () => {
    const target = at >= 0 ? at : data.nodes.findIndex((node) => node.because < 0);
    view.scale = Math.max(READABLE, least());
    if (target >= 0) {
      const box = boxes[target];
      view.x = (at >= 0 ? port.clientWidth / 2 : 60) - box.x * view.scale;
      view.y = port.clientHeight / 2 - (box.y + box.height / 2) * view.scale;
    }
    keepIn();
  };

  // What belongs to a package

  const why = (i) => {
    const chain = [];
    for (let node = i; node >= 0; node = data.nodes[node].because) chain.unshift(node);
    return chain;
  };
  const line = (from, to, kind) => {
    const known = data.lines[`${from} ${to}`];
    const [a, b] = [boxes[from], boxes[to]];
    const [x1, y1] = [a.x + a.width, a.y + a.height / 2];
    const [x2, y2] = [b.x, b.y + b.height / 2];
    const bend = Math.max(20, Math.abs(x2 - x1) / 2);
    const curve = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    const isImplied = !known ? " is-implied" : "";
    return drawn("path", { d: known || curve, class: `nbdock-closure-${kind}${isImplied}` });
  };
  const mark = () => {
    const node = at >= 0 ? data.nodes[at] : null;
    const chain = node ? why(at) : [];
    const near = new Set(node ? [at, ...node.needs, ...neededBy[at], ...chain] : []);
    const isHit = hits.length ? new Set(hits) : null;
    groups.forEach((group, i) => {
      group.classList.toggle("is-at", i === at);
      group.classList.toggle("is-why", chain.length > 1 && chain.includes(i));
      group.classList.toggle("is-chosen", selected.has(i));
      group.classList.toggle("is-hit", isHit !== null && isHit.has(i));
      group.classList.toggle("is-far", isHit ? !isHit.has(i) && i !== at : node !== null && !near.has(i));
      group.setAttribute("aria-selected", String(selected.has(i)));
    });
    svg.classList.toggle("is-looking", node !== null);
    over.replaceChildren();
    if (!node) return;
    for (const other of neededBy[at]) over.append(line(other, at, "in"));
    for (const other of node.needs) over.append(line(at, other, "out"));
    for (let i = 1; i < chain.length; i++) over.append(line(chain[i - 1], chain[i], "why"));
  };
  const look = (i, { move = true } = {}) => {
    at = i;
    mark();
    if (i >= 0) {
      port.setAttribute("aria-activedescendant", groups[i].id);
      if (move) reveal(i);
    } else port.removeAttribute("aria-activedescendant");
    tell();
  };
  const names = (title, list, joint) => {
    const links = list.map((i) =>
      element("button", {
        class: "nbdock-linked", type: "button", text: plain(data.nodes[i].name),
        on: { click: () => look(i) },
      }),
    );
    const parts = links.flatMap((link, i) => (i && joint ? [joint, link] : [link]));
    return element(
      "div", { class: "nbdock-closure-names" },
      element("div", { class: "nbdock-muted", text: title }), element("div", {}, ...parts),
    );
  };
  const tell = () => {
    if (at < 0) {
      const largest = data.nodes.map((_, i) => i).sort((a, b) => data.nodes[b].size - data.nodes[a].size);
      const total = data.nodes.reduce((sum, node) => sum + node.size, 0);
      side.replaceChildren(
        element("div", { class: "nbdock-closure-name", text: plural(data.nodes.length, "package") }),
        element("div", { text: bytesText(total) }),
        element("div", {
          class: "nbdock-muted",
          text: data.implied
            ? `${plural(data.implied, "dependency")} that others imply: shown with a package`.replace(
                "dependencys", "dependencies")
            : "Click on a package, or use the arrow keys",
        }),
        names("Asked for", data.nodes.flatMap((node, i) => (node.because < 0 ? [i] : []))),
        names("Largest", largest.slice(0, 8)),
      );
      return;
    }
    const node = data.nodes[at];
    const bySize = (list) => [...list].sort((a, b) => data.nodes[b].size - data.nodes[a].size);
    const parts = [
      element("div", { class: "nbdock-closure-name", text: plain(node.name) }),
      element("div", { class: "nbdock-muted", text: plain(node.version) }),
      element("div", { text: `${bytesText(node.size)}; ${bytesText(node.closure)} with all it needs` }),
      names("Why it is here", why(at), " \u2192 "),
      names(`Needs ${count(node.needs.length)}`, bySize(node.needs)),
      names(`Needed by ${count(neededBy[at].length)}`, bySize(neededBy[at])),
    ];
    side.replaceChildren(...parts);
    side.scrollTop = 0;
    frame.say(`${node.name}, ${bytesText(node.size)}, needs ${node.needs.length}, needed by ${neededBy[at].length}`);
  };

  // Selecting

  const send = newest(
    (nodes) => ask(model, { what: "select", nodes }),
    (answer) => frame.setCode(answer.code),
    (error) => frame.fail(error),
  );
  const select = (i, more) => {
    if (more) {
      if (!selected.delete(i)) selected.add(i);
    } else {
      selected.clear();
      if (i >= 0) selected.add(i);
    }
    mark();
    send([...selected]);
  };

  // Searching

  const seek = () => {
    const text = search.value.trim().toLowerCase();
    hits = text
      ? data.nodes.flatMap((node, i) => (node.name.toLowerCase().includes(text) ? [i] : []))
      : [];
    hits.sort((a, b) => boxes[a].x - boxes[b].x || boxes[a].y - boxes[b].y);
    found.textContent = text ? `${count(hits.length)} of ${count(data.nodes.length)}` : "";
    mark();
  };
  search.addEventListener("input", seek);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits.length) {
      const step = event.shiftKey ? -1 : 1;
      const now = hits.indexOf(at);
      look(hits[now < 0 ? 0 : (now + step + hits.length) % hits.length]);
    } else if (event.key === "Escape") {
      search.value = "";
      seek();
      port.focus();
    }
  });

  // Mouse and keys

  const nodeOf = (target) => {
    const group = target.closest ? target.closest("[data-i]") : null;
    return group ? Number(group.dataset.i) : -1;
  };
  let drag = null;
  port.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !svg) return;
    drag = { x: event.clientX, y: event.clientY, from: { ...view }, moved: false, node: nodeOf(event.target) };
  });
  port.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved) port.setPointerCapture(event.pointerId);
    drag.moved = true;
    port.classList.add("is-dragged");
    view.x = drag.from.x + dx;
    view.y = drag.from.y + dy;
    keepIn();
  });
  const drop = (event) => {
    if (!drag) return;
    const { moved, node } = drag;
    drag = null;
    port.classList.remove("is-dragged");
    if (moved || event.type === "pointercancel") return;
    look(node, { move: false });
    if (node >= 0) select(node, event.ctrlKey || event.metaKey || event.shiftKey);
  };
  port.addEventListener("pointerup", drop);
  port.addEventListener("pointercancel", drop);
  // The page scrolls with the wheel; with Ctrl, or by two fingers, the picture is zoomed.
  port.addEventListener(
    "wheel",
    (event) => {
      if (!svg || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      event.stopPropagation();
      const box = port.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
    },
    { passive: false },
  );
  const nearest = (list, x, y) => {
    let best = -1;
    let least = Infinity;
    for (const i of list) {
      const gap = Math.abs(boxes[i].y - y) + Math.abs(boxes[i].x - x) / 8;
      if (i !== at && gap < least) [best, least] = [i, gap];
    }
    return best;
  };
  const step = (key) => {
    if (at < 0) return data.nodes.findIndex((node) => node.because < 0);
    const { x, y } = boxes[at];
    if (key === "ArrowRight") return nearest(data.nodes[at].needs, x, y);
    if (key === "ArrowLeft") {
      const before = data.nodes[at].because;
      return before >= 0 ? before : nearest(neededBy[at], x, y);
    }
    const down = key === "ArrowDown";
    const column = boxes.flatMap((box, i) =>
      Math.abs(box.x - x) < 12 && (down ? box.y > y : box.y < y) ? [i] : []);
    return nearest(column, x, y);
  };
  port.addEventListener("keydown", (event) => {
    if (!svg || event.altKey || event.metaKey) return;
    const acts = {
      "+": () => zoom(ZOOM), "=": () => zoom(ZOOM), "-": () => zoom(1 / ZOOM), 0: fit, 1: readable,
      "/": () => search.focus(),
      Enter: () => at >= 0 && select(at, event.ctrlKey || event.shiftKey),
      " ": () => at >= 0 && select(at, true),
      Escape: () => {
        look(-1);
        select(-1, false);
      },
    };
    if (event.key.startsWith("Arrow")) {
      const next = step(event.key);
      if (next >= 0) look(next);
    } else if (acts[event.key] && !(event.ctrlKey && event.key !== "Enter")) acts[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const open = async () => {
    data = await frame.watch(ask(model, { what: "picture" }));
    port.innerHTML = data.svg; // Python's, with everything escaped and no scripts
    svg = port.querySelector("svg");
    neededBy = data.nodes.map(() => []);
    data.nodes.forEach((node, i) => node.needs.forEach((other) => neededBy[other].push(i)));
    groups = data.nodes.map((_, i) => svg.querySelector(`[data-i="${i}"]`));
    boxes = groups.map((group) => {
      const [x, y] = group.dataset.at.split(" ").map(Number);
      const rect = group.querySelector("rect");
      return { x, y, width: Number(rect.getAttribute("width")), height: Number(group.dataset.height) };
    });
    groups.forEach((group, i) => {
      group.id = freshId();
      group.setAttribute("role", "option");
      group.setAttribute("aria-label", `${data.nodes[i].name}, ${bytesText(data.nodes[i].size)}`);
    });
    over = drawn("g", { class: "nbdock-closure-over", "aria-hidden": "true" });
    svg.insertBefore(over, groups.length ? svg.querySelector("[data-i]") : null);
    data.selected.forEach((i) => selected.add(i));
    tell();
    mark();
    // As high as it needs to be; then people may drag its edge.
    const [width, height] = size();
    port.style.height = `${Math.max(240, Math.min(520, height * READABLE + 24))}px`;
    if (port.clientWidth >= width * READABLE) fit();
    else readable();
  };
  open().catch(() => {});
  const resized = new ResizeObserver(() => svg && (at >= 0 ? reveal(at) : keepIn()));
  resized.observe(port);
  return () => {
    resized.disconnect();
    frame.close();
  };
}

export default { render };
