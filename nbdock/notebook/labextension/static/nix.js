// Build cells: the line of the magic, then Nix: bindings, a set or a whole expression, finished or
// not. Written for CodeMirror's StreamLanguage. Texts that are scripts are read as shell, with Nix
// in their ${...}.

import { EDITING, magicToken, newScript, scriptToken } from "./shell.js";

const KEYWORDS = new Set("let in with rec inherit if then else assert or".split(" "));
const CONSTANTS = new Set("true false null".split(" "));
const BUILTINS = new Set("builtins import map toString throw abort baseNameOf dirOf".split(" "));
const SCRIPT_KEYS = new Set("runAsRoot extraCommands fakeRootCommands command run".split(" "));
const SCRIPT_MAKER = /^(?:script|write\w*Script\w*|runCommand\w*)$/;
const CLOSING = { "(": ")", "[": "]", "{": "}", "${": "}" };
const IS_KEY = /^(?:\s*\.\s*(?:[\w'-]+|"[^"]*"))*\s*=(?!=)/;

// Where a cell is: a stack of what is open. `kind` says what is in there: "nix", "string" ("..."),
// "text" (''...''), "comment" (/* */). `close` ends it, `indent` is that of the line on which it was
// opened. `key` is the binding that the Nix is in, `withs` how many semicolons come before its own,
// `script` what a script in a text is amid.
const opened = (kind, close, indent) => ({ kind, close, indent, key: "", withs: 0, isNew: true });

const startsNix = (stream) => stream.match(/^(?:''|\$\{)/, false) !== null;

function nixToken(stream, state) {
  const { stack } = state;
  const top = stack.at(-1);
  const push = (kind, close) => stack.push(opened(kind, close, stream.indentation()));
  if (stream.eatSpace()) return null;
  if (stream.peek() === "#") {
    stream.skipToEnd();
    return "comment";
  }
  if (stream.match("/*")) {
    push("comment", "*/");
    return "comment";
  }
  if (stream.match('"')) {
    push("string", '"');
    return "string";
  }
  if (stream.match("''")) {
    const isScript = SCRIPT_KEYS.has(top.key) || state.makesScript;
    push("text", "''");
    if (isScript) stack.at(-1).script = newScript();
    return "string";
  }
  if (stream.match(/^(?:(?:\.{1,2}|~)?(?:\/[\w.+-]+)+\/?|<[\w.+-]+(?:\/[\w.+-]+)*>)/)) {
    return "string.special";
  }
  if (stream.match(/^\d+(?:\.\d*)?(?:[eE][+-]?\d+)?/)) return "number";
  if (stream.match(/^[A-Za-z_][\w'-]*/)) return wordToken(stream, state, top);
  if (stream.match(/^(?:\$\{|[([{])/)) {
    push("nix", CLOSING[stream.current()]);
    return "bracket";
  }
  if (stream.match(/^[)\]}]/)) {
    if (stream.current() === top.close) stack.pop();
    return "bracket";
  }
  if (stream.match(";")) {
    if (top.withs > 0) top.withs -= 1;
    else top.key = "";
    state.makesScript = false;
    return "punctuation";
  }
  if (stream.match(/^(?:\.\.\.|[.,:@])/)) return "punctuation";
  if (stream.match(/^(?:[=!<>]=|&&|\|\||->|\/\/|\+\+|[-+*/!<>=?])/)) return "operator";
  stream.next();
  return null;
}

function wordToken(stream, state, top) {
  const word = stream.current();
  const isMember = stream.string[stream.start - 1] === ".";
  if (stream.match(IS_KEY, false)) {
    top.key = word;
    return "propertyName";
  }
  if (isMember) return "variableName";
  if (word === "let") state.stack.push(opened("nix", "in", stream.indentation()));
  if (word === "in" && top.close === "in") state.stack.pop();
  if (word === "with" || word === "assert") top.withs += 1;
  if (KEYWORDS.has(word)) return "keyword";
  if (CONSTANTS.has(word)) return "atom";
  if (SCRIPT_MAKER.test(word)) state.makesScript = true;
  if (stream.match(/^\s*[:@](?!\/\/)/, false)) return "variableName.definition";
  return BUILTINS.has(word) ? "variableName.standard" : "variableName";
}

function stringToken(stream, { stack }) {
  if (stream.match("${")) {
    stack.push(opened("nix", "}", stream.indentation()));
    return "bracket";
  }
  if (stream.match(/^\\./)) return "string.special";
  stream.match(/^(?:[^"\\$]|\$(?!\{))+/);
  if (stream.current() === "" && stream.next() === '"') stack.pop();
  return "string";
}

function textToken(stream, { stack }) {
  const top = stack.at(-1);
  if (stream.sol()) top.isNew = false;
  // ''$ and '''' escape, as does ''\ with the character after it.
  if (stream.match(/^''(?:\$\{?|'|\\.?)/)) return "string.special";
  if (stream.match("''")) {
    stack.pop();
    return "string";
  }
  if (stream.match("${")) {
    stack.push(opened("nix", "}", stream.indentation()));
    return "bracket";
  }
  if (top.script) return scriptToken(stream, top.script, startsNix);
  do stream.next();
  while (!stream.eol() && !startsNix(stream));
  return "string";
}

function commentToken(stream, { stack }) {
  if (stream.match(/^.*?\*\//)) stack.pop();
  else stream.skipToEnd();
  return "comment";
}

const TOKENS = { nix: nixToken, string: stringToken, text: textToken, comment: commentToken };

function copyFrame(frame) {
  return frame.script ? { ...frame, script: { ...frame.script } } : { ...frame };
}

export const buildCell = {
  name: "nix",
  languageData: {
    ...EDITING,
    commentTokens: { line: "#", block: { open: "/*", close: "*/" } },
    indentOnInput: /^\s*(?:[}\])]|in|'')$/,
  },
  startState: () => ({ place: "magic", stack: [opened("nix", "", 0)], makesScript: false }),
  copyState: (state) => ({ ...state, stack: state.stack.map(copyFrame) }),
  token(stream, state) {
    const token = magicToken(stream, state);
    return token === undefined ? TOKENS[state.stack.at(-1).kind](stream, state) : token;
  },
  blankLine(state) {
    state.stack.at(-1).isNew = false;
  },
  indent(state, textAfter, { unit }) {
    const top = state.stack.at(-1);
    if (state.place !== "body") return 0;
    const isEnd = textAfter.trimStart().startsWith(top.close) && !/^\s*in\w/.test(textAfter);
    if (top.close && isEnd) return top.indent;
    // Lines of texts stay where they are put, below the first.
    if (top.kind !== "nix") return top.kind === "text" && top.isNew ? top.indent + unit : null;
    return (top.close ? top.indent + unit : 0) + (top.key ? unit : 0);
  },
};
