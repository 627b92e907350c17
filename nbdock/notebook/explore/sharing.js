// What images share: a heat map that Python draws, and what is behind each of its cells.

// Of more images the picture takes the whole width.
const MANY = 18;

function render({ model, el }) {
  const start = model.get("start");
  const frame = openFrame({ model, el }, { name: "sharing", label: start.label });
  frame.setCode(start.code);
  const chosen = { by: start.by, measure: "missing", alike: true };

  const choice = (label, name, values, texts) =>
    element(
      "div",
      { class: "nbdock-choice", role: "radiogroup", "aria-label": label },
      ...values.map((value, i) =>
        element("button", {
          class: "nbdock-button", type: "button", role: "radio", text: texts[i],
          "aria-checked": String(chosen[name] === value),
          on: {
            click: (event) => {
              chosen[name] = value;
              const group = event.currentTarget.parentNode;
              [...group.children].forEach((button, k) =>
                button.setAttribute("aria-checked", String(values[k] === value)),
              );
              show();
            },
          },
        }),
      ),
    );
  const bar = element(
    "div", { class: "nbdock-sharing-bar" },
    choice("What is shared", "by", ["layer", "package", "file"], ["layers", "packages", "files"]),
    choice("What is counted", "measure", ["missing", "shared"], ["to pull", "shared"]),
    choice("Order", "alike", [true, false], ["alike together", "as given"]),
  );
  const picture = element("div", {
    class: "nbdock-sharing-picture", tabindex: "0", role: "grid",
    "aria-label": "Rows: what a host has. Columns: what it pulls. Arrows move.",
  });
  const side = element("div", { class: "nbdock-sharing-side" });
  frame.body.append(bar, element("div", { class: "nbdock-sharing-main" }, picture, side));

  let data = null;
  let cells = new Map();
  let at = null; // [row, column], as they stand
  let selected = "";
  const ring = drawn("rect", { class: "nbdock-sharing-ring", rx: 2 });
  const across = drawn("rect", { class: "nbdock-sharing-cross" });
  const down = drawn("rect", { class: "nbdock-sharing-cross" });

  const told = (a, b) => {
    const [size, both] = [data.shared[b][b], data.shared[a][b]];
    if (a === b) {
      const { only } = data.images[a];
      return [plain(data.names[a]), bytesText(size), `${bytesText(only)} of it in no other image`];
    }
    return [
      `${bytesText(size - both)} to pull`, `has ${plain(data.names[a])}`, `wants ${plain(data.names[b])}`,
      `${bytesText(both)} of ${bytesText(size)} shared (${percent(both, size)})`,
    ];
  };
  const box = (cell) => ["x", "y", "width", "height"].map((name) => Number(cell.getAttribute(name)));
  const mark = () => {
    cells.forEach((cell, key) => cell.setAttribute("aria-selected", String(key === selected)));
    const cell = at && cells.get(`${at[0]} ${at[1]}`);
    for (const node of [ring, across, down]) node.style.display = cell ? "" : "none";
    if (!cell) {
      picture.removeAttribute("aria-activedescendant");
      return;
    }
    const [x, y, width, height] = box(cell);
    const set = (node, values) =>
      Object.entries(values).forEach(([name, value]) => node.setAttribute(name, value));
    set(ring, { x: x - 1, y: y - 1, width: width + 2, height: height + 2 });
    set(across, { x: 0, y, width: x, height });
    set(down, { x, y: 0, width, height: y });
    picture.setAttribute("aria-activedescendant", cell.id);
    // The grid scrolls, the page does not.
    const [room, here] = [picture.getBoundingClientRect(), cell.getBoundingClientRect()];
    if (here.left < room.left) picture.scrollLeft -= room.left - here.left + 40;
    if (here.right > room.right) picture.scrollLeft += here.right - room.right + 40;
    if (here.top < room.top) picture.scrollTop -= room.top - here.top + 40;
    if (here.bottom > room.bottom) picture.scrollTop += here.bottom - room.bottom + 40;
  };

  const draw = (found) => {
    frame.clear();
    const before = data;
    data = found;
    main.classList.toggle("is-wide", found.order.length > MANY);
    picture.innerHTML = found.svg; // Python's, with everything escaped and no scripts
    const svg = picture.querySelector("svg");
    svg.setAttribute("role", "presentation");
    svg.append(across, down, ring);
    svg.querySelectorAll("[data-row]").forEach((row) => row.setAttribute("role", "row"));
    cells = new Map(
      [...svg.querySelectorAll("[data-a]")].map((cell) => {
        const [a, b] = [Number(cell.dataset.a), Number(cell.dataset.b)];
        cell.id = freshId();
        cell.setAttribute("role", "gridcell");
        const lines = told(a, b);
        cell.setAttribute("aria-label", lines.join(", "));
        cell.dataset.tip = lines.join("\n");
        return [`${found.order.indexOf(a)} ${found.order.indexOf(b)}`, cell];
      }),
    );
    picture.dataset.drawn = `${chosen.by} ${chosen.measure} ${chosen.alike}`;
    frame.setCode(found.code);
    if (!before || !selected) overview();
    else {
      at = null;
      selected = "";
      overview();
    }
    mark();
  };
  const main = picture.parentNode;
  const update = newest(
    (question) => frame.watch(ask(model, question)),
    draw,
    () => {},
  );
  const show = () =>
    update({ what: "picture", ...chosen, width: Math.max(360, picture.clientWidth - 18) });

  // Beside it: the images, or what is behind a cell

  const table = (heads, rows, pick) =>
    element(
      "table", {},
      element("thead", {}, element("tr", {}, ...heads.map(([text, isNumber]) =>
        element("th", { text, scope: "col", class: isNumber ? "nbdock-number" : "" })))),
      element("tbody", {}, ...rows.map((cells_, i) =>
        element(
          "tr", {},
          ...cells_.map((text, k) =>
            element("td", { class: heads[k][1] ? "nbdock-number" : "nbdock-sharing-name" },
              k === 0 && pick
                ? element("button", {
                    class: "nbdock-linked", type: "button", text, on: { click: () => pick(i) },
                  })
                : text)),
        ))),
    );
  const overview = () => {
    side.replaceChildren(
      element("div", { class: "nbdock-sharing-title", text: plural(data.names.length, "image") }),
      table(
        [["image", false], ["size", true], ["only here", true]],
        data.order.map((i) => [
          plain(data.short[i]), bytesText(data.images[i].size), bytesText(data.images[i].only),
        ]),
        (k) => select(k, k),
      ),
    );
  };
  const part = (title, found) => {
    if (!found.count) return null;
    const more = found.count - found.rows.length;
    return element(
      "details", { open: true },
      element("summary", { text: `${title}: ${bytesText(found.bytes)}, ${count(found.count)}` }),
      table(
        [["name", false], ["size", true], ["images", true]],
        found.rows.map((row) => [plain(row.name || row.key), bytesText(row.size), String(row.images)]),
      ),
      more > 0 ? element("div", { class: "nbdock-muted", text: `\u2026 ${count(more)} more: explorer.selection` }) : null,
    );
  };
  const detail = (found, a, b) => {
    const own = a === b;
    const parts = own
      ? [part("In no other image", found.missing), part("In others too", found.both)]
      : [part("To pull", found.missing), part("Both have", found.both), part("Not needed", found.kept)];
    side.replaceChildren(
      element("button", {
        class: "nbdock-linked", type: "button", text: "\u2190 all images",
        on: { click: () => leave() },
      }),
      element("div", { class: "nbdock-sharing-title", text: plain(data.names[b]) }),
      own ? "" : element("div", { class: "nbdock-muted", text: `on a host that has ${plain(data.names[a])}` }),
      ...parts.filter(Boolean),
    );
    side.scrollTop = 0;
    frame.say(told(a, b).join(", "));
  };
  const look = newest(
    (a, b) => frame.watch(ask(model, { what: "cell", has: a, wants: b })),
    (found, a, b) => {
      frame.clear();
      frame.setCode(found.code);
      detail(found, a, b);
    },
    () => {},
  );
  const select = (row, column) => {
    at = [row, column];
    selected = `${row} ${column}`;
    mark();
    look(data.order[row], data.order[column]);
  };
  const leave = () => {
    at = null;
    selected = "";
    mark();
    overview();
    ask(model, { what: "none" }).then((found) => frame.setCode(found.code), frame.fail);
    picture.focus();
  };

  picture.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-a]");
    if (!cell) return;
    select(data.order.indexOf(Number(cell.dataset.a)), data.order.indexOf(Number(cell.dataset.b)));
  });
  picture.addEventListener("keydown", (event) => {
    if (!data || event.altKey || event.metaKey || event.ctrlKey) return;
    const end = data.order.length - 1;
    const steps = {
      ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
      Home: [0, -end], End: [0, end],
    };
    if (event.key in steps) {
      const [row, column] = at || [0, -1];
      const [dr, dc] = steps[event.key];
      const keep = (value) => Math.max(0, Math.min(end, value));
      at = [keep(row + dr), keep(column + dc)];
      mark();
      frame.say(told(data.order[at[0]], data.order[at[1]]).join(", "));
    } else if ((event.key === "Enter" || event.key === " ") && at) select(...at);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  let width = 0;
  const resized = new ResizeObserver(() => {
    if (Math.abs(picture.clientWidth - width) < 32) return;
    width = picture.clientWidth;
    show();
  });
  resized.observe(picture);
  return () => {
    resized.disconnect();
    frame.close();
  };
}

export default { render };
