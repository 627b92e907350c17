// A cell that begins with one of nbdock's magics is in the language of that magic, from the moment
// that this is what it begins with; all others stay as they are.

import { buildCell } from "./nix.js";
import { rootCell } from "./shell.js";

const BUILD_MAGICS = [
  "buildImage",
  "buildLayeredImage",
  "streamLayeredImage",
  "pullImage",
  "mergeImages",
  "exportImage",
  "buildNixShellImage",
  "streamNixShellImage",
];
const MAGIC = /^\s*%%(\w+)(?:\s|$)/;

export function makePlugin(language, state, codemirror) {
  const inLanguage = (parser) =>
    state.Prec.highest([
      new language.LanguageSupport(language.StreamLanguage.define(parser)),
      language.indentUnit.of("  "),
    ]);
  const nix = inLanguage(buildCell);
  const languages = new Map(BUILD_MAGICS.map((magic) => [magic, nix]));
  languages.set("runAsRoot", inLanguage(rootCell));
  const none = [];
  const languageOf = (text) => languages.get(MAGIC.exec(text)?.[1]) ?? none;

  function followMagic(text) {
    const chosen = new state.Compartment();
    const follow = state.EditorState.transactionExtender.of((transaction) => {
      if (!transaction.docChanged) return null;
      // Whatever stands before a magic is blank, and a magic is short.
      const wanted = languageOf(transaction.newDoc.sliceString(0, 200));
      if (wanted === chosen.get(transaction.startState)) return null;
      return { effects: chosen.reconfigure(wanted) };
    });
    return [chosen.of(languageOf(text)), follow];
  }

  return {
    id: "nbdock:cells",
    description: "Highlights the cells of nbdock's magics.",
    autoStart: true,
    requires: [codemirror.IEditorExtensionRegistry],
    activate: (app, extensions) => {
      extensions.addExtension({
        name: "nbdock:cells",
        factory: ({ model }) => {
          if (model.type !== "code") return null;
          const extension = followMagic(model.sharedModel.getSource());
          return { instance: () => extension, reconfigure: () => null };
        },
      });
    },
  };
}
