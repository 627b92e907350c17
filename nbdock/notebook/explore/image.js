// The layers of an image beside the tree of its files, the facts and the beginning of one of them,
// and a treemap of what takes the room. What is shown is asked for when it is seen.

const LINE_PX = 24;
const PAGE = 100;
const TYPING_PAUSE_MS = 150;
const CHANGE_MARKS = { added: "+", modified: "~", unchanged: "=", deleted: "\u2212" };
const ICONS = {
  directory: "M1.5 3.5h4.6l1.4 1.6h7v7.9h-13z",
  file: "M3.5 1.5h5.6l3.4 3.4v9.6h-9z M9 1.7v3.4h3.4",
  symlink: "M6.2 4.2h-1.4a3 3 0 0 0 0 7.6h1.4M9.8 4.2h1.4a3 3 0 0 1 0 7.6H9.8M5.6 8h4.8",
  whiteout: "M3 3l10 10M13 3L3 13",
};

function icon(kind) {
  const shape = kind.includes("whiteout") ? "whiteout" : kind === "hardlink" ? "symlink" : kind;
  return drawn(
    "svg",
    { class: `nbdock-icon nbdock-icon-${shape}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    drawn("path", { d: ICONS[shape] || ICONS.file }),
  );
}

function render({ model, el }) {
  const start = model.get("start");
  const frame = openFrame({ model, el }, { name: "image", label: `Files of ${start.title}` });
  const state = {
    filter: { layer: null, only: false, change: "", search: "" },
    sort: "name",
    descending: false,
    open: new Set(),
    root: "n0",
    shade: "layer",
  };
  const question = (what, more = {}) => ({
    what,
    filter: state.filter,
    sort: state.sort,
    descending: state.descending,
    open: [...state.open],
    ...more,
  });

  const layers = layerList(frame, start, {
    choose: (layer) => filterBy({ layer }),
    only: (only) => filterBy({ only }),
  });
  const tools = toolbar(frame, start, { change: (some) => filterBy(some) });
  const tree = fileTree(frame, model, start, state, question, {
    selected: (keys, line) => selected(keys, line),
    searched: (key) => reveal(key),
    leave: () => leave(),
  });
  const details = detailsPane(frame, model, question);
  const map = treemap(frame, model, start, state, question, {
    choose: (key) => reveal(key),
    enter: (key) => enter(key),
  });

  frame.body.append(
    element(
      "header",
      { class: "nbdock-head" },
      element("span", { class: "nbdock-title", text: plain(start.title) }),
      element("span", { class: "nbdock-facts", text: start.facts.map(plain).join(" \u00b7 ") }),
    ),
    element(
      "div",
      { class: "nbdock-panes" },
      layers.box,
      element("section", { class: "nbdock-files", "aria-label": "Files" }, tools.box, tree.box),
      details.box,
      map.box,
    ),
  );
  frame.setCode(start.code);

  function filterBy(some) {
    Object.assign(state.filter, some);
    layers.show(state.filter);
    tools.show(state.filter);
    frame.clear();
    tree.restart();
    map.redraw();
  }
  // Escape leaves what is narrowest first.
  function leave() {
    const { search, change, layer } = state.filter;
    if (search) filterBy({ search: "" });
    else if (change) filterBy({ change: "" });
    else if (layer !== null) filterBy({ layer: null });
    else return false;
    return true;
  }
  const select = newest(
    (keys) => frame.watch(ask(model, question("select", { keys }))),
    (answer, keys) => {
      frame.setCode(answer.code);
      tree.tell(keys.length ? answer : null);
    },
    () => {},
  );
  function selected(keys, line) {
    select(keys);
    details.show(keys.length === 1 ? keys[0] : "", keys.length);
    if (keys.length === 1 && line && line.directory) enter(line.key);
  }
  function enter(key) {
    if (key !== state.root) {
      state.root = key;
      map.redraw();
    }
  }
  async function reveal(key) {
    try {
      const answer = await frame.watch(ask(model, question("reveal", { key })));
      if (state.filter.search) filterBy({ search: "" });
      state.open = new Set(answer.open);
      tree.focus(key, answer.line);
    } catch {
      // The frame has said so.
    }
  }

  tree.restart();
  return () => {
    tree.close();
    map.close();
    tools.close();
    frame.close();
  };
}

// Layers

function layerList(frame, start, { choose, only }) {
  const largest = Math.max(1, ...start.layers.map((layer) => layer.size_bytes));
  const mode = (text, value, tip) =>
    element("button", {
      class: "nbdock-button nbdock-mode", type: "button", role: "radio", text, "data-tip": tip,
      "aria-checked": String(!value), on: { click: () => only(value) },
    });
  const modes = [
    mode("up to it", false, "What a container sees of the layers up to the chosen one"),
    mode("only it", true, "The entries of the chosen layer alone, whiteouts among them"),
  ];
  const group = element(
    "div",
    { class: "nbdock-modes", role: "radiogroup", "aria-label": "What of the layer", hidden: true },
    ...modes,
  );
  const list = element("div", {
    class: "nbdock-layers", role: "listbox", tabindex: "0", "aria-label": "Layers",
  });
  const all = { position: null, id: freshId() };
  const options = [all, ...start.layers.map((layer) => ({ ...layer, id: freshId() }))];
  const total = start.layers.reduce((sum, layer) => sum + layer.size_bytes, 0);
  const nodes = options.map((layer, i) => {
    const isAll = layer.position === null;
    const size = isAll ? total : layer.size_bytes;
    const text = isAll ? "What a container sees" : plain(layer.text || layer.comment || "\u2014");
    const wasted = isAll ? 0 : layer.wasted_bytes;
    const counts = isAll
      ? plural(start.layers.length, "layer")
      : plural(layer.files, "file");
    const bar = element("span", {
      class: "nbdock-layer-bar",
      style: {
        background: isAll ? "var(--nbdock-muted)" : colourOf(layer.colour),
        width: `${Math.max(0.5, isAll ? 100 : (100 * size) / largest)}%`,
      },
    });
    const tip = isAll
      ? ""
      : [
          `Layer ${layer.position}`,
          plain(layer.text).slice(0, 600),
          layer.comment && layer.comment !== layer.text ? plain(layer.comment).slice(0, 300) : "",
          `${bytesText(layer.size_bytes)} in ${plural(layer.files, "file")}; ` +
            `${bytesText(layer.blob_bytes)} as a blob`,
          layer.wasted_bytes ? `${bytesText(layer.wasted_bytes)} of it are of no use` : "",
          layer.digest,
        ]
          .filter(Boolean)
          .join("\n");
    return element(
      "div",
      {
        class: "nbdock-layer", role: "option", id: layer.id, "aria-selected": "false",
        "data-tip": tip, on: { click: () => go(i) },
      },
      element(
        "div",
        { class: "nbdock-layer-top" },
        element("span", { class: "nbdock-layer-name", text: isAll ? "All" : layer.position }),
        element("span", { class: "nbdock-layer-text", text, dir: "ltr" }),
      ),
      element("div", { class: "nbdock-layer-track", "aria-hidden": "true" }, bar),
      element(
        "div",
        { class: "nbdock-layer-facts" },
        element("span", { text: `${bytesText(size)}, ${counts}` }),
        wasted
          ? element("span", { class: "nbdock-wasted", text: `${bytesText(wasted)} wasted` })
          : null,
      ),
    );
  });
  list.append(...nodes);
  let current = 0;
  const go = (i) => {
    choose(options[i].position);
  };
  listKeys(list, {
    count: () => options.length,
    current: () => current,
    move: go,
    open: () => false,
    leave: () => current > 0 && (go(0), true),
  });
  const show = (filter) => {
    current = options.findIndex((layer) => layer.position === filter.layer);
    nodes.forEach((node, i) => node.setAttribute("aria-selected", String(i === current)));
    list.setAttribute("aria-activedescendant", options[current].id);
    const box = list.getBoundingClientRect();
    const place = nodes[current].getBoundingClientRect();
    if (place.top < box.top || place.bottom > box.bottom) {
      list.scrollTop += place.top - box.top - 4;
    }
    group.hidden = filter.layer === null;
    modes.forEach((node, i) => node.setAttribute("aria-checked", String(filter.only === (i === 1))));
  };
  show({ layer: null, only: false });
  return {
    box: element(
      "section",
      { class: "nbdock-layer-pane", "aria-label": "Layers" },
      element("div", { class: "nbdock-pane-head" }, element("span", { text: "Layers" }), group),
      list,
    ),
    show,
  };
}

// Search and filters

function toolbar(frame, start, { change }) {
  let typing = 0;
  const search = keepKeys(
    element("input", {
      class: "nbdock-input nbdock-search", type: "search", spellcheck: "false",
      autocomplete: "off", "aria-label": "Search paths", placeholder: "Search paths: lib, *.so, /usr/**/*.py",
      "data-tip": "A part of a path, or a glob\n* and ? stand for anything but a slash, ** for anything\n" +
        "Small letters find capitals, too",
      on: {
        input: () => {
          clearTimeout(typing);
          typing = setTimeout(() => change({ search: search.value.trim() }), TYPING_PAUSE_MS);
        },
        keydown: (event) => {
          if (event.key !== "Escape") return;
          event.preventDefault();
          clearTimeout(typing);
          search.value = "";
          change({ search: "" });
        },
      },
    }),
  );
  const names = { "": "All files", wasted: "Wasted", unchanged: "Unchanged" };
  const changes = keepKeys(
    element(
      "select",
      {
        class: "nbdock-select", "aria-label": "Changes",
        on: { change: () => change({ change: changes.value }) },
      },
      ...["", ...start.changes].map((name) =>
        element("option", {
          value: name, text: names[name] || name[0].toUpperCase() + name.slice(1),
        }),
      ),
    ),
  );
  return {
    box: element("div", { class: "nbdock-tools", role: "search" }, search, changes),
    show: (filter) => {
      if (search.value.trim() !== filter.search) search.value = filter.search;
      changes.value = filter.change;
      changes.classList.toggle("nbdock-in-force", Boolean(filter.change));
    },
    close: () => clearTimeout(typing),
  };
}

// The tree

function fileTree(frame, model, start, state, question, { selected, searched, leave }) {
  const heads = [
    ["name", "Name", "nbdock-cell-name"],
    ["size", "Size", "nbdock-cell-size"],
    ["count", "Files", "nbdock-cell-count"],
    ["", "Layer", "nbdock-cell-layer"],
    ["", "Change", "nbdock-cell-change"],
  ];
  const headNodes = heads.map(([sort, text, style]) =>
    element(
      "div",
      { class: `nbdock-cell ${style}`, role: "columnheader" },
      sort
        ? element("button", {
            class: "nbdock-sort", type: "button", text, on: { click: () => sortBy(sort) },
          })
        : element("span", { text }),
    ),
  );
  const box = element("div", {
    class: "nbdock-lines", tabindex: "0", role: "treegrid", "aria-label": "Files",
    "aria-multiselectable": "true",
  });
  const empty = element("div", { class: "nbdock-empty", hidden: true });
  const status = element("div", { class: "nbdock-status", role: "status" });
  const statusCount = element("span", {});
  const statusChosen = element("span", { class: "nbdock-chosen-count" });
  status.append(statusCount, statusChosen);
  const idOf = freshId();

  let pages = new Map(); // of PAGE lines each, by number
  let total = 0;
  let biggest = 1;
  let version = 0; // what comes for an earlier list is dropped
  let at = -1;
  let anchor = -1;
  let wanted = null; // a line to be selected when it comes
  let isLoading = false;
  let later = []; // what keys mean that were pressed before the lines came
  const chosen = new Set();

  const lineAt = (index) => {
    const page = pages.get(Math.floor(index / PAGE));
    return page ? page[index % PAGE] : undefined;
  };
  const fetchPages = newest(
    async (first, last, of) => {
      const answer = await frame.watch(
        ask(model, question("lines", { from: first * PAGE, to: (last + 1) * PAGE })),
      );
      return { answer, first, last, of };
    },
    ({ answer, first, of }) => {
      if (of !== version) return;
      frame.clear();
      for (let i = 0; i < answer.lines.length; i += PAGE) {
        pages.set(first + i / PAGE, answer.lines.slice(i, i + PAGE));
      }
      const isNew = total !== answer.total;
      total = answer.total;
      if (state.sort === "size" && state.descending && first === 0 && answer.lines.length) {
        biggest = Math.max(1, answer.lines[0].size);
      } else biggest = Math.max(biggest, ...answer.lines.map((line) => line.size));
      tellCount(answer);
      if (isNew) rows.setCount(total);
      else rows.redraw();
      isLoading = false;
      if (wanted !== null && lineAt(wanted)) {
        const index = wanted;
        wanted = null;
        choose(index, {});
      }
      for (const act of later.splice(0)) act();
    },
    () => {
      isLoading = false;
      later = [];
    },
  );
  const need = (first, last) => {
    let from = Math.floor(first / PAGE);
    let to = Math.floor(Math.max(first, last - 1) / PAGE);
    while (from <= to && pages.has(from)) from++;
    while (to > from && pages.has(to)) to--;
    if (from <= to && (from * PAGE < total || !pages.size)) fetchPages(from, to, version);
  };
  const rows = virtualRows(box, { height: LINE_PX, draw: (i) => drawLine(i), onSeen: need });

  function tellCount(answer) {
    const { filter } = state;
    const isFiltered = filter.search || filter.change;
    const what = isFiltered ? plural(answer.total, filter.search ? "match" : "line").replace("matchs", "matches") : "";
    statusCount.textContent = filter.search
      ? `${what}, ${bytesText(answer.bytes)}`
      : `${plural(answer.files, "file")}, ${bytesText(answer.bytes)}`;
    empty.hidden = answer.total > 0;
    if (!empty.hidden) {
      empty.textContent = filter.search
        ? `Nothing matches ${plain(filter.search)}.`
        : filter.change
          ? `Nothing is ${filter.change} here.`
          : "There are no files here.";
    }
    box.setAttribute("aria-rowcount", String(answer.total));
  }

  function drawLine(index) {
    const line = lineAt(index);
    const id = `${idOf}-${index}`;
    if (!line) {
      return element(
        "div",
        { class: "nbdock-line nbdock-line-loading", role: "row", id },
        element("span", { class: "nbdock-loading", style: { width: `${20 + ((index * 37) % 40)}%` } }),
      );
    }
    const isOpen = line.directory && state.open.has(Number(line.key.slice(1)));
    const isChosen = chosen.has(line.key);
    const isSearch = Boolean(state.filter.search);
    const kind = line.kind || "directory";
    const name = element("span", { class: "nbdock-name-text", dir: "ltr" });
    nameParts(name, line, state.filter.search);
    const facts = [plain(line.name)];
    if (line.link) facts.push(`\u2192 ${plain(line.link)}`);
    facts.push(`${bytesText(line.size)} (${count(line.size)} bytes)`);
    if (line.waste) facts.push(`wasted: ${line.waste}`);
    return element(
      "div",
      {
        class: `nbdock-line${line.waste ? " nbdock-line-wasted" : ""}`,
        role: "row", id, "data-index": index, "data-tip": facts.join("\n"),
        "aria-level": line.depth + 1, "aria-rowindex": index + 1,
        "aria-selected": String(isChosen),
        "aria-expanded": line.directory && !isSearch ? String(isOpen) : null,
        "data-current": index === at ? "true" : null,
      },
      element(
        "div",
        {
          class: "nbdock-cell nbdock-cell-name", role: "gridcell",
          style: { paddingLeft: `${6 + Math.min(line.depth, 40) * 16}px` },
        },
        element("span", {
          class: "nbdock-twisty", "aria-hidden": "true",
          text: line.directory && !isSearch ? (isOpen ? "\u25be" : "\u25b8") : "",
        }),
        icon(line.directory ? "directory" : kind),
        name,
        line.waste
          ? element("span", { class: "nbdock-badge nbdock-wasted", text: line.waste })
          : null,
      ),
      element(
        "div",
        { class: "nbdock-cell nbdock-cell-size", role: "gridcell" },
        element("span", {
          class: "nbdock-size-bar", "aria-hidden": "true",
          style: { width: `${line.size ? Math.max(1, (100 * line.size) / biggest) : 0}%` },
        }),
        element("span", { class: line.size ? "" : "nbdock-muted", text: bytesText(line.size) }),
      ),
      element("div", {
        class: "nbdock-cell nbdock-cell-count", role: "gridcell",
        text: line.directory ? count(line.count) : "",
      }),
      element(
        "div",
        { class: "nbdock-cell nbdock-cell-layer", role: "gridcell" },
        line.layer === undefined
          ? null
          : element("span", {
              class: "nbdock-swatch", "aria-hidden": "true",
              style: { background: colourOf(start.layers[line.layer].colour) },
            }),
        element("span", { text: line.layer === undefined ? "" : String(line.layer) }),
      ),
      element("div", {
        class: `nbdock-cell nbdock-cell-change nbdock-change-${line.change || "none"}`,
        role: "gridcell",
        text: line.change ? `${CHANGE_MARKS[line.change] || ""} ${line.change}` : "",
      }),
    );
  }

  // Without anything that was fetched, from the top or where it is.
  function restart({ keepPlace = false } = {}) {
    version++;
    pages = new Map();
    biggest = 1;
    isLoading = true;
    if (!keepPlace) {
      total = 0;
      at = -1;
      anchor = -1;
      if (chosen.size) {
        chosen.clear();
        selected([], null);
      } else selected([], null);
      box.scrollTop = 0;
    }
    const [first, last] = keepPlace ? rows.seen() : [0, PAGE];
    const from = Math.floor(first / PAGE);
    fetchPages(from, Math.max(from, Math.floor(Math.max(first, last - 1) / PAGE)), version);
    headNodes.forEach((node, i) => {
      const sort = heads[i][0];
      if (!sort) return;
      const isBy = sort === state.sort;
      node.setAttribute("aria-sort", isBy ? (state.descending ? "descending" : "ascending") : "none");
    });
  }

  function sortBy(sort) {
    if (state.sort === sort) state.descending = !state.descending;
    else {
      state.sort = sort;
      state.descending = sort !== "name";
    }
    restart();
  }

  function toggle(index, open) {
    const line = lineAt(index);
    if (!line || !line.directory || state.filter.search) return false;
    const node = Number(line.key.slice(1));
    if (open === state.open.has(node)) return false;
    if (open) state.open.add(node);
    else state.open.delete(node);
    restart({ keepPlace: true });
    return true;
  }

  function current(index) {
    at = index;
    box.setAttribute("aria-activedescendant", `${idOf}-${index}`);
  }

  async function choose(index, { add = false, range = false, quiet = false }) {
    const line = lineAt(index);
    current(index);
    if (!line) {
      wanted = index;
      rows.reveal(index);
      return;
    }
    if (range && anchor >= 0) {
      const [from, to] = [Math.min(anchor, index), Math.max(anchor, index) + 1];
      rows.reveal(index);
      try {
        const keys = await frame.watch(ask(model, question("keys", { from, to })));
        if (!add) chosen.clear();
        keys.forEach((key) => chosen.add(key));
      } catch {
        return; // the frame has said so
      }
    } else if (add) {
      if (chosen.has(line.key)) chosen.delete(line.key);
      else chosen.add(line.key);
      anchor = index;
    } else if (!quiet) {
      chosen.clear();
      chosen.add(line.key);
      anchor = index;
    }
    rows.reveal(index);
    rows.redraw();
    if (!quiet) selected([...chosen], line);
  }

  // When the button goes down: lines are drawn anew as they come, so that it might go up on another.
  box.addEventListener("mousedown", (event) => {
    const row = event.target.closest("[data-index]");
    if (!row || event.button !== 0) return;
    const index = Number(row.dataset.index);
    if (event.target.closest(".nbdock-twisty")) {
      current(index);
      if (!toggle(index, true)) toggle(index, false);
    } else if (event.detail === 2) activate(index);
    else choose(index, { add: event.ctrlKey || event.metaKey, range: event.shiftKey });
  });
  box.addEventListener("focus", () => {
    if (at < 0 && total && box.matches(":focus-visible")) {
      current(0);
      rows.redraw();
    }
  });

  function activate(index) {
    const line = lineAt(index);
    if (!line) return false;
    if (state.filter.search) searched(line.key);
    else if (!toggle(index, true)) toggle(index, false);
    return true;
  }

  // The line of the directory that a line is in.
  function above(index) {
    const line = lineAt(index);
    if (!line || !line.depth) return -1;
    for (let i = index - 1; i >= 0; i--) {
      const other = lineAt(i);
      if (!other) return -1;
      if (other.depth < line.depth) return i;
    }
    return -1;
  }

  listKeys(box, {
    count: () => total,
    current: () => at,
    page: () => rows.page(),
    move: (index, event) =>
      choose(index, { range: event.shiftKey, quiet: event.ctrlKey && !event.shiftKey }),
    open: function open(key) {
      if (isLoading) {
        later.push(() => open(key));
        return true;
      }
      if (key === "Enter") return activate(at);
      if (key === " ") {
        choose(at, { add: true });
        return true;
      }
      const line = lineAt(at);
      if (!line) return false;
      if (key === "ArrowRight") {
        if (!toggle(at, true) && line.directory && at + 1 < total) choose(at + 1, {});
        return true;
      }
      if (!toggle(at, false)) {
        const up = above(at);
        if (up >= 0) choose(up, {});
      }
      return true;
    },
    leave,
    find: newest(
      (text) => ask(model, question("find", { text, at: at + (text.length === 1 ? 1 : 0) })),
      (index) => {
        if (index !== null) choose(index, {});
      },
      frame.fail,
    ),
  });

  return {
    box: element(
      "div",
      { class: "nbdock-tree" },
      element("div", { class: "nbdock-line-heads", role: "row" }, ...headNodes),
      element("div", { class: "nbdock-lines-holder" }, box, empty),
      status,
    ),
    restart,
    tell: (answer) => {
      statusChosen.textContent = answer
        ? `${plural(answer.rows, "row")} selected, ${bytesText(answer.bytes)}`
        : "";
    },
    focus: (key, index) => {
      if (index === null) return;
      wanted = index;
      at = index;
      version++;
      pages = new Map();
      fetchPages(Math.floor(index / PAGE), Math.floor(index / PAGE), version);
    },
    close: () => rows.close(),
  };
}

// The last part of a path, and, if all of it is to be seen, what is before it. What a search has
// found stands out.
function nameParts(node, line, search) {
  const path = plain(line.name);
  const cut = path.lastIndexOf("/") + 1;
  const name = path.slice(cut);
  node.append(...marked(name, search), line.directory ? "/" : "");
  if (line.link) node.append(element("span", { class: "nbdock-link", text: ` \u2192 ${plain(line.link)}` }));
  if (!search) return;
  const isInName = marked(name, search).length > 1;
  const before = path.slice(0, cut);
  node.append(
    element("span", { class: "nbdock-before" }, ...(isInName ? [before] : marked(before, search))),
  );
}

function marked(text, search) {
  if (!search || /[*?[]/.test(search)) return [text];
  const from = (search === search.toLowerCase() ? text.toLowerCase() : text).indexOf(search);
  if (from < 0) return [text];
  const to = from + search.length;
  return [text.slice(0, from), element("mark", { text: text.slice(from, to) }), text.slice(to)];
}

// Facts and content

function detailsPane(frame, model, question) {
  const path = element("div", { class: "nbdock-path" });
  const facts = element("dl", { class: "nbdock-fact-list" });
  const why = element("div", { class: "nbdock-why", hidden: true });
  const note = element("div", { class: "nbdock-preview-note", hidden: true });
  const text = element("pre", { class: "nbdock-preview", tabindex: "0", hidden: true });
  const empty = element("div", {
    class: "nbdock-empty", text: "Select a file to see what it is and what is in it.",
  });
  const box = element(
    "section",
    { class: "nbdock-details", "aria-label": "Details" },
    empty, path, why, facts, note, text,
  );
  const clear = () => {
    path.textContent = "";
    facts.replaceChildren();
    why.hidden = true;
    note.hidden = true;
    text.hidden = true;
    text.textContent = "";
  };
  const preview = newest(
    (key) => frame.watch(ask(model, question("preview", { key }))),
    (answer, key) => {
      if (key !== shown) return;
      const some = answer.shown_bytes < answer.size_bytes;
      note.textContent =
        answer.kind === "empty"
          ? "The file is empty."
          : (answer.kind === "binary" ? "Binary; " : "") +
            (some
              ? `the first ${bytesText(answer.shown_bytes)} of ${bytesText(answer.size_bytes)}`
              : answer.kind === "binary" ? bytesText(answer.size_bytes) : "");
      note.hidden = !note.textContent;
      text.textContent = answer.text;
      text.classList.toggle("nbdock-preview-hex", answer.kind === "binary");
      text.setAttribute("aria-label", "Content");
      text.scrollTop = 0;
      text.hidden = !answer.text;
    },
    () => {
      note.hidden = true;
    },
  );
  // Finding that out may take a while the first time.
  const owner = newest(
    (key) => ask(model, question("owner", { key })),
    (name, key) => {
      if (key !== shown || !name) return;
      facts.append(element("dt", { text: "package" }), element("dd", { text: plain(name) }));
    },
    frame.fail,
  );
  let shown = "";
  const details = newest(
    (key) => frame.watch(ask(model, question("details", { key }))),
    (answer, key) => {
      if (key !== shown) return;
      clear();
      path.textContent = plain(answer.path);
      why.textContent = answer.waste ? `Wasted. ${plain(answer.waste)}` : "";
      why.hidden = !answer.waste;
      facts.append(
        ...answer.facts.flatMap(([name, value]) => [
          element("dt", { text: name }),
          element("dd", { text: plain(value), class: name === "digest" ? "nbdock-digest" : "" }),
        ]),
      );
      if (answer.content) owner(key);
      if (answer.content) {
        note.textContent = "Reading\u2026";
        note.hidden = false;
        preview(key);
      }
    },
    () => {},
  );
  return {
    box,
    show: (key, number) => {
      shown = key;
      empty.hidden = Boolean(key);
      empty.textContent =
        number > 1
          ? `${plural(number, "item")} selected.`
          : "Select a file to see what it is and what is in it.";
      if (key) details(key);
      else clear();
    },
  };
}

// The treemap

function treemap(frame, model, start, state, question, { choose, enter }) {
  const crumbs = element("nav", { class: "nbdock-crumbs", "aria-label": "Directory of the treemap" });
  const legend = element("div", { class: "nbdock-legend" });
  const shades = keepKeys(
    element(
      "select",
      {
        class: "nbdock-select nbdock-shades", "aria-label": "Colours",
        on: {
          change: () => {
            state.shade = shades.value;
            redraw();
          },
        },
      },
      ...start.shades.map((name) => element("option", { value: name, text: `by ${name}` })),
    ),
  );
  const svg = drawn("svg", {
    class: "nbdock-map", tabindex: "0", role: "img", "aria-label": "What takes the room",
  });
  const holder = element("div", { class: "nbdock-map-holder" }, svg);
  const empty = element("div", { class: "nbdock-empty", hidden: true, text: "Nothing here takes room." });
  const box = element(
    "section",
    { class: "nbdock-map-pane", "aria-label": "Treemap" },
    element("div", { class: "nbdock-pane-head" }, crumbs, legend, shades),
    holder, empty,
  );
  let tiles = [];
  let nodes = [];
  let current = -1;
  let path = [];

  const load = newest(
    (width, height) =>
      frame.watch(ask(model, question("tiles", { key: state.root, shade: state.shade, width, height }))),
    (answer, width, height) => draw(answer, width, height),
    () => {},
  );
  const redraw = () => {
    // What is hidden, because nothing was drawn before, has no size.
    holder.hidden = false;
    const { clientWidth: width, clientHeight: height } = holder;
    if (width && height) load(width, height);
  };

  function draw(answer, width, height) {
    tiles = answer.tiles;
    path = answer.crumbs;
    current = -1;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    nodes = tiles.map((tile, i) => drawTile(tile, i));
    svg.replaceChildren(...nodes);
    empty.hidden = tiles.length > 0;
    holder.hidden = !tiles.length;
    crumbs.replaceChildren(
      ...path.flatMap((crumb, i) => {
        const isLast = i === path.length - 1;
        const button = element("button", {
          class: "nbdock-crumb", type: "button", text: plain(crumb.name), disabled: isLast,
          "aria-current": isLast ? "true" : null, on: { click: () => enter(crumb.key) },
        });
        return i > 1 ? [element("span", { class: "nbdock-muted", text: "/" }), button] : [button];
      }),
      element("span", { class: "nbdock-muted nbdock-crumb-size", text: bytesText(answer.size) }),
    );
    legend.replaceChildren(
      ...answer.legend.slice(0, 8).map((each) =>
        element(
          "span",
          { class: "nbdock-legend-item" },
          element("span", { class: "nbdock-swatch", style: { background: colourOf(each.colour) } }),
          `${plain(each.name)} ${bytesText(each.size)}`,
        ),
      ),
      answer.legend.length > 8
        ? element("span", { class: "nbdock-muted", text: `and ${answer.legend.length - 8} more` })
        : "",
    );
  }

  function drawTile(tile, i) {
    const [x, y, width, height] = tile.box;
    const name = tile.key ? plain(tile.name) + (tile.directory ? "/" : "") : "";
    const what = tile.key ? name : plural(tile.count, "smaller item");
    const tip = [
      what,
      bytesText(tile.size) + (tile.directory ? ` in ${plural(tile.count, "file")}` : ""),
      tile.shade ? (tile.directory ? `mostly ${tile.shade}` : tile.shade) : "",
    ];
    const group = drawn(
      "g",
      {
        class: `nbdock-tile${tile.parent ? " nbdock-tile-parent" : ""}${tile.key ? " nbdock-tile-live" : ""}`,
        "data-tip": tip.filter(Boolean).join("\n"), "data-tile": i,
      },
      drawn("rect", {
        x: x + 0.5, y: y + 0.5, width: Math.max(0, width - 1), height: Math.max(0, height - 1),
        rx: Math.min(2, width / 6), style: {
          fill: `color-mix(in srgb, ${tile.parent ? "var(--nbdock-text) 7%" : `${colourOf(tile.colour)} var(--nbdock-tint)`}, var(--nbdock-ground))`,
        },
      }),
    );
    if (width > 26 && height > 14 && name) {
      const label = drawn("text", { x: x + 5, y: y + 12 });
      const room = Math.floor((width - 8) / 6.2);
      label.textContent = name.length > room ? `${name.slice(0, Math.max(1, room - 1))}\u2026` : name;
      group.append(label);
      if (!tile.parent && height > 28 && width > 44) {
        group.append(drawn("text", { x: x + 5, y: y + 24, class: "nbdock-tile-size", text: bytesText(tile.size) }));
      }
    }
    return group;
  }

  function act(i) {
    const tile = tiles[i];
    if (!tile || !tile.key) return false;
    if (tile.directory) enter(tile.key);
    else choose(tile.key);
    return true;
  }
  svg.addEventListener("click", (event) => {
    const tile = event.target.closest("[data-tile]");
    if (tile) act(Number(tile.dataset.tile));
  });
  listKeys(svg, {
    count: () => tiles.length,
    current: () => current,
    move: (index) => {
      if (nodes[current]) nodes[current].classList.remove("nbdock-tile-current");
      current = index;
      nodes[current].classList.add("nbdock-tile-current");
      frame.say(nodes[current].dataset.tip.replaceAll("\n", ", "));
    },
    open: (key) => {
      if (key === "Enter" || key === " ") return act(current);
      const step = key === "ArrowRight" ? 1 : -1;
      const index = Math.max(0, Math.min(tiles.length - 1, current + step));
      if (!tiles.length) return false;
      if (nodes[current]) nodes[current].classList.remove("nbdock-tile-current");
      current = index;
      nodes[current].classList.add("nbdock-tile-current");
      frame.say(nodes[current].dataset.tip.replaceAll("\n", ", "));
      return true;
    },
    leave: () => {
      if (path.length < 2) return false;
      enter(path[path.length - 2].key);
      return true;
    },
  });
  const resized = new ResizeObserver(redraw);
  resized.observe(holder);
  return { box, redraw, close: () => resized.disconnect() };
}

export default { render };
