// Plans of a closure: a slider, the planners, and the picture that Python draws of each plan.

const EVERY_MS = 100; // not more pictures than ten a second
// Plans that take longer are made ahead, the nearest limits first, while nobody moves the slider.
const QUICK_MS = 5;
const IDLE_MS = 400;

function render({ model, el }) {
  const start = model.get("start");
  const frame = openFrame({ model, el }, { name: "plan", label: start.label });
  const slider = element("input", {
    class: "nbdock-plan-slider", type: "range", min: start.least, max: start.most, step: 1,
    "aria-label": "maxLayers: the most layers of the image",
  });
  const number = keepKeys(
    element("input", {
      class: "nbdock-input nbdock-plan-number", type: "number", min: start.least, max: start.most,
      "aria-label": "maxLayers",
    }),
  );
  slider.value = number.value = start.max_layers;
  const chosen = { strategy: start.strategy };
  const planners = element(
    "div",
    { class: "nbdock-choice", role: "radiogroup", "aria-label": "Planner" },
    ...start.strategies.map((name) =>
      element("button", {
        class: "nbdock-button", type: "button", role: "radio", text: name,
        on: { click: () => choose(name, true) },
      }),
    ),
  );
  const facts = element("div", { class: "nbdock-plan-facts" });
  const others = element("div", { class: "nbdock-plan-others nbdock-muted" });
  const picture = element("div", {
    class: "nbdock-plan-picture", tabindex: "0", role: "listbox", "aria-multiselectable": "true",
    "aria-label": "Layers, the bottom one first. Arrows go up and down, Enter selects.",
  });
  const side = element("div", { class: "nbdock-plan-side", hidden: true });
  const curve = element("div", { class: "nbdock-plan-curve", hidden: true });
  const asCell = element("button", {
    class: "nbdock-button", type: "button", text: "As a cell", "aria-pressed": "false",
    on: {
      click: () => {
        const pressed = asCell.getAttribute("aria-pressed") !== "true";
        asCell.setAttribute("aria-pressed", String(pressed));
        code();
      },
    },
  });
  frame.body.append(
    element(
      "div", { class: "nbdock-plan-bar" },
      element("label", { class: "nbdock-plan-limit" }, "maxLayers", slider), number, planners,
      element("span", { class: "nbdock-plan-space" }), asCell,
    ),
    facts, others, picture, side, curve,
  );

  let packages = null;
  let answer = null;
  let groups = [];
  let at = -1;
  const selected = new Set();
  let clicks = 0; // that changed what is selected
  const made = new Map(); // for each planner, the limits whose plans Python has

  const code = () => {
    if (!answer) return frame.setCode(start.code);
    frame.setCode(asCell.getAttribute("aria-pressed") === "true" ? answer.cell : answer.code);
  };

  // From the slider to the picture

  const wanted = () => ({
    what: "plan", strategy: chosen.strategy, max_layers: Number(slider.value),
    width: Math.max(420, Math.min(1600, picture.clientWidth - 8)),
  });
  const draw = (found, question) => {
    frame.clear();
    const same = answer && question.strategy === answer.strategy && question.max_layers === answer.max;
    answer = { ...found, strategy: question.strategy, max: question.max_layers };
    if (!same) at = -1;
    picture.innerHTML = found.svg; // Python's, with everything escaped and no scripts
    const svg = picture.querySelector("svg");
    svg.setAttribute("role", "presentation");
    groups = [...picture.querySelectorAll("[data-layer]")];
    groups.forEach((group, i) => {
      group.id = freshId();
      group.setAttribute("role", "option");
      group.setAttribute("aria-label", named(i));
      const bars = group.querySelectorAll("[data-p]");
      const height = Number(bars.length ? bars[0].getAttribute("height") : 4);
      // So that a layer can be hit wherever its row is.
      group.prepend(
        drawn("rect", {
          class: "nbdock-plan-row", x: 0, y: -1, width: svg.viewBox.baseVal.width,
          height: height + 2, rx: 2,
        }),
      );
    });
    // What was clicked on since this was asked is newer than what Python had selected by then.
    if (found.clicks === clicks) {
      selected.clear();
      found.selected.forEach((i) => selected.add(i));
    }
    facts.textContent = found.facts.slice(0, 4).join(" \u00b7 ");
    others.replaceChildren(...found.facts.slice(4).map((text) => element("div", { text: plain(text) })));
    others.hidden = found.facts.length <= 4;
    madeBy(question.strategy).add(question.max_layers);
    picture.dataset.drawn = `${question.strategy} ${question.max_layers}`;
    mark();
    code();
    place();
  };
  const update = newest(
    async (question) => {
      const before = clicks;
      return { ...(await frame.watch(ask(model, question))), clicks: before };
    },
    draw,
    () => {},
  );
  let idle = 0;
  const madeBy = (strategy) => {
    if (!made.has(strategy)) made.set(strategy, new Set());
    return made.get(strategy);
  };
  const ahead = async () => {
    const { strategy } = chosen;
    const known = madeBy(strategy);
    const here = Number(slider.value);
    let next = 0;
    for (let limit = start.least; limit <= start.most; limit++) {
      const isNearer = !next || Math.abs(limit - here) < Math.abs(next - here);
      if (!known.has(limit) && isNearer) next = limit;
    }
    if (!next) return;
    known.add(next);
    const found = await ask(model, { what: "ahead", strategy, max_layers: next }).catch(() => null);
    if (!found || strategy !== chosen.strategy || !frame.root.isConnected) return;
    if (found.cpu_ms >= QUICK_MS) later(0);
  };
  const later = (wait) => {
    clearTimeout(idle);
    idle = setTimeout(ahead, wait);
  };

  let last = -Infinity;
  let timer = 0;
  const show = () => {
    clearTimeout(timer);
    later(IDLE_MS);
    const wait = last + EVERY_MS - performance.now();
    if (wait > 0) {
      timer = setTimeout(show, wait);
      return;
    }
    last = performance.now();
    update(wanted());
  };
  const choose = (name, ask_) => {
    chosen.strategy = name;
    [...planners.children].forEach((button) => {
      const isIt = button.textContent === name;
      button.setAttribute("aria-checked", String(isIt));
      button.tabIndex = isIt ? 0 : -1;
    });
    if (ask_) show();
  };
  slider.addEventListener("input", () => {
    number.value = slider.value;
    show();
  });
  number.addEventListener("input", () => {
    const value = Number(number.value);
    if (!Number.isInteger(value) || value < start.least || value > start.most) return;
    slider.value = value;
    show();
  });
  keepKeys(slider);
  planners.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const many = start.strategies.length;
    const next = (start.strategies.indexOf(chosen.strategy) + step + many) % many;
    choose(start.strategies[next], true);
    planners.children[next].focus();
  });

  // What is in a layer

  const inside = (i) =>
    [...groups[i].querySelectorAll("[data-p]")].map((bar) => Number(bar.dataset.p));
  const named = (i) => {
    const list = inside(i);
    const bytes = packages ? list.reduce((sum, p) => sum + packages[p].size, 0) : 0;
    return `Layer ${i}: ${bytesText(bytes)}, ${plural(list.length, "package")}`;
  };
  const by = (p, most = 6) => {
    const names = packages[p].by.map((other) => plain(packages[other].name));
    if (!names.length) return "asked for";
    const more = names.length > most ? ` and ${names.length - most} more` : "";
    return names.slice(0, most).join(", ") + more;
  };
  const yearly = (rate) => `changes in ${percent(rate, 1)} of weeks`;
  const tip = (target) => {
    if (!packages || !target.dataset) return;
    const p = target.dataset.p;
    if (p === undefined || target.dataset.tip) return;
    const one = packages[p];
    const layer = target.closest("[data-layer]").dataset.layer;
    const lines = [
      plain(one.name), plain(one.version), `${bytesText(one.size)}, layer ${layer}`,
      `needed by: ${by(p)}`,
    ];
    if (one.rate !== undefined) lines.push(yearly(one.rate));
    target.dataset.tip = lines.join("\n");
  };
  picture.addEventListener("pointermove", (event) => tip(event.target));

  const mark = () => {
    groups.forEach((group, i) => {
      group.classList.toggle("is-at", i === at);
      group.classList.toggle("is-chosen", selected.has(i));
      group.setAttribute("aria-selected", String(selected.has(i)));
    });
    if (at >= 0) picture.setAttribute("aria-activedescendant", groups[at].id);
    else picture.removeAttribute("aria-activedescendant");
    tell();
  };
  const tell = () => {
    const layers = at >= 0 ? [at] : [...selected];
    side.hidden = !layers.length;
    if (!layers.length) return;
    const rows = layers
      .flatMap((layer) => inside(layer))
      .sort((a, b) => packages[b].size - packages[a].size);
    const shown = rows.slice(0, 200);
    const hasRates = packages.some((one) => one.rate !== undefined);
    const heads = ["package", "version", "size", ...(hasRates ? ["changes"] : []), "needed by"];
    side.replaceChildren(
      element("div", { class: "nbdock-plan-name", text: layers.length === 1 ? named(layers[0]) : `${plural(layers.length, "layer")}` },),
      element(
        "table", {},
        element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { text, scope: "col" })))),
        element(
          "tbody", {},
          ...shown.map((p) =>
            element(
              "tr", {},
              element("td", { text: plain(packages[p].name) }),
              element("td", { text: plain(packages[p].version) }),
              element("td", { class: "nbdock-number", text: bytesText(packages[p].size) }),
              ...(hasRates
                ? [element("td", { class: "nbdock-number", text: percent(packages[p].rate || 0, 1) })]
                : []),
              element("td", { class: "nbdock-muted", text: by(p, 8) }),
            ),
          ),
        ),
      ),
    );
    if (rows.length > shown.length) {
      side.append(element("div", {
        class: "nbdock-muted", text: `\u2026 ${count(rows.length - shown.length)} more: explorer.selection` }));
    }
    side.scrollTop = 0;
  };

  const send = newest(
    (layers) => ask(model, { what: "select", layers }),
    (found) => {
      answer.code = found.code;
      answer.cell = found.cell;
      code();
    },
    (error) => frame.fail(error),
  );
  const select = (i, more) => {
    clicks += 1;
    if (more) {
      if (!selected.delete(i)) selected.add(i);
    } else {
      const only = selected.size === 1 && selected.has(i);
      selected.clear();
      if (i >= 0 && !only) selected.add(i);
    }
    mark();
    send([...selected]);
  };
  picture.addEventListener("click", (event) => {
    const group = event.target.closest("[data-layer]");
    at = group ? Number(group.dataset.layer) : -1;
    if (group) select(at, event.ctrlKey || event.metaKey || event.shiftKey);
    else mark();
  });
  listKeys(picture, {
    count: () => groups.length,
    current: () => at,
    move: (i) => {
      at = i;
      mark();
      groups[i].scrollIntoView({ block: "nearest" });
      frame.say(named(i));
    },
    open: (key, event) => {
      if (at < 0 || (key !== "Enter" && key !== " ")) return false;
      select(at, event && (event.ctrlKey || event.shiftKey));
      return true;
    },
    leave: () => {
      at = -1;
      select(-1, false);
      return true;
    },
  });

  // The curve: where the plan that is shown stands on it, and the way to any other point

  const place = () => {
    const svg = curve.querySelector("svg");
    if (!svg) return;
    svg.querySelectorAll(".nbdock-plan-here").forEach((node) => node.remove());
    const room = Number(slider.value) - 1;
    const points = [...svg.querySelectorAll("[data-budget]")].filter(
      (group) => group.dataset.planner === chosen.strategy,
    );
    const spots = points.map((group) => ({
      budget: Number(group.dataset.budget),
      x: Number(group.querySelector("circle").getAttribute("cx")),
      y: Number(group.querySelector("circle").getAttribute("cy")),
    }));
    if (!spots.length) return;
    const after = spots.find((spot) => spot.budget >= room) || spots[spots.length - 1];
    const before = [...spots].reverse().find((spot) => spot.budget <= room) || spots[0];
    const whole = Math.log(after.budget) - Math.log(before.budget);
    const part = whole ? (Math.log(room) - Math.log(before.budget)) / whole : 0;
    const x = before.x + (after.x - before.x) * part;
    const y = before.y + (after.y - before.y) * part;
    svg.append(
      drawn("path", { class: "nbdock-plan-here", d: `M${x} 8V${svg.viewBox.baseVal.height - 34}` }),
      drawn("circle", { class: "nbdock-plan-here", cx: x, cy: y, r: 6 }),
    );
  };
  curve.addEventListener("click", (event) => {
    const point = event.target.closest("[data-budget]");
    if (!point) return;
    slider.value = number.value = Math.min(start.most, Number(point.dataset.budget) + 1);
    choose(point.dataset.planner, true);
  });

  choose(chosen.strategy, false);
  const open = async () => {
    const found = await frame.watch(ask(model, { what: "packages" }));
    packages = found.packages;
    curve.innerHTML = found.curve; // Python's, as above
    curve.hidden = !found.curve;
    show();
  };
  open().catch(() => {});
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (packages && Math.abs(picture.clientWidth - width) > 24) {
      width = picture.clientWidth;
      show();
    }
  });
  resized.observe(picture);
  return () => {
    clearTimeout(timer);
    clearTimeout(idle);
    resized.disconnect();
    frame.close();
  };
}

export default { render };
