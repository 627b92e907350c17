// Shell as it stands in cells: after %%runAsRoot, and in texts of build cells that are scripts.
// Written for CodeMirror's StreamLanguage. It knows words, not grammar, so that a script in the
// middle of being written looks as it will.

const KEYWORDS = new Set(
  "if then else elif fi for in do done while until case esac select function time".split(" "),
);
const BUILTINS = new Set(
  (
    "alias break cd command continue echo eval exec exit export false getopts local printf pwd " +
    "read readonly return set shift source test trap true type ulimit umask unset wait"
  ).split(" "),
);
const BEFORE_COMMAND = new Set("if then else elif do while until time".split(" "));
const VARIABLE = /^\$(?:\w+|[@#?$!*-]|\{[^}]*\})/;

/** What a script is in the middle of. */
export const newScript = () => ({ quote: "", heredoc: "", inHeredoc: false, isCommand: true });

/** The next token of a script, up to where `stops(stream)` says that something else begins. */
export function scriptToken(stream, script, stops = () => false) {
  if (stream.sol()) {
    script.inHeredoc = script.heredoc !== "";
    script.isCommand = true;
  }
  if (script.inHeredoc) return heredocToken(stream, script, stops);
  if (script.quote) return quotedToken(stream, script, stops);
  if (stream.eatSpace()) return null;
  if (stream.peek() === "#" && /(^|[\s;&|(])$/.test(stream.string.slice(0, stream.pos))) {
    do stream.next();
    while (!stream.eol() && !stops(stream));
    return "comment";
  }
  if (stream.match(VARIABLE)) {
    script.isCommand = false;
    return "variableName.special";
  }
  const heredoc = stream.match(/^<<-?\s*(["']?)([\w.]+)\1/);
  if (heredoc) {
    script.heredoc = heredoc[2];
    return "operator";
  }
  if (stream.match(/^\\./)) return "string.special";
  if (stream.match(/^(?:\$\(|[|&;<>()`])/)) {
    script.isCommand = !/[<>)]/.test(stream.current());
    return "operator";
  }
  if (stream.match(/^["']/)) {
    script.quote = stream.current();
    script.isCommand = false;
    return "string";
  }
  if (stream.match(/^--?[A-Za-z][\w-]*/)) return "attributeName";
  if (script.isCommand && stream.match(/^[A-Za-z_]\w*(?=\+?=)/)) return "variableName.definition";
  if (stream.match(/^[\w./:@%,~^*?-]+/)) return wordToken(stream.current(), script);
  stream.next();
  return null;
}

function wordToken(word, script) {
  const isCommand = script.isCommand;
  script.isCommand = BEFORE_COMMAND.has(word);
  if (KEYWORDS.has(word) && (isCommand || word === "in")) return "keyword";
  if (isCommand && BUILTINS.has(word)) return "variableName.standard";
  return /^\d+$/.test(word) ? "number" : null;
}

function heredocToken(stream, script, stops) {
  if (stream.sol() && stream.string.trim() === script.heredoc) {
    stream.skipToEnd();
    script.heredoc = "";
    script.inHeredoc = false;
    return "operator";
  }
  do stream.next();
  while (!stream.eol() && !stops(stream));
  return "string";
}

function quotedToken(stream, script, stops) {
  const isDouble = script.quote === '"';
  if (isDouble && stream.match(VARIABLE)) return "variableName.special";
  do {
    const character = stream.next();
    if (character === script.quote) {
      script.quote = "";
      break;
    }
    if (isDouble && character === "\\") stream.next();
  } while (!stream.eol() && !stops(stream) && !(isDouble && stream.match(VARIABLE, false)));
  return "string";
}

/** The first line of a cell: the magic, and its flags. Gives undefined where the line has ended. */
export function magicToken(stream, state) {
  if (state.place === "body" || (state.place === "line" && stream.sol())) {
    state.place = "body";
    return undefined;
  }
  if (stream.eatSpace()) return null;
  if (stream.match(/^%%\w*/)) {
    state.place = "line";
    return "meta";
  }
  if (stream.match(/^--?[A-Za-z][\w-]*/)) return "attributeName";
  stream.match(/^\S+/);
  return "variableName";
}

/** What CodeMirror is told of either language besides its tokens. */
export const EDITING = {
  commentTokens: { line: "#" },
  closeBrackets: { brackets: ["(", "[", "{", '"'] },
};

export const rootCell = {
  name: "shell",
  languageData: EDITING,
  startState: () => ({ place: "magic", script: newScript() }),
  copyState: (state) => ({ ...state, script: { ...state.script } }),
  token(stream, state) {
    const token = magicToken(stream, state);
    return token === undefined ? scriptToken(stream, state.script) : token;
  },
};
