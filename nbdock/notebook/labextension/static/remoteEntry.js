// How JupyterLab finds the extension: a container as module federation knows it, written by hand.
// JupyterLab gives `init` the modules that it shares, and asks `get` for the extension; the modules
// beside this file are the browser's own, so there is nothing to build.

(() => {
  const here = new URL(".", document.currentScript.src);
  const wanted = ["@codemirror/language", "@codemirror/state", "@jupyterlab/codemirror"];
  let shared = {};

  async function load(name) {
    const versions = Object.values(shared[name] ?? {});
    const chosen = versions.find((version) => version.loaded) ?? versions.at(-1);
    if (!chosen) throw new Error(`nbdock: this JupyterLab does not share ${name}`);
    return (await chosen.get())();
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB.nbdock = {
    init(scope) {
      shared = scope;
    },
    async get() {
      const { makePlugin } = await import(new URL("extension.js", here));
      const plugin = makePlugin(...(await Promise.all(wanted.map(load))));
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
